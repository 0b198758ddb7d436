"""Places in patient coordinates on the images that they lie in (PS3.3 C.18.9, C.7.6.2.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
FRAME, POSITION, ORIENTATION, SPACING, THICKNESS = "00200052", "00200032", "00200037", "00280030", "00180050"
LEAST = 0.5  # mm to both sides of an image that says nothing of its thickness
GRAPHICS = {  # of SCOORD3D → the same in a plane
    "POINT": "POINT", "MULTIPOINT": "MULTIPOINT", "POLYLINE": "POLYLINE", "POLYGON": "POLYLINE", "ELLIPSE": "ELLIPSE",
}  # fmt: skip


@dataclass(frozen=True)
class Plane:
    """Where an image lies: the centre of its first pixel, and the steps (mm) of one column and of one row."""

    sop_uid: str
    series: int
    frame_uid: str
    origin: Float
    column: Float
    row: Float
    half: float
    size: tuple[int, int]  # rows, columns

    def away(self, points: Float) -> float:
        """How far the farthest of points (n, 3) lies from the plane, in mm."""
        normal = np.cross(self.column, self.row)
        return float(np.abs((points - self.origin) @ (normal / np.linalg.norm(normal))).max())

    def pixels(self, points: Float) -> Float:
        """(column, row) of points (n, 3), pixel centres at whole numbers."""
        away = points - self.origin
        return np.stack([away @ step / (step @ step) for step in (self.column, self.row)], axis=1)

    def shows(self, places: Float) -> bool:
        """Whether any of places (n, 2) is in the image."""
        inside = (places > -1) & (places < np.array(self.size)[::-1])
        return bool(inside.all(axis=1).any())


def plane_of(sop_uid: str, series: int, size: tuple[int, int], headers: Mapping[str, Any]) -> Plane | None:
    """By an image's DICOM JSON; None for one that has no place in space, or one for each of its frames."""

    def numbers(tag: str) -> list[float]:
        return [float(value) for value in headers.get(tag, {}).get("Value") or []]

    try:
        position, orientation, spacing = (numbers(tag) for tag in (POSITION, ORIENTATION, SPACING))
        thickness = numbers(THICKNESS)
        frame_uid = str((headers.get(FRAME, {}).get("Value") or [""])[0])
    except (TypeError, ValueError):
        return None
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2) or not frame_uid or min(spacing) <= 0:
        return None
    column, row = np.array(orientation[:3]) * spacing[1], np.array(orientation[3:]) * spacing[0]
    if not np.isfinite([*position, *column, *row]).all() or not np.cross(column, row).any():
        return None
    half = max(LEAST, thickness[0] / 2) if thickness else LEAST
    return Plane(sop_uid, series, frame_uid, np.array(position), column, row, half, size)


def met(
    planes: Iterable[Plane], frame_uid: str, graphic: str, data: Sequence[float]
) -> list[tuple[str, str, list[float]]]:
    """(SOP Instance UID, graphic, DICOM's corner-based points) of a place in each series: on the nearest image in whose
    thickness it lies whole. Empty where there is none, and for what is no outline in a plane.
    """
    array = np.asarray(data, dtype=float)
    if graphic not in GRAPHICS or not array.size or array.size % 3 or not np.isfinite(array).all():
        return []
    points = array.reshape(-1, 3)
    groups = [points[n : n + 1] for n in range(len(points))] if "POINT" in graphic else [points]
    if graphic == "POLYGON" and not np.allclose(points[0], points[-1]):
        groups = [np.concatenate([points, points[:1]])]
    there = [plane for plane in planes if plane.frame_uid == frame_uid]
    found = []
    for group in groups:
        nearest: dict[int, tuple[float, Plane]] = {}
        for plane in there:
            away = plane.away(group)
            if away <= plane.half + 1e-3 and away < nearest.get(plane.series, (np.inf, plane))[0]:
                nearest[plane.series] = away, plane
        for _, plane in nearest.values():
            places = plane.pixels(group)
            if plane.shows(places):
                found.append((plane.sop_uid, GRAPHICS[graphic], (places + 0.5).ravel().tolist()))
    return found
