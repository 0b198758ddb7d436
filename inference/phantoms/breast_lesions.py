"""Lesions of breast phantoms: smooth and spiculated masses, benign and malignant calcifications."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from inference.phantoms.texture import Bool, Float, outline_radius, radial_outline, smooth_step, stroke

MALIGNANT = ("spiculated_mass", "pleomorphic_calcifications")
BENIGN = ("smooth_mass", "coarse_calcifications")


@dataclass(frozen=True)
class LesionPlan:
    """A lesion in its breast: `depth` in parts of the breast's depth, `width` and `height` in parts of the
    half extents; `size` is its radius in mm."""

    kind: str
    malignant: bool
    depth: float
    width: float
    height: float
    size: float
    contrast: float
    seed: int


def plan_lesion(rng: np.random.Generator, *, malignant: bool, years_earlier: int) -> LesionPlan:
    """Draw a lesion; `years_earlier` shrinks it as it would have been then."""
    kinds = MALIGNANT if malignant else BENIGN
    kind = str(rng.choice(kinds, p=[0.65, 0.35]))
    mass = kind.endswith("mass")
    size = float(rng.uniform(5.0, 12.0) if mass else rng.uniform(6.0, 14.0))
    return LesionPlan(
        kind=kind,
        malignant=malignant,
        depth=float(rng.uniform(0.28, 0.72)),
        width=float(rng.uniform(-0.48, 0.48)),
        height=float(rng.uniform(-0.42, 0.48)),
        size=size * 0.72**years_earlier if malignant else size,
        contrast=float(rng.uniform(0.20, 0.34) if mass else rng.uniform(0.35, 0.7)),
        seed=int(rng.integers(2**31)),
    )


def draw_lesion(
    plan: LesionPlan, view: str, spot_mm: tuple[float, float], size: tuple[int, int], mm: float
) -> tuple[Float, Bool]:
    """Added attenuation and mask, both (rows, columns), of a lesion centred at spot_mm = (x, y)."""
    rng = np.random.default_rng([plan.seed, 1 if view == "CC" else 2])
    rows, columns = size
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) * np.float32(mm)
    dx, dy = x - np.float32(spot_mm[0]), y - np.float32(spot_mm[1])
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    if plan.kind == "smooth_mass":
        stretch = float(rng.uniform(0.75, 1.0))
        radius = np.hypot(dx, dy / np.float32(stretch))
        border = plan.size * outline_radius(angle, radial_outline(rng, 0.03, 3), 0.03)
        body = smooth_step(border - radius, -0.8, 1.2) * (0.85 + 0.15 * smooth_step(radius, plan.size, 0.0))
        halo = -0.12 * np.exp(-(((radius - border - 1.6) / 1.1) ** 2))
        return (plan.contrast * (body + halo)).astype(np.float32), radius < border
    if plan.kind == "spiculated_mass":
        return _spiculated(rng, plan, radius, angle, spot_mm, size, mm)
    return _calcifications(rng, plan, spot_mm, size, mm)


def _spiculated(
    rng: np.random.Generator,
    plan: LesionPlan,
    radius: Float,
    angle: Float,
    spot_mm: tuple[float, float],
    size: tuple[int, int],
    mm: float,
) -> tuple[Float, Bool]:
    """Irregular dense core without a clear border, and thin spicules that leave it in all directions."""
    core = 0.78 * plan.size * outline_radius(angle, radial_outline(rng, 0.16, 8), 0.16)
    body = smooth_step(core - radius, -2.2, 2.6)
    out = plan.contrast * 1.15 * body
    spicules = np.zeros(size, dtype=np.float32)
    for _ in range(int(rng.integers(16, 28))):
        heading = rng.uniform(0, 2 * np.pi)
        length = plan.size * rng.uniform(0.9, 1.9)
        points, bend = [], rng.normal(0, 0.10)
        for step in range(6):
            reach = 0.45 * plan.size + length * step / 5
            turn = heading + bend * step / 5
            points.append(
                (
                    (spot_mm[0] + reach * np.cos(turn)) / mm,
                    (spot_mm[1] + reach * np.sin(turn)) / mm,
                )
            )
        line = stroke(size, points, rng.uniform(0.5, 1.1) / mm)
        spicules = np.maximum(spicules, line * rng.uniform(0.5, 1.0))
    fade = smooth_step(radius, 2.5 * plan.size, 0.6 * plan.size)
    out = out + 0.55 * plan.contrast * spicules * fade
    mask = (radius < core + 0.8) | ((spicules > 0.4) & (radius < 1.7 * plan.size))
    return out.astype(np.float32), ndimage.binary_closing(mask, iterations=2)


def _calcifications(
    rng: np.random.Generator, plan: LesionPlan, spot_mm: tuple[float, float], size: tuple[int, int], mm: float
) -> tuple[Float, Bool]:
    """Malignant: many fine particles of unequal shape, some in lines. Benign: few coarse round ones."""
    out = np.zeros(size, dtype=np.float32)
    fine = plan.kind == "pleomorphic_calcifications"
    count = int(rng.integers(18, 40) if fine else rng.integers(1, 5))
    heading = rng.uniform(0, np.pi)
    for _ in range(count):
        along, across = rng.normal(0, 0.42) * plan.size, rng.normal(0, 0.26 if fine else 0.5) * plan.size
        cx = spot_mm[0] + along * np.cos(heading) - across * np.sin(heading)
        cy = spot_mm[1] + along * np.sin(heading) + across * np.cos(heading)
        width = rng.uniform(0.25, 0.75) if fine else rng.uniform(1.6, 3.6)
        reach = width * (rng.uniform(0.2, 2.2) if fine else 0.15)
        turn = heading + rng.normal(0, 0.7)
        ends = [
            ((cx - reach * np.cos(turn) / 2) / mm, (cy - reach * np.sin(turn) / 2) / mm),
            ((cx + reach * np.cos(turn) / 2) / mm, (cy + reach * np.sin(turn) / 2) / mm),
        ]
        out = np.maximum(out, stroke(size, ends, width / mm) * rng.uniform(0.55, 1.0))
    near = ndimage.binary_dilation(_coarse(out > 0.12, 4), iterations=max(1, round(1.6 / (4 * mm))))
    mask = np.repeat(np.repeat(near, 4, axis=0), 4, axis=1)
    full = np.zeros(size, dtype=bool)
    h, w = min(size[0], mask.shape[0]), min(size[1], mask.shape[1])
    full[:h, :w] = mask[:h, :w]
    return (plan.contrast * out).astype(np.float32), full


def _coarse(mask: Bool, factor: int) -> Bool:
    """Any-pooling by `factor`, so that dilation by millimetres stays cheap at full size."""
    rows, columns = -(-mask.shape[0] // factor), -(-mask.shape[1] // factor)
    padded = np.zeros((rows * factor, columns * factor), dtype=bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    pooled: Bool = np.asarray(padded.reshape(rows, factor, columns, factor).any(axis=(1, 3)), dtype=bool)
    closed: Bool = np.asarray(ndimage.binary_closing(pooled, iterations=2), dtype=bool) | pooled
    return closed
