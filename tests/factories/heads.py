"""Heads made of ellipsoids: skull, brain, lesions and a face of its own for each number; CT or MR, any slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from portal.deidentify.faces import Plane

AIR, SOFT, BONE, BRAIN, BRAIN_LESION, BONE_LESION, EYE = range(7)
CT = {AIR: -1000, SOFT: 40, BONE: 900, BRAIN: 35, BRAIN_LESION: 65, BONE_LESION: 350, EYE: 10}
MR = {AIR: 15, SOFT: 420, BONE: 40, BRAIN: 330, BRAIN_LESION: 520, BONE_LESION: 200, EYE: 90}
BRAIN_SPOT, BONE_SPOT = (20.0, -30.0, 20.0), (0.0, -84.5, 20.0)  # mm, at size 1


@dataclass(frozen=True)
class Head:
    """A scanned head: slices, their planes, and what each pixel shows."""

    modality: str
    planes: list[Plane]
    slices: list[NDArray[np.float32]]
    labels: list[NDArray[np.uint8]]


def traits(number: int) -> dict[str, float]:
    """What makes a face one's own: normal deviations by number, so that faces differ by several millimetres."""
    drawn = np.random.default_rng(number).normal(size=16)
    names = (
        "nose_out", "nose_wide", "nose_long", "nose_high", "brow", "eyes_apart", "eyes_deep", "cheek", "cheek_high",
        "lips", "lips_wide", "chin", "chin_low", "jaw", "size", "nod",
    )  # fmt: skip
    return dict(zip(names, np.clip(drawn, -2, 2), strict=True))


def show(points: NDArray[np.float64], number: int, same_size: bool = False) -> NDArray[np.uint8]:
    """What lies at points (..., 3), LPS mm, of head `number`."""
    t = traits(number)
    size = 1.0 if same_size else 1 + 0.03 * t["size"]
    p = points / size
    low, high = p.reshape(-1, 3).min(0), p.reshape(-1, 3).max(0)

    def within(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> NDArray[np.bool_]:
        out = np.zeros(p.shape[:-1], bool)
        if all(low[i] <= centre[i] + axes[i] and high[i] >= centre[i] - axes[i] for i in range(3)):
            out = sum(((p[..., i] - centre[i]) / axes[i]) ** 2 for i in range(3)) < 1
        return out

    x, y, z = (p[..., i] for i in range(3))
    nose_y, nose_z = -103 - 2 * t["nose_out"], -58 + 2.5 * t["nose_high"]
    soft = within((0, 0, 0), (76, 96, 90))
    soft |= within((0, -38, -62), (60 + 2 * t["jaw"], 58, 62))
    soft |= (np.hypot(x, y - 22) < 54) & (z < -40)
    soft |= within((0, nose_y, nose_z), (13 + 2 * t["nose_wide"], 19 + 2 * t["nose_out"], 12 + 1.5 * t["nose_long"]))
    soft |= within((0, nose_y + 4, nose_z + 16), (8 + t["nose_wide"], 15 + t["nose_out"], 24 + 2 * t["nose_long"]))
    soft |= within((0, -84, -26), (42, 14 + 2 * t["brow"], 9))
    for side in (-1, 1):
        cheek = (side * (36 + t["cheek"]), -74 - 1.5 * t["cheek"], -55 + 3 * t["cheek_high"])
        soft |= within(cheek, (20, 18 + 2 * t["cheek"], 17))
        soft |= within((side * 77, 6, -42), (9, 15, 30))  # ears
    for at in (-6, 5):
        soft |= within((0, -92 - 1.5 * t["lips"], -86 + at), (24 + 2.5 * t["lips_wide"], 10 + 1.5 * t["lips"], 6))
    soft |= within((0, -84 - 2 * t["chin"], -112 - 3 * t["chin_low"]), (22, 15 + 2 * t["chin"], 13))
    eyes = np.zeros_like(soft)
    for side in (-1, 1):
        at = side * (32 + 1.5 * t["eyes_apart"])
        soft &= ~within((at, -104, -36), (15, 14 + 2 * t["eyes_deep"], 9))
        eyes |= within((at, -76 + t["eyes_deep"], -36), (12, 12, 12))
        soft &= ~within((side * 6, nose_y - 4, nose_z - 10), (3.5, 8, 6))  # nostrils
    out = np.where(soft, SOFT, AIR).astype(np.uint8)
    out[eyes & soft] = EYE
    jaw = within((0, -38, -66), (46, 42, 46)) & ~within((0, -34, -66), (40, 35, 48)) & (z > -112)
    orbit, wall = (
        within((32, -76, -36), axes) | within((-32, -76, -36), axes) for axes in ((17, 30, 15), (21, 34, 19))
    )
    out[jaw & ~orbit & (z < -48)] = BONE
    skull = within((0, 0, 0), (70, 89, 84)) & (z > -62)
    brain = within((0, 0, 0), (63, 80, 77)) & (z > -52) & ~wall
    out[skull & ~orbit] = BONE
    out[brain] = BRAIN
    out[within(BRAIN_SPOT, (9, 8, 8)) & brain] = BRAIN_LESION
    out[within(BONE_SPOT, (7, 3, 7)) & (out == BONE)] = BONE_LESION
    return out


def scan(
    number: int,
    modality: str = "CT",
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0),
    turned: Rotation | None = None,
    noise: float = 8.0,
    same_size: bool = False,
    span: tuple[float, float] = (-140.0, 100.0),
) -> Head:
    """Scan head `number`.

    spacing  mm between slices, rows, columns; turned: the scanner's axes against the patient's
    span     mm along the normal that is scanned, by the head's centre
    """
    turn = turned or Rotation.identity()
    along, down, normal = (turn.apply(v) for v in np.eye(3))
    rows, columns = round(290 / spacing[1]), round(260 / spacing[2])
    random = np.random.default_rng(1000 + number)
    table = np.array([(CT if modality == "CT" else MR)[n] for n in range(7)], np.float32)
    out = Head(modality, [], [], [])
    for place in np.arange(span[0], span[1], spacing[0]):
        corner = -along * spacing[2] * (columns - 1) / 2 - down * spacing[1] * (rows - 1) / 2 + normal * place
        plane = Plane(tuple(corner), tuple(along), tuple(down), (spacing[1], spacing[2]), (rows, columns))
        labels = show(plane.points(), number, same_size)
        values = table[labels] + random.normal(0, noise, labels.shape)
        out.planes.append(plane)
        out.slices.append(np.round(values if modality == "CT" else np.abs(values)).astype(np.float32))
        out.labels.append(labels)
    return out
