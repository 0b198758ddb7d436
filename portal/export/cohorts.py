"""Data sets of a cohort: what its page offers."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from portal.archive.cohorts.queries import Use, selected
from portal.archive.models import Cohort
from portal.export.sets import FORMATS
from portal.programmes.models import Programme
from portal.programmes.queries import is_coordinator


def offer(user: Any, cohort: Cohort) -> Use | None:
    """For a coordinator: every format, of each programme in which scans of the cohort are read."""
    if not is_coordinator(user, cohort.organisation_id):
        return None
    rows = Programme.objects.filter(organisation=cohort.organisation_id, cases__study__in=selected(cohort))
    options = [
        (f"{row.slug}/{key}", f"{row.name}: {one.words}")
        for row in rows.distinct().order_by("name")
        for key, one in FORMATS.items()
    ]
    if not options:
        return None
    url = reverse("cohort_data_set", args=[cohort.pk])
    return Use("Make a data set of its scans", "Make a data set", url, "what", "Data set", options)
