"""Reads that gather several steps for one page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.archive.models import Study
from portal.archive.queries import studies
from portal.consensus.queries import agreement
from portal.functions.models import InferenceFunction
from portal.infer.models import Run
from portal.ingest.models import Receipt, Source
from portal.programmes.models import Assignment, Case, Programme
from portal.read.models import Reading

# how the states of cases are gathered in a progress bar: tone, states, word, state for the table's filter
GROUPS = (
    ("agreed", ("settled",), "Settled", "settled"),
    ("accent", ("comparing", "merging"), "Being merged", "merging"),
    ("differs", ("second", "arbitration"), "Second reading or arbitration", "second"),
    ("neutral", ("open",), "To be read", "open"),
    ("waiting", ("waiting",), "Waiting for the model", "waiting"),
)
DAYS = 14


def days(number: int = DAYS) -> list[date]:
    """The last days, oldest first, today last."""
    today = timezone.localdate()
    return [today - timedelta(days=n) for n in reversed(range(number))]


def per_day(rows: Iterable[tuple[date, int]], number: int = DAYS) -> list[int]:
    """Counts for the last days, zero where there is none."""
    found = dict(rows)
    return [found.get(day, 0) for day in days(number)]


def progress_parts(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Cases by state as the parts of a stacked bar."""
    return [
        {"tone": tone, "value": sum(counts.get(s, 0) for s in states), "word": word, "state": state}
        for tone, states, word, state in GROUPS
    ]


def programme_rows(programmes: Iterable[Programme]) -> list[dict[str, Any]]:
    """Programmes with progress, agreement, age of the queue and readings a day."""
    listed = list(programmes)
    keys = [p.pk for p in listed]
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for row in Case.objects.filter(programme__in=keys).values("programme", "state").annotate(n=Count("pk")):
        counts[row["programme"]][row["state"]] = row["n"]
    waiting = Assignment.objects.filter(case__programme__in=keys, state=Assignment.State.OFFERED)
    queue: dict[int, dict[str, Any]] = {
        row["case__programme"]: dict(row)
        for row in waiting.values("case__programme").annotate(
            oldest=Min("created_at"), n=Count("pk"), arbitration=Count("pk", filter=Q(kind="arbitration"))
        )
    }
    read: dict[int, list[tuple[date, int]]] = defaultdict(list)
    since = timezone.now() - timedelta(days=DAYS)
    done = Reading.objects.filter(case__programme__in=keys, submitted_at__gte=since)
    for line in done.values("case__programme", "submitted_at__date").annotate(n=Count("pk")):
        read[line["case__programme"]].append((line["submitted_at__date"], line["n"]))
    return [
        {
            "programme": p,
            "total": sum(counts[p.pk].values()),
            "settled": counts[p.pk].get("settled", 0),
            "parts": progress_parts(counts[p.pk]),
            "agreement": agreement(p),
            "oldest": queue.get(p.pk, {}).get("oldest"),
            "offered": queue.get(p.pk, {}).get("n", 0),
            "arbitration": queue.get(p.pk, {}).get("arbitration", 0),
            "per_day": per_day(read[p.pk]),
        }
        for p in listed
    ]


def forecast(programme: Programme, total: int) -> dict[str, Any] | None:
    """Settled cases by day, and when the rest will be at the pace of the last two weeks; None without a pace."""
    settled = Case.objects.filter(programme=programme, settled_at__isnull=False)
    by_day = Counter(timezone.localtime(at).date() for at in settled.values_list("settled_at", flat=True))
    if not by_day:
        return None
    today = timezone.localdate()
    first = max(min(by_day), today - timedelta(days=89))
    sum_so_far = sum(n for day, n in by_day.items() if day < first)
    rows: list[dict[str, Any]] = []
    for n in range((today - first).days + 1):
        day = first + timedelta(days=n)
        sum_so_far += by_day[day]
        rows.append({"day": day.isoformat(), "settled": sum_so_far, "forecast": None})
    span = min(DAYS, len(rows))
    pace = sum(by_day[today - timedelta(days=n)] for n in range(span)) / span
    left = total - sum_so_far
    ready = None
    if left > 0 and pace > 0:
        ready = today + timedelta(days=min(3650, -int(-left // pace)))
        rows[-1]["forecast"] = sum_so_far
        for n in range(1, min(60, (ready - today).days) + 1):
            at = today + timedelta(days=n)
            rows.append({"day": at.isoformat(), "settled": None, "forecast": min(total, round(sum_so_far + n * pace))})
    return {"rows": rows, "pace": pace, "left": left, "ready": ready}


def own_trend(user: User) -> dict[str, Any]:
    """A reader's readings a day and median active time."""
    since = timezone.now() - timedelta(days=DAYS)
    rows = Reading.objects.filter(reader=user, submitted_at__gte=since)
    by_day = rows.values("submitted_at__date").annotate(n=Count("pk")).values_list("submitted_at__date", "n")
    times = sorted(rows.values_list("active_ms", flat=True))
    return {
        "per_day": per_day(by_day),
        "total": len(times),
        "seconds": times[len(times) // 2] / 1000 if times else None,
    }


def functions_overview(organisation: Organisation) -> list[dict[str, Any]]:
    """Functions with the version in service, runs a day, waiting and failed ones of this organisation."""
    since = timezone.now() - timedelta(days=DAYS)
    offered = InferenceFunction.objects.filter(Q(organisation=None) | Q(organisation=organisation))
    runs: dict[int, list[tuple[date, int]]] = defaultdict(list)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    recent = Run.objects.filter(organisation=organisation, queued_at__gte=since)
    for row in recent.values("version__function", "queued_at__date", "state").annotate(n=Count("pk")):
        runs[row["version__function"]].append((row["queued_at__date"], row["n"]))
        counts[row["version__function"]][row["state"]] += row["n"]
    out = []
    for function in offered.prefetch_related("versions").order_by("name"):
        versions = sorted(function.versions.all(), key=lambda v: (v.state != "in_service", -v.pk))
        days_of: Counter[date] = Counter()
        for day, n in runs[function.pk]:
            days_of[day] += n
        out.append(
            {
                "function": function,
                "version": versions[0] if versions else None,
                "counts": counts[function.pk],
                "total": sum(counts[function.pk].values()),
                "per_day": per_day(days_of.items()),
            }
        )
    return out


def failed_runs(organisation: Organisation, number: int = 5) -> list[Run]:
    """The newest failed runs."""
    rows = Run.objects.filter(organisation=organisation, state=Run.State.FAILED)
    return list(rows.select_related("version__function", "study").order_by("-queued_at")[:number])


def doors(organisation: Organisation) -> list[dict[str, Any]]:
    """Sources with what came through them today, in two weeks, and what was set aside."""
    since = timezone.now() - timedelta(days=DAYS)
    by_day: dict[int, list[tuple[date, int]]] = defaultdict(list)
    recent = Receipt.objects.filter(organisation=organisation, received_at__gte=since)
    for row in recent.values("source", "received_at__date").annotate(n=Count("pk")):
        by_day[row["source"]].append((row["received_at__date"], row["n"]))
    aside = dict(
        Receipt.objects.filter(organisation=organisation, state=Receipt.State.QUARANTINED)
        .values_list("source")
        .annotate(n=Count("pk"))
    )
    sources = Source.objects.filter(organisation=organisation).order_by("name")
    return [
        {
            "source": s,
            "per_day": per_day(by_day[s.pk]),
            "today": dict(by_day[s.pk]).get(timezone.localdate(), 0),
            "total": sum(n for _, n in by_day[s.pk]),
            "quarantined": aside.get(s.pk, 0),
        }
        for s in sources
    ]


def recent_scans(user: User, number: int = 8) -> list[Study]:
    """The newest scans that the user may see."""
    return list(studies(user).order_by("-pk")[:number])
