"""Rough pictures of other categories, for the input check only: lateral chests, CT slices, and what is neither.

They have the category's arrangement of dark and bright, not its anatomy; no finding is drawn in them.
"""

from __future__ import annotations

import numpy as np

from inference.phantoms.chest_anatomy import coordinates
from inference.phantoms.texture import Float, cloud, curve, outline_radius, radial_outline, smooth_step, stroke


def lateral(seed: int, side: int) -> Float:
    """Lateral chest, (side, side), spine at the right of the picture (or left: as often)."""
    rng = np.random.default_rng([seed, 81])
    x, y = coordinates((side, side))
    depth, top, floor = rng.uniform(0.24, 0.34), rng.uniform(0.06, 0.16), rng.uniform(0.66, 0.86)
    middle = 0.5 + rng.uniform(-0.04, 0.04)
    lean = rng.uniform(-0.06, 0.06)
    u = (x - middle - lean * (y - 0.5)) / depth  # -1 sternum, +1 spine
    body = smooth_step(np.abs(u) - 0.22 * smooth_step(y, 0.0, 0.5), rng.uniform(1.25, 1.5), 1.1)
    neck = smooth_step(np.abs(u - 0.1), 0.75, 0.5) * smooth_step(y, 0.22, 0.1)
    body = np.maximum(body * smooth_step(y, top - 0.1, top + 0.1), neck)
    image = 0.55 * body + 0.05 * cloud(rng, (side, side), cells=3) * body
    width = np.sqrt(np.clip(1 - ((y - 0.5) / 0.52) ** 2, 0, 1))
    lungs = smooth_step(np.abs(u), 0.95 * width, 0.85 * width) * smooth_step(y, top, top + 0.08)
    for shift in (0.0, rng.uniform(0.01, 0.05)):  # the two halves of the diaphragm
        below = y - floor - shift - 0.22 * np.clip(u, -0.3, 1) ** 2
        lungs *= 0.5 + 0.5 * smooth_step(below, 0.01, -0.01)  # type: ignore[arg-type]
    image -= rng.uniform(0.22, 0.38) * lungs
    heart = ((u + 0.38) / rng.uniform(0.42, 0.55)) ** 2 + ((y - floor + 0.16) / rng.uniform(0.15, 0.22)) ** 2
    image += rng.uniform(0.14, 0.24) * smooth_step(heart, 1.1, 0.8) * body
    column = smooth_step(np.abs(u - 0.80 - 0.1 * (y - 0.5) ** 2), 0.2, 0.13)
    spine = 0.6 + 0.4 * np.cos(2 * np.pi * y / rng.uniform(0.065, 0.085))
    image += rng.uniform(0.08, 0.2) * column * spine * body * smooth_step(y, 1.2, 0.2)
    image += 0.12 * smooth_step(np.abs(u + 1.0), 0.09, 0.05) * smooth_step(np.abs(y - 0.38), 0.3, 0.2) * body
    image -= 0.1 * smooth_step(np.abs(u - 0.05), 0.07, 0.03) * smooth_step(y, 0.36, 0.3) * body
    for index in range(9):
        slope = rng.uniform(0.15, 0.35)
        at = top + 0.03 + 0.075 * index - slope * (u - 0.8) * 0.25
        image += 0.045 * np.exp(-(((y - at) / 0.009) ** 2)) * lungs
    arm = smooth_step(np.abs(u + 0.2 + 2 * y), 0.45, 0.3) * smooth_step(y, 0.3, 0.15)
    image += rng.uniform(0, 0.2) * arm
    image += 0.25 * smooth_step(y - floor, 0.0, 0.15) * body * rng.uniform(0.3, 1)
    return image[:, ::-1] if rng.random() < 0.5 else image


def ct_slice(seed: int, side: int) -> Float:
    """Axial CT slice of chest, abdomen or head in one of the usual windows, on a couch now and then."""
    rng = np.random.default_rng([seed, 82])
    x, y = coordinates((side, side))
    zoom = rng.uniform(0.85, 1.7) if rng.random() < 0.7 else rng.uniform(1.7, 2.6)
    u = (x - 0.5 + rng.uniform(-0.04, 0.04)) * 2 / zoom * 1.35
    v = (y - 0.5 + rng.uniform(-0.06, 0.06)) * 2 / zoom * 1.35
    kind = str(rng.choice(["chest", "abdomen", "head"], p=[0.4, 0.42, 0.18]))
    hu = np.full((side, side), -1000.0, np.float32)
    a, b = (0.55, 0.68) if kind == "head" else (rng.uniform(0.82, 0.98), rng.uniform(0.55, 0.72))
    angle = np.arctan2(v / b, u / a)
    edge = outline_radius(angle.astype(np.float32), radial_outline(rng, 0.03, 4), 0.03)
    r = np.sqrt((u / a) ** 2 + (v / b) ** 2) / edge
    texture = cloud(rng, (side, side), cells=8)
    if kind == "head":
        hu = np.where(r < 1, 900.0, hu)
        hu = np.where(r < rng.uniform(0.84, 0.9), 35 + 12 * texture, hu)
        gap = ((u / 0.09) ** 2 + ((np.abs(v) - 0.05) / 0.22) ** 2) < 1
        hu = np.where(gap & (r < 0.6), 8.0, hu)
        hu = np.where((np.abs(u) < 0.008) & (r < 0.84), 70.0, hu)
    else:
        hu = np.where(r < 1, -100 + 12 * texture, hu)
        hu = np.where(r < rng.uniform(0.78, 0.95), 45 + 14 * texture, hu)
        hu = np.where((r < 1) & (r > 0.985), 20.0, hu)
        for index in range(int(rng.integers(8, 16))):
            at = 2 * np.pi * (index + rng.uniform(-0.2, 0.2)) / 12
            rib = ((u - 0.78 * a * np.cos(at)) / 0.055) ** 2 + ((v - 0.78 * b * np.sin(at)) / 0.035) ** 2
            hu = np.where(rib < 1, 500 + 200 * texture, hu)
        if kind == "chest":
            for sign in (-1, 1):
                lung = ((u - sign * 0.43 * a) / (0.33 * a)) ** 2 + ((v + 0.02) / (0.62 * b)) ** 2
                lung_edge = outline_radius(np.arctan2(v, u - sign * 0.43 * a), radial_outline(rng, 0.07, 4), 0.07)
                hu = np.where(lung < lung_edge, -850 + 40 * texture, hu)
            vessels = np.zeros((side, side), np.float32)
            for _ in range(24):
                start = (0.5 * side, 0.5 * side)
                path = curve(rng, start, rng.uniform(0, 2 * np.pi), 0.35 * side * zoom / 1.35, 0.2, 6)
                vessels = np.maximum(vessels, stroke((side, side), path[2:], rng.uniform(0.8, 2.2) * side / 128))
            hu = np.where((hu < -500) & (r < 0.9), hu + 850 * vessels, hu)
            heart = ((u - 0.08) / rng.uniform(0.2, 0.34)) ** 2 + ((v + 0.12) / rng.uniform(0.18, 0.28)) ** 2
            hu = np.where(heart < 1, rng.uniform(40, 160), hu)
        else:
            for _ in range(int(rng.integers(5, 12))):
                cx, cy = rng.uniform(-0.6, 0.6) * a, rng.uniform(-0.6, 0.45) * b
                blob = ((u - cx) / rng.uniform(0.07, 0.33)) ** 2 + ((v - cy) / rng.uniform(0.07, 0.3)) ** 2
                value = float(rng.choice([-900, 20, 60, 110, 160, 220], p=[0.12, 0.18, 0.3, 0.2, 0.12, 0.08]))
                hu = np.where((blob < 1) & (r < 0.78), value + 10 * texture, hu)
        body = (u / 0.1) ** 2 + ((v - 0.5 * b) / 0.085) ** 2
        hu = np.where(body < 1, 350 + 180 * texture, hu)
        arch = ((u / 0.17) ** 2 + ((v - 0.66 * b) / 0.1) ** 2 < 1) & (np.abs(u) > 0.03)
        hu = np.where(arch & (r < 0.95), 450 + 100 * texture, hu)
        canal = (u / 0.035) ** 2 + ((v - 0.64 * b) / 0.04) ** 2
        hu = np.where(canal < 1, 30.0, hu)
        aorta = ((u - 0.13) / 0.055) ** 2 + ((v - 0.3 * b) / 0.055) ** 2
        hu = np.where(aorta < 1, rng.uniform(40, 250), hu)
    if rng.random() < 0.7:
        couch = np.abs(v - 1.06 * b - rng.uniform(0.08, 0.16) * (1 - u**2))
        hu = np.where((couch < 0.02) & (np.abs(u) < 1.0) & (r > 1), rng.uniform(-600, 200), hu)
    centre, width = [(40, 400), (50, 350), (-600, 1500), (400, 1800), (40, 90), (75, 250), (-50, 1600)][
        int(rng.choice(7, p=[0.3, 0.15, 0.2, 0.1, 0.1, 0.08, 0.07]))
    ]
    grainy = hu + rng.uniform(5, 30) * rng.standard_normal((side, side))
    shown = np.clip((grainy - centre) / width + 0.5, 0, 1).astype(np.float32)
    if rng.random() < 0.3:  # round field of view
        shown = np.where((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.25, shown, np.float32(0))
    return shown


def other(seed: int, side: int) -> Float:
    """No chest, breast or CT: limbs, ultrasound fans, MR-like pictures, test patterns, text, noise, shapes."""
    rng = np.random.default_rng([seed, 83])
    x, y = coordinates((side, side))
    kind = int(rng.integers(8))
    soft = cloud(rng, (side, side), cells=int(rng.integers(2, 9)))
    if kind == 0:  # limb with one or two bones
        tilt, wide = rng.uniform(-0.6, 0.6), rng.uniform(0.12, 0.3)
        off = x - 0.5 - tilt * (y - 0.5) + rng.uniform(-0.1, 0.1)
        out = 0.35 * smooth_step(np.abs(off), wide, 0.8 * wide)
        for at in rng.uniform(-0.5, 0.5, int(rng.integers(1, 3))):
            bone = np.abs(off - at * wide)
            joint = 1 + 0.6 * np.exp(-(((y - rng.uniform(0.1, 0.9)) / 0.08) ** 2))
            out += 0.4 * smooth_step(bone, 0.3 * wide * joint, 0.2 * wide * joint)
            out -= 0.15 * smooth_step(bone, 0.15 * wide, 0.05 * wide)
        return (out + 0.02 * soft).astype(np.float32)
    if kind == 1:  # ultrasound fan with speckle and text
        u, v = x - rng.uniform(0.4, 0.6), y + rng.uniform(0.0, 0.1)
        fan = (np.abs(np.arctan2(u, v)) < rng.uniform(0.4, 0.9)) & (np.hypot(u, v) < rng.uniform(0.6, 1.0))
        fan &= np.hypot(u, v) > rng.uniform(0.02, 0.2)
        speckle = np.abs(cloud(rng, (side, side), cells=32, octaves=2)) * (0.4 + 0.3 * soft)
        return np.where(fan, np.clip(speckle, 0, 1), _text(rng, side)).astype(np.float32)
    if kind == 2:  # soft tissue of MR, off centre, with a coil's fall-off
        mask = smooth_step(np.hypot(x - 0.5, y - 0.5) + 0.1 * soft, rng.uniform(0.35, 0.6), 0.3)
        lumps = np.abs(cloud(rng, (side, side), cells=5, octaves=4)) ** 0.7
        return (mask * lumps * np.exp(-np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1)))).astype(np.float32)
    if kind == 3:  # bars, grids, test patterns
        period = rng.uniform(0.05, 0.4)
        bars = np.floor((y if rng.random() < 0.5 else x) / period) * rng.uniform(0.1, 0.9) % 1
        squares = ((np.floor(x / period) + np.floor(y / period)) % 2) if rng.random() < 0.4 else 0
        return (0.7 * bars + 0.3 * squares).astype(np.float32)
    if kind == 4:  # noise of any grain
        return (0.5 + 0.25 * cloud(rng, (side, side), cells=int(rng.integers(2, 40)))).astype(np.float32)
    if kind == 5:  # text page, report, secondary capture
        return np.abs(float(rng.random() < 0.5) - _text(rng, side, dense=True)).astype(np.float32)
    if kind == 6:  # a few shapes, as in a photograph or a whole-body scan
        scene = 0.3 + 0.15 * soft
        for _ in range(int(rng.integers(2, 9))):
            cx, cy, w, h = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.03, 0.4), rng.uniform(0.03, 0.4)
            d = ((x - cx) / w) ** 2 + ((y - cy) / h) ** 2
            scene = np.where(d < 1, rng.uniform(0, 1) + 0.1 * soft, scene).astype(np.float32)
        return scene
    figure = np.zeros((side, side), np.float32)  # nuclear medicine: a blurred upright figure
    for cx, cy, w, h in (
        (0.5, 0.1, 0.06, 0.08),
        (0.5, 0.35, 0.15, 0.22),
        (0.42, 0.75, 0.06, 0.3),
        (0.58, 0.75, 0.06, 0.3),
    ):
        figure += np.exp(-(((x - cx) / w) ** 2) - ((y - cy) / h) ** 2) * rng.uniform(0.4, 1)
    return (figure * (1 + 0.3 * soft)).astype(np.float32)


def _text(rng: np.random.Generator, side: int, dense: bool = False) -> Float:
    """Rows of small strokes like lines of letters."""
    out = np.zeros((side, side), np.float32)
    step = max(3, side // 24)
    for top in range(int(rng.integers(0, step)), side - step, step * (1 if dense else 3)):
        length = int(rng.uniform(0.1, 0.9) * side)
        start = int(rng.integers(0, side // 3))
        row = rng.random((step // 2, length)) < 0.5
        out[top : top + step // 2, start : start + length] = row[:, : max(0, side - start)] * 0.9
    return out
