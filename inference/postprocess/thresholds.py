"""Operating points of a score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.roc import curve


def youden(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Threshold of the largest sensitivity + specificity − 1 (positive: score ≥ threshold).

    Half way to the next lower score, so that the same case scored with a rounding error keeps its call.
    0.5 when only one kind of label occurs.
    """
    positive = np.asarray(labels).astype(bool)
    if positive.all() or not positive.any():
        return 0.5
    sensitivity, specificity, thresholds = curve(labels, scores)
    # Ties go to the higher threshold; rounding keeps them ties.
    return _between(thresholds, int(np.argmax(np.round(sensitivity + specificity, 9))))


def at_sensitivity(labels: NDArray[Any], scores: NDArray[Any], wanted: float) -> float:
    """Highest threshold whose sensitivity is at least `wanted`. ValueError without positives."""
    sensitivity, _, thresholds = curve(labels, scores)
    if not np.asarray(labels).astype(bool).any():
        raise ValueError("sensitivity needs at least one positive case")
    return _between(thresholds, int(np.argmax(sensitivity >= wanted)))


def at_specificity(labels: NDArray[Any], scores: NDArray[Any], wanted: float) -> float:
    """Lowest threshold whose specificity is at least `wanted`. ValueError without negatives."""
    _, specificity, thresholds = curve(labels, scores)
    if np.asarray(labels).astype(bool).all():
        raise ValueError("specificity needs at least one negative case")
    kept = np.flatnonzero(specificity >= wanted)
    return float(thresholds[kept[-1]]) if len(kept) else float(np.nextafter(thresholds[0], np.inf))


def _between(thresholds: NDArray[Any], index: int) -> float:
    here = float(thresholds[index])
    return (here + float(thresholds[index + 1])) / 2 if index + 1 < len(thresholds) else here
