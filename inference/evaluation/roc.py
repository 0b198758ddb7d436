"""Receiver operating characteristic: AUC, bootstrap intervals, curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


def auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the curve by ranks, ties counted half; NaN unless both kinds of label occur.

    labels, scores  (n,)
    """
    positive = np.asarray(labels).astype(bool)
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    if n1 == 0 or n0 == 0:
        return float("nan")
    from scipy.stats import rankdata  # a second, in every process that only needs a threshold

    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def mean_auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Mean over the classes (columns) in which both kinds of label occur; NaN if there are none."""
    values = [auc(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def auc_interval(
    labels: NDArray[Any],
    scores: NDArray[Any],
    groups: NDArray[Any] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """AUC (mean over columns where 2-d) with a percentile bootstrap over groups (patients).

    labels, scores  (n,) or (n, K); groups (n,) or None for one group per row
    """
    two_d = labels if labels.ndim == 2 else labels[:, None], scores if scores.ndim == 2 else scores[:, None]
    drawn = [mean_auc(two_d[0][rows], two_d[1][rows]) for rows in _redrawn(len(labels), groups, draws, seed)]
    return _percentiles(mean_auc(*two_d), drawn)


def difference_interval(
    labels: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    groups: NDArray[Any] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean AUC of `first` minus that of `second` on the same scans, paired: both are drawn together.

    labels, first, second  (n, K); groups (n,) or None for one group per row
    """
    drawn = [
        mean_auc(labels[rows], first[rows]) - mean_auc(labels[rows], second[rows])
        for rows in _redrawn(len(labels), groups, draws, seed)
    ]
    return _percentiles(mean_auc(labels, first) - mean_auc(labels, second), drawn)


def _redrawn(n: int, groups: NDArray[Any] | None, draws: int, seed: int) -> Iterator[NDArray[Any]]:
    """Row numbers of `draws` samples of whole groups, with replacement."""
    names, inverse = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    members = [np.flatnonzero(inverse == g) for g in range(len(names))]
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.concatenate([members[g] for g in rng.integers(0, len(names), len(names))])


def _percentiles(value: float, drawn: list[float]) -> Interval:
    kept = np.array([v for v in drawn if not np.isnan(v)])
    if len(kept) == 0:
        return Interval(value, float("nan"), float("nan"))
    return Interval(value, float(np.percentile(kept, 2.5)), float(np.percentile(kept, 97.5)))


def curve(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Sensitivity, specificity and thresholds; a case is positive when its score ≥ the threshold.

    Thresholds are the distinct scores in falling order.
    """
    positive = np.asarray(labels).astype(bool)
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked, hits = np.asarray(scores)[order], positive[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    found = np.cumsum(hits)[last]
    alarms = np.cumsum(~hits)[last]
    sensitivity = found / max(int(positive.sum()), 1)
    specificity = 1 - alarms / max(int((~positive).sum()), 1)
    return sensitivity, specificity, ranked[last]
