"""Agreement in a programme."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from portal.consensus import rules
from portal.consensus.models import Consensus
from portal.programmes.models import Assignment, Programme
from portal.read.models import Reading
from portal.second_read.models import Comparison
from portal.second_read.rules import KEY_QUESTIONS


def key_answers(programme: Programme) -> dict[int, list[bool]]:
    """Case → answers to the key question, in order of submission, without arbitrations."""
    rows = Reading.objects.filter(case__programme=programme, state=Reading.State.SUBMITTED)
    rows = rows.exclude(assignment__kind=Assignment.Kind.ARBITRATION).order_by("submitted_at")
    found: dict[int, list[bool]] = defaultdict(list)
    for case, answers in rows.values_list("case_id", "answers"):
        said = next((answers[q] for q in KEY_QUESTIONS if isinstance(answers.get(q), bool)), None)
        if said is not None:
            found[case].append(said)
    return found


def agreement(programme: Programme) -> dict[str, Any]:
    """Agreement of readers with each other, and of first readings with the model."""
    pairs = [(a[0], a[1]) for a in key_answers(programme).values() if len(a) >= 2]
    rows = Comparison.objects.filter(
        case__programme=programme, reading__assignment__kind=Assignment.Kind.FIRST, similarity__isnull=False
    )
    values = [(float(s), t) for s, t in rows.values_list("similarity", "threshold") if s is not None]
    outcomes = Consensus.objects.filter(case__programme=programme)
    return {
        "pairs": len(pairs),
        "percent": rules.percent_agreement(pairs),
        "kappa": rules.cohen_kappa(pairs),
        "compared": len(values),
        "similarity": sum(v for v, _ in values) / len(values) if values else None,
        "differing": sum(v < t for v, t in values),
        "arbitrations": outcomes.filter(outcome=Consensus.Outcome.DISCREPANT).count(),
    }
