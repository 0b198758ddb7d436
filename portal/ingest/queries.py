"""Reads at the doors: receipts, quarantine, sources and header rules of the user's organisations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import Count, QuerySet
from django.http import Http404

from portal.accounts.models import Organisation, Role
from portal.accounts.queries import memberships, organisation_ids
from portal.ingest.models import HeaderRule, Receipt, Source
from portal.ingest.rules import WAITS_FOR_SERIES

VIEWERS = (Role.PACS_ADMIN, Role.COORDINATOR)


def _organisations(user: Any, *wanted: Role) -> list[int]:
    visible = set(organisation_ids(user))
    return [m.organisation_id for m in memberships(user) if m.organisation_id in visible and set(m.roles) & set(wanted)]


def receipts(user: Any, filters: Mapping[str, str] | None = None) -> QuerySet[Receipt]:
    """Receipts that the user may see, newest first; `state`, `source`, `batch` and `reason` narrow."""
    filters = filters or {}
    rows = Receipt.objects.filter(organisation__in=_organisations(user, *VIEWERS)).select_related("source")
    if filters.get("state") in Receipt.State.values:
        rows = rows.filter(state=filters["state"])
    if (source := filters.get("source", "")).isdigit():
        rows = rows.filter(source_id=int(source))
    if batch := as_uuid(filters.get("batch", "")):
        rows = rows.filter(batch=batch)
    if reason := filters.get("reason"):
        rows = rows.filter(reason=reason)
    return rows.order_by("-received_at", "-pk")


def quarantine(user: Any) -> QuerySet[Receipt]:
    """What was set aside and waits for a decision, newest first."""
    rows = Receipt.objects.filter(organisation__in=_organisations(user, Role.PACS_ADMIN))
    return rows.filter(state=Receipt.State.QUARANTINED).select_related("source").order_by("-received_at", "-pk")


def access_quarantined(user: Any, receipt_id: str | uuid.UUID) -> Receipt:
    """One receipt for retry or discard. Raises Http404 when it is missing or someone else's."""
    pk = as_uuid(str(receipt_id))
    row = Receipt.objects.filter(pk=pk, organisation__in=_organisations(user, Role.PACS_ADMIN)).first() if pk else None
    if row is None:
        raise Http404
    return row


def reports(user: Any, organisation: Organisation) -> QuerySet[Receipt]:
    """What came in by the doors for reports, newest first: all of it for those who see receipts, else one's own."""
    rows = Source.objects.filter(organisation=organisation, kind=Source.Kind.REPORT)
    if organisation.pk not in _organisations(user, *VIEWERS):
        rows = rows.filter(user=user)
    mine = Receipt.objects.filter(source__in=list(rows.values_list("pk", flat=True)))
    return mine.select_related("source").order_by("-received_at", "-pk")


def counts(user: Any) -> dict[str, int]:
    """State → number of receipts."""
    rows = Receipt.objects.filter(organisation__in=_organisations(user, *VIEWERS))
    return dict(rows.values_list("state").annotate(Count("pk")).order_by())


def waiting_for_series(user: Any) -> int:
    """How many received files wait until their series has come."""
    mine = Receipt.objects.filter(organisation__in=_organisations(user, *VIEWERS))
    return mine.filter(state=Receipt.State.RECEIVED, reason=WAITS_FOR_SERIES).count()


def sources(user: Any) -> QuerySet[Source]:
    """Sources that the user administers."""
    rows = Source.objects.filter(organisation__in=_organisations(user, Role.PACS_ADMIN))
    return rows.select_related("site", "user").order_by("kind", "name")


def header_rules(user: Any) -> QuerySet[HeaderRule]:
    """Header rules that the user administers, in the order in which they are tried."""
    return HeaderRule.objects.filter(organisation__in=_organisations(user, Role.PACS_ADMIN))


def as_uuid(text: str) -> uuid.UUID | None:
    """The UUID in a text, None when it holds none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
