"""Cohorts by what cases were settled to be."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from portal.consensus.models import Truth
from portal.core.tables import Filter

CHOICES = (
    ("positive", "positive"),
    ("negative", "negative"),
    ("settled", "settled, either way"),
    ("none", "not settled"),
)


def settled(value: str) -> Q:
    """Studies with a case whose truth is so, in any programme; `none`: without one."""
    truths = Truth.objects.filter(case__study=OuterRef("pk"))
    if value == "none":
        return Q(~Exists(truths))
    return Q(Exists(truths if value == "settled" else truths.filter(positive=value == "positive")))


FILTER = Filter("truth", "Truth", settled, CHOICES, extra=True)
