"""Slices in patient coordinates (LPS: x to the left, y to the back, z to the head, mm) and volumes of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
STEP = 2.0  # mm, of the grid on which a surface is looked for
PARALLEL = 1e-3  # how far directions of slices of one volume may differ
MAX_GAP = 12.0  # mm between slices; with more a nose can lie between two
TALL = 800.0  # mm from the top of what was scanned in which a face is looked for
MOST = 100_000_000  # values of a volume or grid: 800 mm of 1 m × 1 m; in single precision 400 MB
SLAB = 16  # levels of the grid that are worked out at once


class NoVolume(Exception):
    """These slices make no volume; `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a slice lie (PS3.3 C.7.6.2).

    origin  centre of the first pixel; along: unit vector in which the column index grows, down: the row index
    spacing mm between rows, between columns; shape (rows, columns)
    """

    origin: tuple[float, float, float]
    along: tuple[float, float, float]
    down: tuple[float, float, float]
    spacing: tuple[float, float]
    shape: tuple[int, int]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the slice."""
        return np.cross(self.along, self.down)

    @property
    def place(self) -> float:
        """Where along its normal the slice lies, mm."""
        return float(np.dot(self.origin, self.normal))

    def points(self) -> NDArray[np.float64]:
        """(rows, columns, 3) of the pixels' centres, mm."""
        rows, columns = (np.arange(n) * mm for n, mm in zip(self.shape, self.spacing, strict=True))
        down, along = np.asarray(self.down), np.asarray(self.along)
        return np.asarray(self.origin) + rows[:, None, None] * down + columns[None, :, None] * along

    def corners(self) -> NDArray[np.float64]:
        """(4, 3) of the outermost pixels' centres, mm."""
        down = (self.shape[0] - 1) * self.spacing[0] * np.asarray(self.down)
        along = (self.shape[1] - 1) * self.spacing[1] * np.asarray(self.along)
        return np.asarray(self.origin) + np.stack([np.zeros(3), down, along, down + along])

    def alike(self, other: Plane) -> bool:
        """Whether both can be slices of one volume."""
        near = np.allclose(self.along, other.along, atol=PARALLEL) and np.allclose(self.down, other.down, atol=PARALLEL)
        same = self.shape == other.shape and np.allclose(self.spacing, other.spacing, rtol=1e-3)
        shift = np.subtract(self.origin, other.origin)  # slices of one volume may be sheared (gantry tilt)
        return bool(near and same and max(abs(shift @ np.asarray(v)) for v in (self.along, self.down)) < 400)


@dataclass(frozen=True)
class Volume:
    """Parallel slices in order, distances as they are: values (slices, rows, columns), pixels of STEP mm at most.

    numbers  which of the slices that were given these are
    """

    planes: tuple[Plane, ...]
    values: Floats
    numbers: tuple[int, ...]

    def at(self, points: NDArray[np.float64], outside: float) -> Floats:
        """Values between the pixels at points (..., 3); `outside` where no slice is near."""
        first = self.planes[0]
        normal = first.normal
        places = np.array([p.place for p in self.planes])
        far = points @ normal
        index = np.interp(far, places, np.arange(len(places)), left=-1, right=len(places))
        # A gantry's tilt moves the origins along the slices: what they are between slices is interpolated too.
        flat = np.clip(index, 0, len(places) - 1)
        origins = np.array([p.origin for p in self.planes])
        origin = np.stack([np.interp(flat, np.arange(len(places)), origins[:, i]) for i in range(3)], -1)
        shift = points - origin
        rows = shift @ np.asarray(first.down) / first.spacing[0]
        columns = shift @ np.asarray(first.along) / first.spacing[1]
        where = np.stack([index, rows, columns])
        return ndimage.map_coordinates(self.values, where, order=1, mode="constant", cval=outside, output=np.float32)


@dataclass(frozen=True)
class Grid:
    """An upright grid of STEP mm: values (z, y, x) from the corner `low` (x, y, z)."""

    low: NDArray[np.float64]
    values: Floats


def chosen(planes: Sequence[Plane]) -> list[int]:
    """Which slices to read, in order along their normal: of several at one place the first. Raises NoVolume.

    Slices that lie closer than STEP are thinned out to it, and what lies more than TALL under the top is left away:
    a face is no farther below a crown.
    """
    if len(planes) < 3:
        raise NoVolume("few_slices")
    if not all(planes[0].alike(p) for p in planes):
        raise NoVolume("not_parallel")
    order: list[int] = []
    for n in sorted(range(len(planes)), key=lambda n: planes[n].place):
        if not order or planes[n].place - planes[order[-1]].place > 0.05:
            order.append(n)
    places = [planes[n].place for n in order]
    if len(order) < 3:
        raise NoVolume("few_slices")
    if max(np.diff(places)) > MAX_GAP:
        raise NoVolume("wide_gaps")
    heights = [planes[n].corners()[:, 2].max() for n in order]
    near = [n for n, height in zip(order, heights, strict=True) if height > max(heights) - TALL]
    order = near if len(near) > 2 else order
    kept = order[:1]
    for before, n in pairwise(order[1:]):
        if planes[n].place - planes[kept[-1]].place > STEP + 0.01:
            kept.append(before)
    return [*kept, order[-1]] if len(kept) > 1 else order


def longest_run(planes: Sequence[Plane]) -> list[int]:
    """Of parallel slices the most that lie together without a gap of more than MAX_GAP."""
    runs: list[list[int]] = []
    for n in sorted(range(len(planes)), key=lambda n: planes[n].place):
        if not runs or planes[n].place - planes[runs[-1][-1]].place > MAX_GAP:
            runs.append([])
        runs[-1].append(n)
    return max(runs, key=len)


def thick(planes: Sequence[Plane]) -> float:
    """How far the slices of one volume reach along their normal, mm; the most where they make several."""
    stacks: dict[tuple[object, ...], list[Plane]] = {}
    for plane in planes:
        stacks.setdefault((*np.round([*plane.along, *plane.down], 2), plane.shape), []).append(plane)
    found = 0.0
    for stack in stacks.values():
        places = [stack[n].place for n in longest_run(stack)]
        found = max(found, places[-1] - places[0])
    return found


def volume(planes: Sequence[Plane], slices: Sequence[NDArray[np.generic]]) -> Volume:
    """The volume that slices make, one of them in memory at a time. Raises NoVolume.

    Pixels smaller than STEP are joined to their means.
    """
    numbers = chosen(planes)
    first = planes[numbers[0]]
    factors = (max(1, int(STEP / first.spacing[0])), max(1, int(STEP / first.spacing[1])))
    shape = (len(numbers), first.shape[0] // factors[0], first.shape[1] // factors[1])
    if math.prod(shape) > MOST:
        raise NoVolume("too_large")
    values = np.empty(shape, np.float32)
    for at, n in enumerate(numbers):
        values[at] = _joined(np.asarray(slices[n], np.float32), factors)
    return Volume(tuple(_coarse(planes[n], factors) for n in numbers), values, tuple(numbers))


def upright(found: Volume, outside: float) -> Grid:
    """The volume on an upright grid of STEP mm; no more than TALL of it. Raises NoVolume."""
    corners = np.concatenate([p.corners() for p in (found.planes[0], found.planes[-1])])
    low, high = corners.min(0), corners.max(0)
    low[2] = max(low[2], high[2] - TALL)
    x, y, z = (np.arange(a, b + 1e-6, STEP) for a, b in zip(low, high, strict=True))
    if len(x) * len(y) * len(z) > MOST:
        raise NoVolume("too_large")
    values = np.empty((len(z), len(y), len(x)), np.float32)
    for at in range(0, len(z), SLAB):
        points = np.stack(np.meshgrid(z[at : at + SLAB], y, x, indexing="ij")[::-1], -1)
        values[at : at + SLAB] = found.at(points, outside)
    return Grid(low, values)


def _joined(values: Floats, factors: tuple[int, int]) -> Floats:
    """Means over blocks of pixels."""
    a, b = factors
    rows, columns = (n // f for n, f in zip(values.shape, factors, strict=True))
    return values[: rows * a, : columns * b].reshape(rows, a, columns, b).mean((1, 3), dtype=np.float32)


def _coarse(plane: Plane, factors: tuple[int, int]) -> Plane:
    """Where the means of a slice lie."""
    shift = sum(
        (factor - 1) / 2 * mm * np.asarray(axis)
        for factor, mm, axis in zip(factors, plane.spacing, (plane.down, plane.along), strict=True)
    )
    origin = tuple(float(v) for v in np.asarray(plane.origin) + shift)
    shape = (plane.shape[0] // factors[0], plane.shape[1] // factors[1])
    spacing = (plane.spacing[0] * factors[0], plane.spacing[1] * factors[1])
    return Plane(origin, plane.along, plane.down, spacing, shape)  # type: ignore[arg-type]
