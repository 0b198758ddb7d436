"""What classes say about each other (seed 001: correlation-aware presence and joint probabilities)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_correlations(labels: NDArray[Any]) -> NDArray[np.float64]:
    """(K, K) correlation (phi coefficient) of every two columns of (n, K) 0 and 1; 0 for a constant column."""
    values = np.asarray(labels, dtype=np.float64)
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        out = (centred.T @ centred) / np.outer(spread, spread)
    out = np.where(np.isfinite(out), out, 0.0)
    np.fill_diagonal(out, 1.0)
    return out


def joint_probability(p: float, q: float, correlation: float) -> float:
    """P(both) = p·q + ρ·√(p(1−p)·q(1−q)), kept in the Fréchet bounds [max(0, p + q − 1), min(p, q)]."""
    both = p * q + correlation * float(np.sqrt(p * (1 - p) * q * (1 - q)))
    return float(min(max(both, 0.0, p + q - 1), p, q))


def joint_probabilities(
    probabilities: Mapping[str, float], correlations: NDArray[Any], smallest: float = 0.0
) -> dict[tuple[str, str], float]:
    """Probability that two classes are both there, for each pair whose value is at least `smallest`."""
    names = list(probabilities)
    found = {}
    for (i, first), (j, second) in itertools.combinations(enumerate(names), 2):
        value = joint_probability(probabilities[first], probabilities[second], float(correlations[i, j]))
        if value >= smallest:
            found[first, second] = value
    return found


def joined_by_correlation(
    present: Mapping[str, bool], correlations: NDArray[Any], threshold: float
) -> dict[str, tuple[str, float]]:
    """Absent classes that join the present ones: class → (the present class it goes with, correlation).

    A class joins when its correlation with a class that is present by its own threshold is at least
    `threshold`; a class that joined pulls no other one in.
    """
    names = list(present)
    joined = {}
    for j, name in enumerate(names):
        if present[name]:
            continue
        partners = [(float(correlations[i, j]), other) for i, other in enumerate(names) if present[other]]
        if partners and max(partners)[0] >= threshold:
            strength, other = max(partners)
            joined[name] = (other, strength)
    return joined


def any_abnormality(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """(…, K) → (…): probability of at least one class, 1 − Π(1 − p), as if the classes were independent."""
    p = np.clip(np.asarray(probabilities, np.float64), 0, 1)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(np.log1p(-p).sum(axis=-1)))
