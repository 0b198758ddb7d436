"""How far probabilities can be taken at their word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reliability:
    """`predicted` and `observed` mean per bin with `count` scores; bins without scores are left out."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: Σ count/n · |predicted − observed| (Guo et al. 2017); NaN without scores."""
        if not len(self.count):
            return float("nan")
        return float((self.count * np.abs(self.predicted - self.observed)).sum() / self.count.sum())


def reliability(labels: NDArray[Any], scores: NDArray[Any], bins: int = 10) -> Reliability:
    """Bins of equal width over [0, 1]; labels and scores (n,)."""
    truth, p = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    which = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    kept = count > 0
    sums = [np.bincount(which, weights=values, minlength=bins)[kept] / count[kept] for values in (p, truth)]
    return Reliability(sums[0], sums[1], count[kept])


def brier(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Mean squared difference of score and truth (Brier 1950)."""
    return float(np.mean((np.asarray(scores, np.float64) - np.asarray(labels, np.float64)) ** 2))


def log_loss(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Mean negative log likelihood, scores kept 1e-5 away from 0 and 1."""
    p = np.clip(np.asarray(scores, dtype=np.float64), 1e-5, 1 - 1e-5)
    truth = np.asarray(labels, dtype=np.float64)
    return float(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean())
