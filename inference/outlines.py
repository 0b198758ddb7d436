"""Outlines of masks and of levels in grids. Pure."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from skimage import measure

Line = NDArray[np.float64]


def thinned(line: Line, tolerance: float) -> Line:
    """A line (points, 2) without the points that it hardly needs: it moves by no more than `tolerance`.

    Douglas and Peucker's rule, as skimage.measure.approximate_polygon has it in Python at thirty times the cost.
    A ring that would be left without an area stays as it is.
    """
    simple = shapely.get_coordinates(shapely.simplify(shapely.LineString(line), tolerance, preserve_topology=False))
    flat = len(simple) < 4 and bool(np.array_equal(line[0], line[-1]))
    return line if flat else simple


def rings(mask: NDArray[np.bool_], tolerance: float, decimals: int = 1) -> list[list[list[float]]]:
    """Closed outlines [[x, y], …] of a mask (rows, columns), in pixels; holes are rings as well (even-odd rule).

    They run half way between the mask's pixels and the others', and end where they began.
    """
    found = []
    for line in measure.find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        points = thinned(line - 1.0, tolerance)
        found.append([[round(float(x), decimals), round(float(y), decimals)] for y, x in points])
    return found
