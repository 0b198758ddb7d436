"""Every write of subscriptions to work items and of the reports that they are owed (PS3.18 11.10 to 11.12)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.http import Http404
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.queries import memberships
from portal.core.errors import Refused
from portal.programmes.actions import hold
from portal.programmes.models import Assignment
from portal.read.models import LOCK, WorkitemReport, WorkitemSubscriber, WorkitemSubscription
from portal.read.workitems import matching, queries, reports, rules
from portal.read.workitems.dataset import Workitem

WORKLIST, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"  # PS3.4 CC.2.3.1
MOST_SUBSCRIBERS, MOST_SINGLE = 16, 5000  # AE titles of a person; single work items of an AE title
MOST_KEPT, KEPT_HOURS = 10_000, 24  # reports that nobody comes for
TOGETHER = 200
AGAIN_SECONDS = 60  # what was sent so shortly before a connection broke may not have arrived
Event = WorkitemReport.Event


def subscriber_of(user: User, ae_title: str, *, new: bool = True) -> WorkitemSubscriber:
    """The subscriber of that AE title, made when there is none. An AE title is its user's alone: two people may use the
    same. Raises Refused for what is no AE title, and for too many; Http404 for who works nowhere, and without `new`
    for an unknown one.
    """
    if not memberships(user).exists():
        raise Http404
    title = ae_title.strip(" ")
    if not 0 < len(title) <= 16 or "\\" in title or not title.isprintable() or not title.isascii():
        raise Refused("invalid", "An AE title has 1 to 16 characters.", status=400)
    organisation = user.token.organisation_id if user.token else None
    names: dict[str, Any] = {"user": user, "organisation_id": organisation, "ae_title": title}
    if found := WorkitemSubscriber.objects.filter(**names).first():
        return found
    if not new:
        raise Http404
    if WorkitemSubscriber.objects.filter(user=user).count() >= MOST_SUBSCRIBERS:
        raise Refused("too_many", f"At most {MOST_SUBSCRIBERS} AE titles can subscribe for you.", status=409)
    return WorkitemSubscriber.objects.get_or_create(**names)[0]


@transaction.atomic
def subscribe(user: User, ae_title: str, item: Workitem, locked: bool) -> None:
    """Subscribe to one work item; its state now is the first report."""
    who = subscriber_of(user, ae_title)
    hold(item.row)  # whoever changes it now comes first, or sees the subscription
    place: dict[str, Any] = {"assignment": item.row, "round": item.number}
    if who.subscriptions.filter(excluded=False, assignment__isnull=False).exclude(**place).count() >= MOST_SINGLE:
        raise Refused("too_many", f"At most {MOST_SINGLE} single work items; subscribe to the worklist.", status=409)
    who.subscriptions.update_or_create(**place, defaults={"locked": locked, "excluded": False})
    WorkitemReport.objects.create(subscriber=who, event=Event.STATE, **place)


@transaction.atomic
def subscribe_worklist(user: User, ae_title: str, keys: Mapping[str, str], locked: bool) -> None:
    """Subscribe to all work items that there are and will be, or to those that match when they come.

    keys  as of `matching.wanted`; empty: all. It takes the place of the subscriber's earlier one.
    The state of each one that is on offer or in hand is reported first. Raises Refused (400).
    """
    who = subscriber_of(user, ae_title)
    with connection.cursor() as cursor:  # see read.models.WATCH
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    who.subscriptions.filter(Q(assignment=None) | Q(excluded=True)).delete()
    who.subscriptions.create(filter=dict(keys), locked=locked)
    found = _present(user, keys)
    if keys:
        _take_in(who, [(row.pk, row.given_back) for row in found], locked)
    WorkitemReport.objects.bulk_create(
        [WorkitemReport(subscriber=who, assignment=row, round=row.given_back, event=Event.STATE) for row in found]
    )


def _present(user: User, keys: Mapping[str, str]) -> list[Assignment]:
    """What matches now and is on offer or in hand, the newest if it is too many to tell."""
    rows = queries.visible(user).filter(matching.where(keys))
    rows = rows.filter(state__in=(Assignment.State.OFFERED, Assignment.State.CLAIMED))
    return list(rows.order_by("-created_at", "pk").only("pk", "given_back")[:MOST_KEPT])[::-1]


def _take_in(who: WorkitemSubscriber, places: Collection[reports.Round], locked: bool) -> None:
    rows = [WorkitemSubscription(subscriber=who, assignment_id=pk, round=n, locked=locked) for pk, n in places]
    WorkitemSubscription.objects.bulk_create(rows, ignore_conflicts=True)


@transaction.atomic
def unsubscribe(user: User, ae_title: str, uid: str) -> None:
    """End the subscription to one work item, also where it is part of the worklist's; it need not be seen any more.

    Raises Http404 without any.
    """
    who = subscriber_of(user, ae_title, new=False)
    range_ = rules.place_of(uid)
    if range_ is None:
        raise Http404
    single = who.subscriptions.filter(assignment__in=Assignment.objects.filter(pk__range=range_), excluded=False)
    places = [(one.assignment_id, one.round) for one in single if one.assignment_id and one.round is not None]
    own = next((found for found in places if rules.uid_of(*found) == uid), None)
    wide = who.subscriptions.filter(assignment=None).exists()
    if own is None and not wide:
        raise Http404
    if own is None:
        item = queries.access_workitem(user, uid)
        own = item.row.pk, item.number
    place = {"assignment_id": own[0], "round": own[1]}
    if wide:
        who.subscriptions.update_or_create(
            assignment_id=own[0], round=own[1], defaults={"excluded": True, "locked": False}
        )
    else:
        who.subscriptions.filter(**place).delete()
    who.reports.filter(**place).delete()


@transaction.atomic
def unsubscribe_worklist(user: User, ae_title: str, uid: str) -> None:
    """End the subscription to the worklist and with it those to single work items. Raises Http404 without it."""
    who = subscriber_of(user, ae_title, new=False)
    _wide(who, uid)
    who.subscriptions.all().delete()
    who.reports.all().delete()


@transaction.atomic
def suspend(user: User, ae_title: str, uid: str) -> None:
    """No new work items; those that there are stay subscribed to. Raises Http404 without a subscription."""
    who = subscriber_of(user, ae_title, new=False)
    wide = _wide(who, uid)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    if not wide.filter:  # a filtered one has taken in what matches
        _take_in(who, [(row.pk, row.given_back) for row in _present(user, {})], wide.locked)
    wide.delete()


def _wide(who: WorkitemSubscriber, uid: str) -> WorkitemSubscription:
    found = who.subscriptions.filter(assignment=None).first()
    if found is None or bool(found.filter) != (uid == FILTERED):
        raise Http404
    return found


def report(item: Workitem, event: int, data: Mapping[str, Any]) -> None:
    """Owe those who subscribed to a work item what was said about it; inside the transaction of what it tells."""
    asks = Q(assignment=None) | Q(assignment=item.row, round=item.number)
    works = Q(subscriber__organisation=None) | Q(subscriber__organisation=item.row.organisation_id)
    works &= Q(
        subscriber__user__memberships__organisation=item.row.organisation_id,
        subscriber__user__memberships__active=True,
    )
    keys = WorkitemSubscription.objects.filter(asks, works).values_list("subscriber", flat=True).distinct()
    owed = {"assignment": item.row, "round": item.number, "event": event, "step_state": item.state, "data": dict(data)}
    WorkitemReport.objects.bulk_create([WorkitemReport(subscriber_id=key, **owed) for key in keys])


def connect(user: User, ae_title: str, number: uuid.UUID) -> int:
    """Begin an event channel; an older one of the same subscriber ends. Returns the subscriber's key.

    What was sent shortly before the last one broke is sent again. Raises as `subscriber_of`.
    """
    who = subscriber_of(user, ae_title)
    WorkitemSubscriber.objects.filter(pk=who.pk).update(connection=number)
    WorkitemReport.objects.filter(subscriber=who).update(sent_at=None)
    return who.pk


def next_reports(user: User, subscriber: int, number: uuid.UUID) -> list[tuple[int, str]] | None:
    """The next reports to send as (key, text), oldest first; None when another channel has taken over.

    What the subscriber did not ask for or may not see now is dropped.
    """
    with transaction.atomic():
        who = WorkitemSubscriber.objects.select_for_update(no_key=True).filter(pk=subscriber, connection=number).first()
        if who is None:
            return None
        while True:
            rows = list(who.reports.filter(sent_at=None).order_by("pk")[:TOGETHER])
            found = _texts(user, who, rows)
            gone = {row.pk for row in rows} - {pk for pk, _ in found}
            who.reports.filter(pk__in=gone).delete()
            if found or not rows:
                return found


def _texts(user: User, who: WorkitemSubscriber, rows: list[WorkitemReport]) -> list[tuple[int, str]]:
    if not rows:
        return []
    asked = who.subscriptions.filter(Q(assignment=None) | Q(assignment__in={row.assignment_id for row in rows}))
    wanted, fresh = reports.covered(user, rows, asked)
    if fresh:
        _take_in(who, fresh, asked.get(assignment=None).locked)
    items = queries.rounds(user, {(row.assignment_id, row.round) for row in rows if row.pk in wanted})
    found = []
    for row in rows:
        item = items.get((row.assignment_id, row.round))
        said = reports.text(row, item, settings.DICOM_AET) if item and row.pk in wanted else ""
        if said:
            found.append((row.pk, said))
    return found


def sent(subscriber: int, keys: Collection[int]) -> None:
    """Note what was handed to the connection; what was handed over a while ago has arrived."""
    now = timezone.now()
    owed = WorkitemReport.objects.filter(subscriber=subscriber)
    owed.filter(sent_at__lt=now - timedelta(seconds=AGAIN_SECONDS)).delete()
    owed.filter(pk__in=keys).update(sent_at=now)


def disconnect(subscriber: int, number: uuid.UUID) -> None:
    """A channel that its client closed in order: everything sent has arrived."""
    if WorkitemSubscriber.objects.filter(pk=subscriber, connection=number).exists():
        WorkitemReport.objects.filter(subscriber=subscriber, sent_at__isnull=False).delete()


def forget_reports() -> int:
    """Drop what nobody came for: after KEPT_HOURS, and beyond the newest MOST_KEPT of a subscriber; and AE titles that
    subscribe to nothing any more. Returns how many reports were dropped.
    """
    before = timezone.now() - timedelta(hours=KEPT_HOURS)
    WorkitemSubscriber.objects.filter(subscriptions=None, created_at__lt=before).delete()
    dropped, _ = WorkitemReport.objects.filter(at__lt=before).delete()
    for key in WorkitemReport.objects.values_list("subscriber", flat=True).distinct():
        rows = WorkitemReport.objects.filter(subscriber=key).order_by("-pk")
        for last in rows.values_list("pk", flat=True)[MOST_KEPT : MOST_KEPT + 1]:
            dropped += rows.filter(pk__lte=last).delete()[0]
    return dropped


def is_well_known(uid: str) -> bool:
    """Whether a UID stands for the worklist instead of a work item."""
    return uid in {WORKLIST, FILTERED}


def channel_url(ae_title: str) -> str:
    """Where the event channel of a subscriber is opened."""
    scheme, _, place = settings.PUBLIC_URL.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{place}/dicomweb/subscribers/{ae_title}"
