"""How far the faces of scanned heads lie apart, and whether one is found again among many by its surface."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from portal.deidentify.faces import Plan, apply, generic_face
from portal.deidentify.faces.geometry import upright, volume
from portal.deidentify.faces.surface import ANGLES, _body, _outermost, _rays
from tests.factories.heads import Head

LEVEL = {"CT": -300.0, "MR": 150.0}


def generic(head: Head, key: bytes, said: bool | None = True) -> tuple[Plan, np.ndarray, np.ndarray]:
    """The plan, the new slices and where they are new."""
    made = generic_face(head.planes, head.slices, head.modality, said, key)
    out = [apply(made, values, plane) for values, plane in zip(head.slices, head.planes, strict=True)]
    return made, np.stack([new for new, _ in out]), np.stack([where for _, where in out])


def relief(head: Head, slices: np.ndarray) -> np.ndarray:
    """The face as a map of millimetres from one upright axis through the phantom's centre, (heights, angles)."""
    grid = upright(volume(head.planes, list(slices)), -1000.0 if head.modality == "CT" else 0.0)
    heights = np.arange(-110.0, -18.0, 2.0)
    front = np.abs(ANGLES) < np.deg2rad(45)
    points = _rays((0.0, -7.0), heights, grid.low)[:, :, front]
    points[0] += (heights[0] - grid.low[2]) / 2.0
    body = _body(grid.values > LEVEL[head.modality]).astype(np.float32)
    return _outermost(ndimage.map_coordinates(body, points, order=1))


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean distance of each two surfaces, mm."""
    return np.array([[np.nanmean(np.abs(a - b)) for b in other] for a in one])


def found_again(probes: np.ndarray, gallery: np.ndarray) -> int:
    """How many are nearest to their own, of all."""
    return int((distances(probes, gallery).argmin(1) == np.arange(len(probes))).sum())
