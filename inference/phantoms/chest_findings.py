"""The 14 ChestX-ray14 classes drawn into a chest phantom.

Each painter returns the added display values and the mask. What sets each class apart in the drawing:

Atelectasis        plate-like bands above a raised half of the diaphragm
Cardiomegaly       heart wider than 0.56 of the chest (set in the plan, masked here)
Effusion           homogeneous shadow at the base with a meniscus rising at the wall
Infiltration       faint, patchy haze without borders
Mass               dense round shadow over 3 cm
Nodule             round shadow under 3 cm
Pneumonia          patchy segment with soft borders, mottled
Pneumothorax       black rim at apex and side without vessels, and the thin line of the visceral pleura
Consolidation      dense wedge against the wall with dark air bronchograms
Edema              haze from both hila (butterfly) with short Kerley lines at the sides
Emphysema          dark, large lungs, flat diaphragm (set in the plan), bullae
Fibrosis           net of fine lines at the bases and edges
Pleural_Thickening dense smooth band along the side wall
Hernia             round shadow with an air-fluid level behind the heart
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inference.phantoms.chest_anatomy import ChestPlan, Grid, dome, outer_wall
from inference.phantoms.texture import Bool, Float, cloud, outline_radius, radial_outline, smooth_step, stroke

Painted = tuple[Float, Bool]
Painter = Callable[[np.random.Generator, ChestPlan, Grid], Painted]


def _shape(grid: Grid) -> tuple[int, int]:
    return grid.x.shape[0], grid.x.shape[1]


def _place(rng: np.random.Generator, grid: Grid, low: float, high: float, margin: float) -> tuple[float, float]:
    """A spot inside a lung, between heights low and high, at least `margin` from its edge."""
    for _ in range(80):
        x, y = float(rng.uniform(0.12, 0.88)), float(rng.uniform(low, high))
        rows, columns = _shape(grid)
        ok = True
        for dx, dy in ((0, 0), (margin, 0), (-margin, 0), (0, margin), (0, -margin)):
            r, c = (
                min(max(int((y + dy) * rows), 0), rows - 1),
                min(max(int((x + dx) * columns), 0), columns - 1),
            )
            ok = ok and bool(grid.lungs[r, c] > 0.5)
        if ok:
            return x, y
    return (0.28, 0.5)


def _side(rng: np.random.Generator) -> tuple[str, float]:
    return ("R", -1.0) if rng.random() < 0.5 else ("L", 1.0)


def _ball(
    rng: np.random.Generator, grid: Grid, spot: tuple[float, float], size: float, rough: float
) -> tuple[Float, Float]:
    dx, dy = grid.x - np.float32(spot[0]), grid.y - np.float32(spot[1])
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    border = size * outline_radius(angle, radial_outline(rng, rough, 5), rough)
    return radius, border.astype(np.float32)


def nodule(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Under 3 cm of a 40 cm field."""
    size = float(rng.uniform(0.018, 0.034))
    radius, border = _ball(rng, grid, _place(rng, grid, 0.2, 0.66, size), size, 0.05)
    return rng.uniform(0.20, 0.30) * smooth_step(border - radius, -0.004, 0.007), radius < border


def mass(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """3.6 to 7 cm."""
    size = float(rng.uniform(0.048, 0.085))
    radius, border = _ball(rng, grid, _place(rng, grid, 0.24, 0.60, size * 0.7), size, 0.08)
    return rng.uniform(0.26, 0.36) * smooth_step(border - radius, -0.006, 0.014), radius < border


def atelectasis(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Bands of 4 to 9 cm, nearly level, in the lower third."""
    side, sign = _side(rng)
    rows, columns = _shape(grid)
    out = np.zeros(_shape(grid), dtype=np.float32)
    floor = plan.dome_right if side == "R" else plan.dome_left
    for index in range(int(rng.integers(2, 4))):
        x0 = plan.axis + sign * rng.uniform(0.09, 0.13)
        y0 = floor - 0.035 - 0.04 * index + rng.normal(0, 0.006)
        length, fall = rng.uniform(0.12, 0.21), rng.uniform(-0.02, 0.035)
        points = [((x0 + sign * length * t) * columns, (y0 + fall * t) * rows) for t in (0, 0.5, 1)]
        out = np.maximum(out, stroke(_shape(grid), points, rng.uniform(0.010, 0.020) * columns))
    out *= grid.side(side)
    return 0.30 * out, out > 0.35


def cardiomegaly(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Nothing is added: the plan's heart is wide."""
    low = smooth_step(grid.y, 0.36, 0.40)
    return np.zeros(_shape(grid), dtype=np.float32), (grid.heart * low) > 0.5


def effusion(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Level at the base, higher at the wall."""
    side, sign = _side(rng)
    floor = plan.dome_right if side == "R" else plan.dome_left
    lateral = np.clip(sign * (grid.x - plan.axis) / outer_wall(plan, grid.y).clip(0.05), 0, 1.2)
    level = floor - rng.uniform(0.00, 0.20) + 0.05 - 0.16 * lateral**3.0
    shade = smooth_step(grid.y - level, -0.008, 0.022) * grid.side(side)
    return (0.36 * shade).astype(np.float32), shade > 0.4


def infiltration(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Faint haze over a third of a lung."""
    spot = _place(rng, grid, 0.28, 0.66, 0.04)
    size = float(rng.uniform(0.09, 0.15))
    distance = np.hypot(grid.x - np.float32(spot[0]), (grid.y - np.float32(spot[1])) * np.float32(0.8))
    veil = np.exp(-((distance / size) ** 2)) * grid.lungs
    mottle = np.clip(0.65 + 0.50 * cloud(rng, _shape(grid), cells=16, octaves=3, persistence=0.8), 0, 2)
    return (0.135 * veil * mottle).astype(np.float32), veil > 0.42


def pneumonia(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Mottled segment, denser than an infiltration, lower half."""
    spot = _place(rng, grid, 0.46, 0.68, 0.05)
    radius, border = _ball(rng, grid, spot, float(rng.uniform(0.075, 0.11)), 0.16)
    patch = smooth_step(border - radius, -0.045, 0.03) * grid.lungs
    lumps = smooth_step(cloud(rng, _shape(grid), cells=12, octaves=2), -0.9, 0.6)
    return (0.25 * patch * lumps).astype(np.float32), (patch > 0.5)


def consolidation(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Dense wedge with a straight lower border (a fissure) and branching dark bronchi."""
    side, sign = _side(rng)
    low = float(rng.uniform(0.34, 0.62))
    high = low - float(rng.uniform(0.14, 0.2))
    out = sign * (grid.x - plan.axis)
    wedge = smooth_step(out, 0.075, 0.13) * smooth_step(low + 0.10 * (0.2 - out) - grid.y, -0.002, 0.006)
    wedge *= smooth_step(grid.y, high - 0.03, high + 0.05) * grid.side(side)
    rows, columns = _shape(grid)
    bronchi = np.zeros(_shape(grid), dtype=np.float32)
    for _ in range(5):
        x0, y0 = plan.axis + sign * 0.10, (low + high) / 2 + rng.normal(0, 0.02)
        x1, y1 = plan.axis + sign * rng.uniform(0.22, 0.31), (low + high) / 2 + rng.normal(0, 0.05)
        line = [
            (x0 * columns, y0 * rows),
            ((x0 + x1) / 2 * columns, (y0 * 0.6 + y1 * 0.4) * rows),
            (x1 * columns, y1 * rows),
        ]
        bronchi = np.maximum(bronchi, stroke(_shape(grid), line, 0.008 * columns))
    return (wedge * (0.33 - 0.15 * bronchi)).astype(np.float32), wedge > 0.5


def pneumothorax(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Air rim of 2 to 5 cm; the lung inside is slightly denser."""
    side, sign = _side(rng)
    gap = float(rng.uniform(0.045, 0.10))
    top = plan.apex + gap * 1.25
    fade = gap * (1 - 0.55 * smooth_step(grid.y, 0.2, 0.72))
    out = sign * (grid.x - plan.axis)
    border = plan.half_width * dome((grid.y - top) / (0.86 - top)) - fade
    depth = border - out  # positive inside the collapsed lung
    lung = grid.side(side)
    rim = lung * smooth_step(depth, 0.002, -0.004)
    line = lung * np.exp(-((depth / 0.0035) ** 2)) * smooth_step(grid.y, top - 0.01, top + 0.01)
    denser = lung * smooth_step(depth, 0.0, 0.03) * 0.05
    return (-0.17 * rim + 0.13 * line + denser).astype(np.float32), rim > 0.5


def edema(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Butterfly haze and Kerley lines."""
    mottle = np.clip(0.85 + 0.35 * cloud(rng, _shape(grid), cells=14, octaves=3, persistence=0.8), 0, 2)
    veil = np.zeros(_shape(grid), dtype=np.float32)
    rows, columns = _shape(grid)
    lines = np.zeros(_shape(grid), dtype=np.float32)
    for sign in (-1.0, 1.0):
        cx = plan.axis + sign * rng.uniform(0.13, 0.16)
        d = ((grid.x - cx) / 0.115) ** 2 + ((grid.y - 0.46) / 0.16) ** 2
        veil = np.maximum(veil, np.exp(-d))
        for _ in range(9):
            y0 = rng.uniform(0.58, 0.76)
            edge = plan.axis + sign * (plan.half_width * 0.97)
            points = [(edge * columns, y0 * rows), ((edge - sign * 0.035) * columns, (y0 + 0.002) * rows)]
            lines = np.maximum(lines, stroke(_shape(grid), points, 0.0035 * columns))
    veil *= grid.lungs
    return (0.22 * veil * mottle + 0.15 * lines * grid.lungs).astype(np.float32), veil > 0.42


def emphysema(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """The plan is dark and flat; bullae with hair-thin walls are added in the upper half."""
    out = -0.055 * grid.lungs
    for _ in range(int(rng.integers(3, 7))):
        size = float(rng.uniform(0.025, 0.055))
        radius, border = _ball(rng, grid, _place(rng, grid, 0.17, 0.45, size * 0.6), size, 0.04)
        out = out - 0.07 * smooth_step(border - radius, -0.002, 0.006) * grid.lungs
        out = out + 0.07 * np.exp(-(((radius - border) / 0.003) ** 2)) * grid.lungs
    return out.astype(np.float32), grid.lungs > 0.5


def fibrosis(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Net of lines (level sets of noise), strongest at the bases and edges."""
    field = cloud(rng, _shape(grid), cells=26, octaves=2, persistence=0.5)
    net = np.exp(-((field / 0.16) ** 2))
    edge = smooth_step(np.abs(grid.x - plan.axis) / outer_wall(plan, grid.y).clip(0.05), 0.35, 0.85)
    weight = smooth_step(grid.y, 0.42, 0.66) * (0.45 + 0.55 * edge) * grid.lungs
    return (0.20 * net * weight).astype(np.float32), weight > 0.5


def pleural_thickening(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Band of 0.8 to 1.6 cm along 12 to 18 cm of the side wall."""
    side, sign = _side(rng)
    depth = outer_wall(plan, grid.y) - sign * (grid.x - plan.axis)
    centre, half = float(rng.uniform(0.36, 0.55)), float(rng.uniform(0.13, 0.2))
    profile = np.clip(1 - ((grid.y - centre) / half) ** 2, 0, None) ** 0.5
    band = smooth_step(rng.uniform(0.022, 0.042) * profile - depth, -0.002, 0.006) * grid.side(side)
    return (0.30 * band).astype(np.float32), band > 0.4


def hernia(rng: np.random.Generator, plan: ChestPlan, grid: Grid) -> Painted:
    """Sac of 5 to 8 cm behind the heart: dark above a level, dense below it, bright wall."""
    spot = (plan.axis + float(rng.uniform(0.0, 0.06)), plan.dome_left - float(rng.uniform(0.0, 0.03)))
    size = float(rng.uniform(0.06, 0.09))
    radius, border = _ball(rng, grid, spot, size, 0.04)
    sac = smooth_step(border - radius, -0.003, 0.008)
    level = smooth_step(grid.y - np.float32(spot[1] - 0.1 * size), -0.002, 0.004)
    wall = np.exp(-(((radius - border) / 0.006) ** 2))
    return (sac * (0.14 * level - 0.20 * (1 - level)) + 0.12 * wall).astype(np.float32), radius < border


PAINTERS: dict[str, Painter] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Effusion": effusion,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pneumothorax": pneumothorax,
    "Consolidation": consolidation,
    "Edema": edema,
    "Emphysema": emphysema,
    "Fibrosis": fibrosis,
    "Pleural_Thickening": pleural_thickening,
    "Hernia": hernia,
}
