"""Reads of comparisons, and what a threshold would do."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from portal.programmes.models import Assignment, Programme
from portal.second_read.models import Comparison


def simulate(programme: Programme, steps: int = 20) -> list[dict[str, float]]:
    """Share of first readings that a threshold would send to a second reader, from stored similarities.

    Returns [{"threshold", "share"}] for steps + 1 thresholds from 0 to 1; empty without comparisons.
    """
    values = [float(v) for v in _first(programme).values_list("similarity", flat=True) if v is not None]
    if not values:
        return []
    thresholds = [n / steps for n in range(steps + 1)]
    return [{"threshold": t, "share": sum(v < t for v in values) / len(values)} for t in thresholds]


def compared(programme: Programme) -> int:
    """How many first readings `simulate` rests on."""
    return _first(programme).count()


def _first(programme: Programme) -> QuerySet[Comparison]:
    return Comparison.objects.filter(
        case__programme=programme, reading__assignment__kind=Assignment.Kind.FIRST, similarity__isnull=False
    )


def comparison_json(row: Comparison) -> dict[str, Any]:
    """A comparison as pages and the API show it."""
    return {
        "reader": row.reading.reader.username,
        "kind": row.reading.assignment.kind,
        "action": row.action,
        "similarity": row.similarity,
        "threshold": row.threshold,
        "sentence": row.sentence,
        "parts": row.parts,
        "rule": f"{row.rule_id}@{row.rule_version}",
        "decided_at": row.decided_at,
    }
