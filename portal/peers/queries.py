"""Reads of the peers' pages: peers, queries, fetches and standing queries of the organisations a user administers."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncMinute
from django.http import Http404
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import Organisation, Role
from portal.accounts.queries import memberships
from portal.ingest.models import Receipt, Source
from portal.peers.models import Commitment, Delivery, Fetch, MessageSender, Peer, PeerQuery, RoutingRule, StandingQuery


def organisations(user: Any) -> list[int]:
    """Keys of the organisations whose PACS administrator the user is."""
    rows = memberships(user).filter(roles__contains=[Role.PACS_ADMIN])
    return list(rows.values_list("organisation_id", flat=True))


def peers(user: Any) -> QuerySet[Peer]:
    """Peers that the user administers."""
    return Peer.objects.filter(organisation__in=organisations(user)).select_related("source")


def senders(user: Any) -> QuerySet[MessageSender]:
    """Senders of HL7 messages that the user administers."""
    return MessageSender.objects.filter(organisation__in=organisations(user)).select_related("source")


def peer_queries(user: Any) -> QuerySet[PeerQuery]:
    """Searches at peers, newest first; what was asked and answered is sealed."""
    rows = PeerQuery.objects.filter(organisation__in=organisations(user)).select_related("peer", "asked_by", "standing")
    return rows.defer("question", "answer").order_by("-asked_at")


def access_query(user: Any, query_id: uuid.UUID) -> PeerQuery:
    """One search with what is sealed in it. Raises Http404 when it is missing or someone else's."""
    rows = PeerQuery.objects.filter(organisation__in=organisations(user)).select_related("peer", "asked_by")
    row = rows.filter(pk=query_id).first()
    if row is None:
        raise Http404
    return row


def fetches(user: Any) -> QuerySet[Fetch]:
    """Studies on their way from peers, newest first."""
    rows = Fetch.objects.filter(organisation__in=organisations(user)).select_related("peer", "query__standing")
    return rows.defer("query__question", "query__answer").order_by("-asked_at", "-pk")


def standing(user: Any) -> QuerySet[StandingQuery]:
    """Standing queries that the user administers."""
    return StandingQuery.objects.filter(organisation__in=organisations(user)).select_related("peer", "function")


def routing_rules(user: Any) -> QuerySet[RoutingRule]:
    """Routing rules that the user administers."""
    return RoutingRule.objects.filter(organisation__in=organisations(user)).select_related("peer", "source")


def deliveries(user: Any) -> QuerySet[Delivery]:
    """Studies on their way to peers by routing rules, newest first."""
    rows = Delivery.objects.filter(organisation__in=organisations(user))
    return rows.select_related("rule__peer", "study").order_by("-queued_at", "-pk")


def commitments(user: Any) -> QuerySet[Commitment]:
    """Storage commitments, newest first."""
    rows = Commitment.objects.filter(organisation__in=organisations(user)).select_related("peer")
    return rows.order_by("-asked_at")


def throughput(organisation: Organisation, hours: int) -> tuple[list[str], list[datetime], dict[Any, tuple[int, int]]]:
    """What came in by door over the last hours: (doors, starts of intervals, {(start, door): (instances, bytes)}).

    By minute for an hour, by five for six, by the hour beyond.
    """
    minutes = 1 if hours <= 1 else 5 if hours <= 6 else 60
    now = timezone.now()
    begin = _floor(now - timedelta(hours=hours), minutes)
    rows = Receipt.objects.filter(organisation=organisation, received_at__gte=begin)
    counted = (
        rows.annotate(at=TruncMinute("received_at"))
        .values("at", "source__kind")
        .annotate(many=Count("pk"), bytes=Sum("size"))
        .order_by("at")
    )
    kinds = dict(Source.Kind.choices)
    cells: dict[Any, tuple[int, int]] = defaultdict(lambda: (0, 0))
    doors: list[str] = []
    for row in counted:
        door, at = str(kinds[row["source__kind"]]), _floor(row["at"], minutes)
        doors += [door] if door not in doors else []
        many, size = cells[at, door]
        cells[at, door] = (many + row["many"], size + row["bytes"])
    steps = int((now - begin) / timedelta(minutes=minutes)) + 1
    return doors, [begin + timedelta(minutes=minutes * n) for n in range(steps)], cells


def _floor(moment: datetime, minutes: int) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole - timedelta(minutes=(whole.hour * 60 + whole.minute) % minutes)


def throughput_plots(organisation: Organisation, hours: int) -> dict[str, Any] | None:
    """Both plots of the throughput page, None when nothing came in."""
    doors, starts, cells = throughput(organisation, hours)
    if not doors:
        return None
    form = "%H:%M" if hours <= 24 else "%a %H:%M"
    each = (starts[1] - starts[0]).total_seconds() / 60 if len(starts) > 1 else 1
    names = [(f"d{n}", door) for n, door in enumerate(doors)]

    def plot(number: int, scale: float, y_name: str, digits: int) -> dict[str, Any]:
        return {
            "columns": [{"key": "at", "label": "From"}]
            + [{"key": key, "label": door, "digits": digits} for key, door in names],
            "rows": [
                {"at": timezone.localtime(at).strftime(form)}
                | {key: round(cells[at, door][number] / each / scale, digits) for key, door in names}
                for at in starts
            ],
            "x": "at",
            "series": [{"key": key, "label": door, "area": True} for key, door in names],
            "xName": "Time",
            "yName": y_name,
            "yMin": 0,
        }

    many = sum(value[0] for value in cells.values())
    size = sum(value[1] for value in cells.values())
    return {
        "instances": plot(0, 1, "per minute", 1),
        "bytes": plot(1, 1e6, "MB per minute", 2),
        "instances_words": f"{many} instances came in; instances per minute by door.",
        "bytes_words": f"{size / 1e6:.1f} MB came in; megabytes per minute by door.",
    }


def waiting(organisation: Organisation) -> list[dict[str, Any]]:
    """What waits at the doors: [{"label", "value", "note", "href"}]."""
    receipts = dict(
        Receipt.objects.filter(organisation=organisation, state__in=["received", "deidentified", "quarantined"])
        .values_list("state")
        .annotate(Count("pk"))
        .order_by()
    )
    on_the_way = Fetch.objects.filter(organisation=organisation, state__in=[Fetch.State.QUEUED, Fetch.State.RUNNING])
    received = reverse("receipts")
    return [
        {"label": "To be de-identified", "value": receipts.get("received", 0), "note": "Received and waiting",
         "href": f"{received}?state=received"},
        {"label": "To be archived", "value": receipts.get("deidentified", 0), "note": "De-identified and waiting",
         "href": f"{received}?state=deidentified"},
        {"label": "In quarantine", "value": receipts.get("quarantined", 0), "note": "Waiting for a decision",
         "href": reverse("quarantine")},
        {"label": "Being fetched", "value": on_the_way.count(), "note": "Studies on their way from peers",
         "href": reverse("fetches")},
    ]  # fmt: skip
