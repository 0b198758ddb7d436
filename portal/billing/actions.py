"""Every entry of the ledger. Entries are added, never changed; the key makes adding idempotent."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone

from portal.billing.models import LedgerEntry, Plan, Subscription
from portal.core.errors import Refused
from portal.core.live import announce, audience_group
from portal.infer.models import Run
from portal.read.models import Reading
from portal.score.models import ReadingScore


def _add(key: str, **values: object) -> bool:
    """Add an entry unless its key is there; of two who add at once one does. Returns whether this call added it."""
    with transaction.atomic():
        _, added = LedgerEntry.objects.get_or_create(key=key, defaults=values)
        if added:
            announce([audience_group(values["organisation_id"], "account")], "usage.changed", {})
    return added


def record_run(run_pk: uuid.UUID | str) -> bool:
    """One use for each finished run; failed runs cost nothing. Returns whether it was entered now."""
    run = Run.objects.select_related("version__function").get(pk=run_pk)
    if run.state != Run.State.DONE:
        return False
    return _add(
        f"run/{run.pk}",
        organisation_id=run.organisation_id,
        kind=LedgerEntry.Kind.RUN,
        quantity=1,
        reference=str(run.pk),
        words=str(run.version)[:200],
    )


def record_reading(reading_pk: int) -> bool:
    """One use for each submitted reading. Returns whether it was entered now."""
    reading = Reading.objects.select_related("assignment", "case__programme").get(pk=reading_pk)
    if reading.state != Reading.State.SUBMITTED:
        return False
    return _add(
        f"reading/{reading.pk}",
        organisation_id=reading.organisation_id,
        user_id=reading.reader_id,
        kind=LedgerEntry.Kind.READING,
        quantity=1,
        reference=str(reading.pk),
        words=f"{reading.case.programme.name}, case {reading.case.number} ({reading.assignment.kind})"[:200],
    )


def credit_for(credits: int, accuracy: float, priority: int) -> int:
    """credits · accuracy · (1 + priority / 10), rounded; at least 1, priority counted from 0 to 10."""
    return max(1, round(credits * accuracy * (1 + min(max(priority, 0), 10) / 10)))


def record_credits(case_pk: int) -> int:
    """Credits for each scored reading of a case, earned once: a later truth does not take them back.

    Returns how many entries were added now.
    """
    rows = ReadingScore.objects.filter(reading__case=case_pk).select_related("reading__case__protocol")
    added = 0
    for score in rows:
        case = score.reading.case
        added += _add(
            f"credit/{score.reading_id}",
            organisation_id=score.organisation_id,
            user_id=score.reader_id,
            kind=LedgerEntry.Kind.CREDIT,
            quantity=credit_for(case.protocol.credits, score.accuracy, case.priority),
            reference=str(score.reading_id),
            words=f"accuracy {score.accuracy:.2f}",
        )
    return added


def subscribe(organisation_id: int, plan: Plan) -> Subscription:
    """Put an organisation on a plan from today. Raises Refused when it is on it already."""
    found = Subscription.objects.filter(organisation_id=organisation_id).first()
    if found and found.plan_id == plan.pk:
        raise Refused("same_plan", "The organisation is on this plan already.")
    subscription, _ = Subscription.objects.update_or_create(
        organisation_id=organisation_id, defaults={"plan": plan, "since": timezone.localdate()}
    )
    return subscription
