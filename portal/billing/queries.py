"""Usage against the plan, and whether the ledger fits what happened."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from portal.accounts.models import Membership, Organisation, Role
from portal.billing.models import LedgerEntry, Subscription
from portal.infer.models import Run
from portal.read.models import Reading


def month_start() -> Any:
    """Midnight of the first of this month."""
    return timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def usage(organisation: Organisation) -> dict[str, Any]:
    """This month's use beside what the plan allows."""
    rows = LedgerEntry.objects.filter(organisation=organisation, at__gte=month_start())
    sums = {r["kind"]: r["total"] for r in rows.values("kind").annotate(total=Sum("quantity"))}
    subscription = Subscription.objects.filter(organisation=organisation).select_related("plan").first()
    plan = subscription.plan if subscription else None
    runs = sums.get(LedgerEntry.Kind.RUN, 0)
    readers = Membership.objects.filter(organisation=organisation, active=True, roles__contains=[Role.READER]).count()
    over = max(0, runs - plan.runs_a_month) if plan else 0
    return {
        "plan": plan,
        "since": subscription.since if subscription else None,
        "runs": runs,
        "readings": sums.get(LedgerEntry.Kind.READING, 0),
        "credits": sums.get(LedgerEntry.Kind.CREDIT, 0),
        "seats": readers,
        "over": over,
        "over_cents": over * plan.overage_cents_a_run if plan else 0,
    }


def credits_by_reader(organisation: Organisation) -> list[dict[str, Any]]:
    """This month's credits of each reader."""
    rows = LedgerEntry.objects.filter(
        organisation=organisation, kind=LedgerEntry.Kind.CREDIT, at__gte=month_start(), user__isnull=False
    )
    lines = rows.values("user__username", "user__display_name").annotate(credits=Sum("quantity"), readings=Count("pk"))
    return [dict(line) for line in lines.order_by("-credits")]


def unreconciled(organisation: Organisation) -> dict[str, set[str]]:
    """Runs and readings without an entry, and entries without them; all empty when the books are right."""
    entries = LedgerEntry.objects.filter(organisation=organisation)
    booked = {
        kind: set(entries.filter(kind=kind).values_list("reference", flat=True))
        for kind in (LedgerEntry.Kind.RUN, LedgerEntry.Kind.READING)
    }
    runs = Run.objects.filter(organisation=organisation, state=Run.State.DONE).values_list("pk", flat=True)
    readings = Reading.objects.filter(organisation=organisation, state=Reading.State.SUBMITTED)
    real = {
        LedgerEntry.Kind.RUN: {str(pk) for pk in runs},
        LedgerEntry.Kind.READING: {str(pk) for pk in readings.values_list("pk", flat=True)},
    }
    return {
        "not_booked": (real[LedgerEntry.Kind.RUN] - booked[LedgerEntry.Kind.RUN])
        | (real[LedgerEntry.Kind.READING] - booked[LedgerEntry.Kind.READING]),
        "booked_only": (booked[LedgerEntry.Kind.RUN] - real[LedgerEntry.Kind.RUN])
        | (booked[LedgerEntry.Kind.READING] - real[LedgerEntry.Kind.READING]),
    }
