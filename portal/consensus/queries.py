"""Agreement in a programme."""

from __future__ import annotations

from collections import Counter, defaultdict
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


def first_two(programme: Programme) -> dict[str, list[tuple[Any, Any]]]:
    """Question → pairs of answers of the first two readings of each case, without arbitrations."""
    rows = Reading.objects.filter(case__programme=programme, state=Reading.State.SUBMITTED)
    rows = rows.exclude(assignment__kind=Assignment.Kind.ARBITRATION).order_by("submitted_at", "pk")
    by_case: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for case, answers in rows.values_list("case_id", "answers"):
        by_case[case].append(answers)
    pairs: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for said in by_case.values():
        if len(said) < 2:
            continue
        for key in said[0].keys() & said[1].keys():
            pairs[key].append((said[0][key], said[1][key]))
    return pairs


def agreement_by_question(programme: Programme) -> list[dict[str, Any]]:
    """Agreement of first and second readings for each question of the newest protocol, as rows of a table.

    {"key", "label", "type", "pairs", "percent", "kappa", "low", "high"}; scales have "mean", "low", "high" of the
    differences (first − second, Bland and Altman) and no kappa.
    """
    protocol = programme.protocols.order_by("-number").first()
    pairs = first_two(programme)
    rows: list[dict[str, Any]] = []
    for question in protocol.form if protocol else []:
        found = pairs.get(question["key"], [])
        if question["type"] == "text" or not found:
            continue
        row: dict[str, Any] = {"key": question["key"], "label": question["label"], "type": question["type"]}
        if question["type"] == "multi":
            found = [(tuple(sorted(a)), tuple(sorted(b))) for a, b in found]
        row |= {"pairs": len(found), "percent": rules.percent_agreement(found), "kappa": None}
        if question["type"] == "scale":
            row |= rules.limits_of_agreement(found) or {}
        else:
            row["kappa"] = rules.cohen_kappa(found)
            low, high = rules.cohen_kappa_interval(found) or (None, None)
            row |= {"low": low, "high": high}
        rows.append(row)
    return rows


def fleiss(programme: Programme) -> float | None:
    """Fleiss' kappa of the key question over the cases with the most common number of readers from three on."""
    answers = [a for a in key_answers(programme).values() if len(a) >= 3]
    if not answers:
        return None
    sizes = Counter(len(a) for a in answers)
    size = max(sizes, key=lambda n: (sizes[n], n))
    return rules.fleiss_kappa([[sum(a), size - sum(a)] for a in answers if len(a) == size])


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
        "kappa_interval": rules.cohen_kappa_interval(pairs),
        "fleiss": fleiss(programme),
        "compared": len(values),
        "similarity": sum(v for v, _ in values) / len(values) if values else None,
        "differing": sum(v < t for v, t in values),
        "arbitrations": outcomes.filter(outcome=Consensus.Outcome.DISCREPANT).count(),
    }
