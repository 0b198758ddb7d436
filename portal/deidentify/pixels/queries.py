"""Reads of the review of pixels: of the organisations whose PACS a person administers."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import Http404

from portal.deidentify.models import PixelLook, PixelQuestion
from portal.deidentify.queries import administered


def questions(user: Any) -> QuerySet[PixelQuestion]:
    """Covered lines that somebody should decide or has decided about, newest first."""
    rows = PixelQuestion.objects.filter(organisation__in=administered(user))
    return rows.select_related("receipt__source", "decided_by").order_by("-created_at", "-pk")


def access_question(user: Any, key: str | int) -> PixelQuestion:
    """One question. Raises Http404 when it is missing or someone else's."""
    row = questions(user).filter(pk=int(key)).first() if str(key).isdecimal() else None
    if row is None:
        raise Http404
    return row


def access_look(user: Any, pk: uuid.UUID) -> PixelLook:
    """One look, of the person who asked. Raises Http404 otherwise."""
    row = PixelLook.objects.filter(pk=pk, user_id=user.pk, organisation__in=administered(user)).first()
    if row is None:
        raise Http404
    return row
