"""Agreement of probability maps with boxes: continuous DICE and IoBB (seed 001, FIG. 14B-D)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.roc import Interval


def continuous_dice(saliency: NDArray[Any], truth: NDArray[Any]) -> float:
    """2·ΣSG / (ΣS² + ΣG²) (seed 001, FIG. 14B); 1 where both are empty.

    saliency  values in [0, 1], any shape; truth  0 or 1, the same shape
    """
    s, g = np.asarray(saliency, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    total = float((s * s).sum() + (g * g).sum())
    return 1.0 if total == 0 else float(2 * (s * g).sum() / total)


def iobb(saliency: NDArray[Any], truth: NDArray[Any], threshold: float) -> float:
    """Part of the detected area that lies in the box (Wang et al. 2017); 0 where nothing is detected.

    saliency  (h, w) in [0, 1], detected where ≥ threshold; truth  (h, w) 0 or 1
    """
    detected = np.asarray(saliency) >= threshold
    area = int(detected.sum())
    return float((detected & (np.asarray(truth) > 0)).sum() / area) if area else 0.0


def spread(saliency: NDArray[Any]) -> float:
    """Part of the map that is at least half as bright as its brightest place: small for sharp maps.

    saliency  (h, w); 1 for an empty map
    """
    values = np.asarray(saliency, np.float64)
    return float((values >= values.max() / 2).mean())


def box_of(region: NDArray[Any]) -> NDArray[np.uint8]:
    """Smallest box around the patches of a region, as a grid of 0 and 1 of the same shape."""
    out = np.zeros(region.shape, dtype=np.uint8)
    ys, xs = np.nonzero(region)
    if len(ys):
        out[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = 1
    return out


def mean_interval(values: list[float], draws: int = 1000, seed: int = 0) -> Interval | None:
    """Mean with a percentile bootstrap over images; None without any."""
    if not values:
        return None
    each = np.array(values)
    drawn = np.random.default_rng(seed).choice(each, (draws, len(each))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(each.mean()), float(low), float(high))


def by_size(sizes: NDArray[Any], values: NDArray[Any], groups: int = 3) -> list[tuple[float, float, Interval]]:
    """(least size, largest size, mean of the values) of equally many places each, from small to large.

    sizes, values  (n,); fewer groups where n is smaller
    """
    order = np.argsort(sizes, kind="stable")
    parts = [part for part in np.array_split(order, groups) if len(part)]
    out = []
    for part in parts:
        mean = mean_interval(np.asarray(values)[part].tolist())
        assert mean is not None
        out.append((float(sizes[part].min()), float(sizes[part].max()), mean))
    return out


def best_map_threshold(maps: NDArray[np.uint8], regions: Callable[[int], NDArray[Any] | None]) -> float:
    """Threshold of the largest mean binary DICE over the images that show the class; 0.5 without any.

    maps  (n, h, w) as probability × 255; regions  index → (h, w) or None
    """
    shown = [(maps[i], known) for i in range(len(maps)) if (known := regions(i)) is not None and known.any()]
    if not shown:
        return 0.5
    candidates = np.arange(0.10, 0.91, 0.05)
    means = [np.mean([continuous_dice(grid >= level * 255, known) for grid, known in shown]) for level in candidates]
    return float(round(candidates[int(np.argmax(means))], 2))
