"""Slices in patient coordinates (LPS: x to the left, y to the back, z to the head, mm) and volumes of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
STEP = 2.0  # mm, of the grid on which a surface is looked for
PARALLEL = 1e-3  # how far directions of slices of one volume may differ
MAX_GAP = 12.0  # mm between slices; with more a nose can lie between two


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

    def alike(self, other: Plane) -> bool:
        """Whether both can be slices of one volume."""
        near = np.allclose(self.along, other.along, atol=PARALLEL) and np.allclose(self.down, other.down, atol=PARALLEL)
        same = self.shape == other.shape and np.allclose(self.spacing, other.spacing, rtol=1e-3)
        shift = np.subtract(self.origin, other.origin)  # slices of one volume may be sheared (gantry tilt)
        return bool(near and same and max(abs(shift @ np.asarray(v)) for v in (self.along, self.down)) < 400)


@dataclass(frozen=True)
class Volume:
    """Parallel slices in order, distances as they are: values (slices, rows, columns)."""

    planes: tuple[Plane, ...]
    values: Floats

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


def volume(planes: Sequence[Plane], slices: Sequence[NDArray[np.generic]]) -> Volume:
    """Order slices along their normal; of several at one place the first. Raises NoVolume."""
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
    return Volume(tuple(planes[n] for n in order), np.stack([np.asarray(slices[n], np.float32) for n in order]))


def upright(found: Volume, outside: float) -> Grid:
    """The volume on an upright grid of STEP mm, means where its pixels are smaller."""
    first = found.planes[0]
    factors = [max(1, int(STEP / mm)) for mm in first.spacing]
    small = _shrunk(found, factors)
    corners = np.concatenate([p.points()[[0, 0, -1, -1], [0, -1, 0, -1]] for p in (small.planes[0], small.planes[-1])])
    low, high = corners.min(0), corners.max(0)
    x, y, z = (np.arange(a, b + 1e-6, STEP) for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1)
    return Grid(low, small.at(points, outside))


def _shrunk(found: Volume, factors: list[int]) -> Volume:
    if factors == [1, 1]:
        return found
    a, b = factors
    count, rows, columns = found.values.shape
    cut = found.values[:, : rows // a * a, : columns // b * b]
    means = cut.reshape(count, rows // a, a, columns // b, b).mean((2, 4), dtype=np.float32)
    planes = []
    for p in found.planes:
        shift = (a - 1) / 2 * p.spacing[0] * np.asarray(p.down) + (b - 1) / 2 * p.spacing[1] * np.asarray(p.along)
        origin = tuple(float(v) for v in np.asarray(p.origin) + shift)
        shape, spacing = (rows // a, columns // b), (p.spacing[0] * a, p.spacing[1] * b)
        planes.append(Plane(origin, p.along, p.down, spacing, shape))  # type: ignore[arg-type]
    return Volume(tuple(planes), means)
