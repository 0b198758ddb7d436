"""Normal anatomy of a frontal chest phantom, in parts of the image (x right, y down, 0 to 1).

The patient faces the viewer: the patient's right lung is at the left of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from inference.phantoms.texture import Bool, Float, cloud, curve, smooth_step, stroke

REGIONS = ("lung_right", "lung_left", "heart")  # sides of the patient: the right lung is at the image's left


@dataclass(frozen=True)
class ChestPlan:
    """Proportions of one chest. `heart` is the cardiothoracic ratio, a dome the height of the diaphragm."""

    axis: float
    half_width: float
    apex: float
    dome_right: float
    dome_left: float
    heart: float
    flatness: float
    air: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> ChestPlan:
        """Proportions of a healthy adult with deep inspiration."""
        dome = float(rng.uniform(0.70, 0.77))
        return cls(
            axis=0.5 + float(rng.uniform(-0.015, 0.015)),
            half_width=float(rng.uniform(0.335, 0.385)),
            apex=float(rng.uniform(0.10, 0.14)),
            dome_right=dome,
            dome_left=dome + float(rng.uniform(0.012, 0.035)),
            heart=float(rng.uniform(0.40, 0.48)),
            flatness=float(rng.uniform(0.9, 1.1)),
            air=float(rng.uniform(0.92, 1.05)),
            seed=int(rng.integers(2**31)),
        )

    def with_changes(self, **changes: float) -> ChestPlan:
        """The same chest with other proportions."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Grid:
    """Coordinates of every pixel, and the soft shapes (0..1) that findings refer to."""

    x: Float
    y: Float
    right: Float
    left: Float
    heart: Float
    ribcage: Float

    @property
    def lungs(self) -> Float:
        """Both lungs."""
        return np.maximum(self.right, self.left)

    def side(self, name: str) -> Float:
        """The patient's right or left lung by 'R' or 'L'."""
        return self.right if name == "R" else self.left


def coordinates(size: tuple[int, int]) -> tuple[Float, Float]:
    """x and y of the pixel centres in parts of the image."""
    rows, columns = size
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    return (x + 0.5) / np.float32(columns), (y + 0.5) / np.float32(rows)


def outer_wall(plan: ChestPlan, y: Float) -> Float:
    """Half width of the rib cage at height y."""
    return (plan.half_width * dome((y - plan.apex) / (0.86 - plan.apex))).astype(np.float32)


def dome(t: Float) -> Float:
    """Width of a rounded top, 0 at t = 0 to 1 at t = 1."""
    return np.sqrt(1 - (1 - np.clip(t, 0, 1)) ** 2.4).astype(np.float32)


def shapes(plan: ChestPlan, size: tuple[int, int]) -> Grid:
    """Soft masks of lungs and heart."""
    x, y = coordinates(size)
    away = x - np.float32(plan.axis)
    wall = outer_wall(plan, y)
    lungs = {}
    for name, sign, floor_at in (("R", -1.0, plan.dome_right), ("L", 1.0, plan.dome_left)):
        out = sign * away
        inner = 0.055 + 0.035 * smooth_step(y, 0.30, plan.apex)
        centre, span = 0.52 * plan.half_width, 0.55 * plan.half_width
        drop = 0.11 * plan.flatness * np.abs((out - centre) / span) ** 2.2
        floor = floor_at + drop
        lateral = smooth_step(wall - out, -0.004, 0.012)
        medial = smooth_step(out - inner, -0.006, 0.012)
        below = smooth_step(floor - y, -0.003, 0.008)
        lungs[name] = lateral * medial * below * smooth_step(y, plan.apex - 0.003, plan.apex + 0.012)
    heart = heart_shape(plan, x, y)
    cage = smooth_step(wall - np.abs(away), -0.004, 0.012)
    return Grid(x, y, lungs["R"] * (1 - heart), lungs["L"] * (1 - heart), heart, cage)


def heart_shape(plan: ChestPlan, x: Float, y: Float) -> Float:
    """Mediastinal shadow that the lungs leave free: the heart and the arch of the aorta."""
    aorta = ((x - (plan.axis + 0.045)) / 0.045) ** 2 + ((y - 0.285) / 0.055) ** 2
    return np.maximum(heart_alone(plan, x, y), smooth_step(aorta, 1.3, 0.7)).astype(np.float32)


def heart_alone(plan: ChestPlan, x: Float, y: Float) -> Float:
    """Heart shadow: one third right of the midline, two thirds left, apex on the left diaphragm."""
    width = plan.heart * plan.half_width
    bottom = plan.dome_left + 0.015
    height = 0.62 * width + 0.085
    dx = (x - (plan.axis + 0.30 * width)) / (1.0 * width)
    dy = (y - (bottom - height * 0.78)) / height
    tilt = 0.30
    a, b = dx + tilt * dy * -0.6, dy + tilt * dx * -0.45
    return smooth_step(np.sqrt(a * a + b * b), 1.05, 0.93)


def region_masks(plan: ChestPlan, grid: Grid) -> dict[str, Bool]:
    """Where each of REGIONS lies, (rows, columns); what findings hide is part of its region still."""
    heart = heart_alone(plan, grid.x, grid.y)
    return dict(zip(REGIONS, (grid.right > 0.5, grid.left > 0.5, heart > 0.5), strict=True))


def draw_normal(plan: ChestPlan, grid: Grid) -> Float:
    """Display values of the healthy chest, about 0 (air) to 1 (dense)."""
    rng = np.random.default_rng([plan.seed, 1])
    x, y = grid.x, grid.y
    size = (x.shape[0], x.shape[1])
    away = np.abs(x - np.float32(plan.axis))
    body = _body(plan, away, y)
    image = 0.58 * body + 0.05 * body * cloud(rng, size, cells=3, octaves=4)
    belly = smooth_step(y, 0.70, 0.84)
    image += 0.16 * belly * body * smooth_step(grid.lungs, 0.6, 0.0)
    image -= 0.40 * plan.air * grid.lungs * (0.92 + 0.10 * smooth_step(y, 0.75, 0.15))
    mediastinum = smooth_step(away, 0.105, 0.045) * smooth_step(y, 0.02, 0.12)
    image += 0.15 * mediastinum * body
    image += (0.10 - 0.06 * mediastinum) * grid.heart * smooth_step(y, 0.95, 0.80)
    image += _spine(x, y, plan) * body
    image -= 0.13 * smooth_step(away, 0.024, 0.012) * smooth_step(y, 0.33, 0.29) * body  # trachea
    image += _ribs(plan, rng, grid, size) * body
    image += _vessels(plan, rng, grid, size)
    bubble = ((x - plan.axis - 0.19) / 0.055) ** 2 + ((y - plan.dome_left - 0.065) / 0.030) ** 2
    image -= 0.22 * smooth_step(bubble, 1.15, 0.8) * smooth_step(grid.lungs, 0.5, 0.0)
    image += 0.010 * cloud(rng, size, cells=24, octaves=4, persistence=0.8) * body
    return image


def _body(plan: ChestPlan, away: Float, y: Float) -> Float:
    neck = 0.085 + 0.0 * y
    shoulders = neck + (plan.half_width + 0.13 - 0.085) * smooth_step(y, 0.005, 0.20) ** 0.8
    trunk = np.minimum(shoulders, plan.half_width + 0.075 + 0.06 * smooth_step(y, 0.42, 0.16))
    return smooth_step(trunk - away, -0.006, 0.03)


def _spine(x: Float, y: Float, plan: ChestPlan) -> Float:
    column = smooth_step(np.abs(x - np.float32(plan.axis)), 0.042, 0.030)
    bodies = 0.6 + 0.4 * np.cos(2 * np.pi * (y + 0.3 * y * y) / 0.052)
    return (0.055 * column * bodies * smooth_step(y, 1.0, 0.3)).astype(np.float32)


def _ribs(plan: ChestPlan, rng: np.random.Generator, grid: Grid, size: tuple[int, int]) -> Float:
    """Posterior ribs falling outwards, anterior ribs rising inwards, collar bones; brighter rims."""
    out = np.zeros(size, dtype=np.float32)
    x, y = grid.x, grid.y
    away = x - np.float32(plan.axis)
    near = smooth_step(outer_wall(plan, y) + 0.012 - np.abs(away), 0.0, 0.008)
    for sign in (-1.0, 1.0):
        lateral = np.clip(sign * away, 0, None) / np.float32(plan.half_width)
        shown = smooth_step(sign * away, 0.02, 0.06)
        for index in range(9):
            top = plan.apex + 0.012 + 0.067 * index + float(rng.normal(0, 0.003))
            mid = top + 0.030 * lateral + (0.075 + 0.006 * index) * lateral**2.2
            out += 0.055 * _band(y - mid, 0.0125) * near * shown
            if 1 <= index <= 6:
                front = top + 0.205 - 0.105 * lateral + 0.02 * lateral**2
                out += 0.030 * _band(y - front, 0.014) * near * smooth_step(lateral, 0.38, 0.62)
        clavicle = plan.apex + 0.070 - 0.045 * lateral + 0.02 * np.sin(lateral * 5)
        out += 0.085 * _band(y - clavicle, 0.013) * smooth_step(lateral, 0.10, 0.17) * smooth_step(lateral, 1.25, 1.1)
    return out


def _band(offset: Float, half: float) -> Float:
    inside = smooth_step(np.abs(offset), half * 1.15, half * 0.8)
    rim = np.exp(-(((np.abs(offset) - half * 0.85) / (half * 0.3)) ** 2))
    return (0.75 * inside + 0.5 * rim).astype(np.float32)


def _vessels(plan: ChestPlan, rng: np.random.Generator, grid: Grid, size: tuple[int, int]) -> Float:
    """Hilar shadows and branches that thin out towards the periphery."""
    rows, columns = size
    out = np.zeros(size, dtype=np.float32)
    for sign in (-1.0, 1.0):
        hilum = (plan.axis + sign * 0.095, 0.43 - 0.012 * sign)
        spot = ((grid.x - hilum[0]) / 0.038) ** 2 + ((grid.y - hilum[1]) / 0.062) ** 2
        out = np.maximum(out, 0.15 * np.exp(-spot))
        for _ in range(20):
            heading = (0.0 if sign > 0 else np.pi) + sign * rng.uniform(-1.25, 1.25)
            path = curve(rng, hilum, heading, rng.uniform(0.12, 0.30), 0.16, 8)
            for part in range(0, 8, 2):
                points = [(px * columns, py * rows) for px, py in path[part : part + 3]]
                width = (0.0125 - 0.0030 * (part / 2)) * rng.uniform(0.6, 1.1)
                line = stroke(size, points, width * columns)
                out = np.maximum(out, (0.105 - 0.020 * part / 2) * line)
    return out * np.maximum(grid.lungs, 0.25 * grid.ribcage)
