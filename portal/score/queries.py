"""Scores as readers and coordinators see them, and the whole story of a case."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Avg, Count, Q, QuerySet

from portal.accounts.models import Organisation, User
from portal.consensus.models import Consensus, Truth
from portal.programmes.models import Case, Programme
from portal.read.models import Reading
from portal.read.rules import NOTHING, UNNAMED
from portal.read.sight import sight
from portal.score import rules
from portal.score.models import ReadingScore, RunScore
from portal.second_read.models import Comparison
from portal.second_read.queries import comparison_json

OWN = ReadingScore.Basis.OWN


def reader_summary(user: User, organisation: Organisation) -> dict[str, Any]:
    """A reader's own figures: by category, drawn towards the field where cases are few, and the latest in order.

    Lone readings that made their own truth count as cases and for efficiency, not for accuracy; a category
    without a measured reading has accuracy None.
    """
    rows = ReadingScore.objects.filter(reader=user, organisation=organisation)
    categories = []
    for line in rows.values("category").annotate(n=Count("pk"), speed=Avg("efficiency")).order_by("category"):
        measured = rows.filter(category=line["category"]).exclude(basis=OWN)
        mine = list(measured.values_list("accuracy", flat=True))
        everyone = ReadingScore.objects.filter(organisation=organisation, category=line["category"])
        mean = everyone.exclude(basis=OWN).aggregate(mean=Avg("accuracy"))["mean"]
        categories.append(
            {
                "category": line["category"],
                "cases": line["n"],
                "measured": len(mine),
                "accuracy": sum(mine) / len(mine) if mine else None,
                "shrunk": rules.shrunk(mine, mean) if mean is not None else None,
                "field": mean,
                "efficiency": line["speed"],
            }
        )
    return {"categories": categories, "trend": trend(user, organisation), "cases": rows.count()}


def trend(user: User, organisation: Organisation, last: int = 30) -> list[float]:
    """Accuracies of the reader's latest measured readings, oldest first, in the order in which they were read."""
    rows = ReadingScore.objects.filter(reader=user, organisation=organisation).exclude(basis=OWN)
    return list(rows.order_by("-reading__submitted_at").values_list("accuracy", flat=True)[:last])[::-1]


def _field(rows: QuerySet[ReadingScore], me: User | None) -> list[dict[str, Any]]:
    lines = rows.values("reader").annotate(
        n=Count("pk"), accuracy=Avg("accuracy", filter=~Q(basis=OWN)), efficiency=Avg("efficiency")
    )
    best_first = sorted(lines, key=lambda line: (line["accuracy"] is None, -(line["accuracy"] or 0.0)))
    return [
        {
            "you": me is not None and line["reader"] == me.pk,
            "n": line["n"],
            "accuracy": line["accuracy"],
            "efficiency": line["efficiency"],
        }
        for line in best_first
    ]


def field(organisation: Organisation, me: User | None = None) -> list[dict[str, Any]]:
    """The anonymous field: one line a reader, best first, without names or keys; one's own line is marked."""
    return _field(ReadingScore.objects.filter(organisation=organisation), me)


def programme_field(programme: Programme, me: User | None = None) -> list[dict[str, Any]]:
    """The same for the readings of one programme."""
    return _field(ReadingScore.objects.filter(reading__case__programme=programme), me)


def reader_weights(organisation_id: int, readers: Collection[int]) -> dict[int, float]:
    """Weights of rule `weighted`: each reader's mean accuracy drawn towards the field's; empty without scores."""
    rows = ReadingScore.objects.filter(organisation=organisation_id).exclude(basis=OWN)
    mean = rows.aggregate(mean=Avg("accuracy"))["mean"]
    if mean is None:
        return {}
    mine: dict[int, list[float]] = {pk: [] for pk in readers}
    for reader, accuracy in rows.filter(reader__in=list(readers)).values_list("reader_id", "accuracy"):
        mine[reader].append(accuracy)
    return {pk: rules.shrunk(values, mean) for pk, values in mine.items()}


def function_record(version_ids: list[int]) -> dict[int, dict[str, Any]]:
    """How versions did where truth is known: version → cases, share correct, mean Brier score."""
    rows = RunScore.objects.filter(run__version__in=version_ids).values("run__version", "correct", "brier")
    out: dict[int, dict[str, Any]] = {}
    for row in rows:
        line = out.setdefault(row["run__version"], {"cases": 0, "correct": 0, "brier": 0.0})
        line["cases"] += 1
        line["correct"] += row["correct"]
        line["brier"] += row["brier"]
    for line in out.values():
        line["brier"] /= line["cases"]
    return out


def story_for(user: User, case: Case) -> dict[str, Any]:
    """The story of a case as far as this person may see it now (docs/decisions/0004).

    "sight" says how far: all; unnamed: readers are "Reader A", "Reader B" …; nothing: only that it is read, and when.
    """
    limit = sight(user, case)
    story = {**case_story(case), "sight": limit}
    if limit == NOTHING:
        told = [{"kind": r["kind"], "submitted_at": r["submitted_at"]} for r in story["readings"]]
        return {**story, "truth": None, "comparisons": [], "consensus": [], "scores": [], "readings": [], "read": told}
    if limit == UNNAMED:
        names = {r["reader"]: f"Reader {chr(65 + n % 26)}" for n, r in enumerate(story["readings"])}
        for row in [*story["readings"], *story["comparisons"], *story["scores"]]:
            row["reader"] = names.get(row["reader"], "Reader")
        for row in story["readings"]:
            row["name"] = row["reader"]
    return story


def case_story(case: Case) -> dict[str, Any]:
    """Everything that happened to a case, as plain values; `story_for` is what one person may see of it."""
    readings = (
        Reading.objects.filter(case=case, state=Reading.State.SUBMITTED)
        .select_related("reader", "assignment")
        .order_by("submitted_at")
    )
    comparisons = Comparison.objects.filter(case=case).select_related("reading__reader", "reading__assignment")
    truth = Truth.objects.filter(case=case).first()
    scores = ReadingScore.objects.filter(reading__case=case).select_related("reader").order_by("reading__submitted_at")
    return {
        "number": case.number,
        "state": case.state,
        "truth": truth
        and {
            "origin": truth.origin,
            "positive": truth.positive,
            "confidence": truth.confidence,
            "answers": truth.answers,
            "set_at": truth.set_at,
        },
        "comparisons": [comparison_json(row) for row in comparisons.order_by("decided_at")],
        "consensus": [
            {
                "rule": f"{row.rule_id}@{row.rule_version}",
                "outcome": row.outcome,
                "discrepancy": row.discrepancy,
                "confidence": row.confidence,
                "parts": row.parts,
                "answers": row.answers,
                "made_at": row.made_at,
            }
            for row in Consensus.objects.filter(case=case).order_by("made_at")
        ],
        "readings": [
            {
                "reader": row.reader.username,
                "name": str(row.reader),
                "kind": row.assignment.kind,
                "answers": row.answers,
                "marks": row.marks.count(),
                "active_seconds": row.active_ms / 1000,
                "submitted_at": row.submitted_at,
            }
            for row in readings
        ],
        "scores": [
            {
                "reader": row.reader.username,
                "accuracy": row.accuracy,
                "efficiency": row.efficiency,
                "basis": row.basis,
                "parts": row.parts,
            }
            for row in scores
        ],
    }
