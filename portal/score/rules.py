"""Accuracy against truth and efficiency of active time. Pure functions; formulas in README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.second_read.rules import KEY_QUESTIONS, RATINGS, Place, match

RULE_ID, RULE_VERSION = "reading.accuracy", "1"
WEIGHTS = {"call": 0.6, "rating": 0.25, "places": 0.15}


@dataclass(frozen=True)
class Scored:
    """accuracy and efficiency in 0 … 1, and the parts of the accuracy that applied."""

    accuracy: float
    efficiency: float
    parts: dict[str, float]


def efficiency(active_seconds: float, expected_seconds: float) -> float:
    """expected / (expected + active): 0.5 at the expected time, 1 for none, towards 0 for ever."""
    if expected_seconds <= 0:
        raise ValueError("the expected time must be positive")
    return expected_seconds / (expected_seconds + max(active_seconds, 0.0))


def brier(probability: float, positive: bool) -> float:
    """Brier score of one forecast (Brier 1950): the squared distance from the truth; 0 is best."""
    return (probability - float(positive)) ** 2


def places_score(marks: Sequence[Place], truth: Sequence[Place]) -> float | None:
    """F1 of the marks against the true places; None when there are neither."""
    if not marks and not truth:
        return None
    pairs = match(marks, truth)
    return 2 * len(pairs) / (len(marks) + len(truth))


def score(
    answers: Mapping[str, Any],
    positive: bool,
    marks: Sequence[Place],
    truth: Sequence[Place],
    active_seconds: float,
    expected_seconds: float,
) -> Scored:
    """Score one reading of a case whose truth is `positive`, with true places."""
    parts: dict[str, float] = {}
    call = next((answers[q] for q in KEY_QUESTIONS if isinstance(answers.get(q), bool)), None)
    if call is not None:
        parts["call"] = float(call == positive)
    rating = next((answers[q] for q in RATINGS if isinstance(answers.get(q), int | float)), None)
    if rating is not None:
        parts["rating"] = 1 - brier(float(rating) / 100, positive)
    if truth and (found := places_score(marks, truth)) is not None:
        parts["places"] = found
    total = sum(WEIGHTS[name] for name in parts)
    accuracy = sum(WEIGHTS[name] * value for name, value in parts.items()) / total if total else 0.0
    return Scored(accuracy, efficiency(active_seconds, expected_seconds), parts)


def shrunk(values: Sequence[float], mean: float, strength: float = 5.0) -> float:
    """Mean of few values drawn towards the field's: (Σ values + strength · mean) / (n + strength)."""
    return (sum(values) + strength * mean) / (len(values) + strength)
