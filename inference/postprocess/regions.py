"""Saliency and regions of interest from probability maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from inference.findings import Region
from inference.outlines import thinned

Float = NDArray[np.float32]
OUTLINE_TOLERANCE = 0.25  # patches
ToImage = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def saliency(maps: Float, thresholds: NDArray[np.float64]) -> NDArray[np.uint8]:
    """1 where a probability reaches its threshold.

    maps        (K, h, w)
    thresholds  (K,) or, by place, (K, h, w)
    """
    limits = np.asarray(thresholds)
    return (maps >= (limits[:, None, None] if limits.ndim == 1 else limits)).astype(np.uint8)


def find_regions(
    grid: Float,
    threshold: float,
    class_name: str,
    input_size: tuple[int, int],
    to_image: ToImage,
    smallest: int = 1,
    largest_count: int = 8,
) -> tuple[Region, ...]:
    """Connected patches (8-neighbours) at or over the threshold, the highest scores first.

    grid        (h, w) probabilities over an input of input_size = (height, width)
    to_image    (n, 2) input coordinates → (n, 2) image coordinates
    smallest    fewest patches of a region; largest_count  most regions
    The score is the highest probability inside. The outline follows the threshold between patch centres.
    """
    mask = grid >= threshold
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    step_v, step_u = input_size[0] / grid.shape[0], input_size[1] / grid.shape[1]
    found = []
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[where] == index
        if count == 0 or int(inside.sum()) < smallest:
            continue
        vs, us = where
        corners = np.array(
            [[us.start * step_u, vs.start * step_v], [us.stop * step_u, vs.stop * step_v]], dtype=np.float64
        )
        (xa, ya), (xb, yb) = to_image(corners)
        box = (float(min(xa, xb)), float(min(ya, yb)), float(max(xa, xb)), float(max(ya, yb)))
        found.append((float(grid[where][inside].max()), index, box))
    found.sort(key=lambda one: -one[0])
    return tuple(
        Region(
            class_name,
            box,
            score,
            _outline(np.where(labels == index, grid, 0.0), threshold, (step_u, step_v), to_image),
        )
        for score, index, box in found[:largest_count]  # outlines cost most, so only of those that are kept
    )


def _outline(
    grid: NDArray[np.floating], threshold: float, step: tuple[float, float], to_image: ToImage
) -> tuple[tuple[float, float], ...] | None:
    contours = measure.find_contours(np.pad(grid, 1), max(threshold - 1e-6, 1e-6))
    if not contours:
        return None
    longest = max(contours, key=len)
    simple = thinned(longest, OUTLINE_TOLERANCE)
    points = np.stack([(simple[:, 1] - 0.5) * step[0], (simple[:, 0] - 0.5) * step[1]], axis=1)
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in to_image(points)[:-1])
