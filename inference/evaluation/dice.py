"""Agreement of probability maps with boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def continuous_dice(saliency: NDArray[Any], truth: NDArray[Any]) -> float:
    """2·ΣSG / (ΣS² + ΣG²) (seed 001, FIG. 14B); 1 where both are empty.

    saliency  values in [0, 1], any shape; truth  0 or 1, the same shape
    """
    s, g = np.asarray(saliency, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    total = float((s * s).sum() + (g * g).sum())
    return 1.0 if total == 0 else float(2 * (s * g).sum() / total)


def box_of(region: NDArray[Any]) -> NDArray[np.uint8]:
    """Smallest box around the patches of a region, as a grid of 0 and 1 of the same shape."""
    out = np.zeros(region.shape, dtype=np.uint8)
    ys, xs = np.nonzero(region)
    if len(ys):
        out[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = 1
    return out


def best_map_threshold(maps: NDArray[np.uint8], regions: NDArray[np.uint8]) -> float:
    """Threshold of the largest mean binary DICE over the images that show the class; 0.5 without any.

    maps, regions  (n, h, w); maps as probability × 255
    """
    rows = np.flatnonzero(regions.reshape(len(regions), -1).any(axis=1))
    if len(rows) == 0:
        return 0.5
    candidates = np.arange(0.10, 0.91, 0.05)
    means = [np.mean([continuous_dice(maps[i] >= level * 255, regions[i]) for i in rows]) for level in candidates]
    return float(round(candidates[int(np.argmax(means))], 2))
