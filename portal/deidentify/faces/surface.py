"""The surface of a head: whether there is one, whether it has a face, and how far from the head's axis it lies.

All in patient coordinates; a surface is a map over (height, angle), angle 0 to the front, positive to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from portal.deidentify.faces.geometry import STEP, Floats, Grid

Mask = NDArray[np.bool_]
SKIN = -300.0  # HU between air and skin
BONE = 250.0  # HU, of means over 2 mm
ANGLES = np.deg2rad(np.arange(-100.0, 100.1, 2.0))
REACH = np.arange(20.0, 190.0, 1.0)  # mm from the axis
AREA = (80.0, 360.0)  # cm² of a head's largest cross-section, from infants to the largest adults
WIDTH, DEPTH = (90.0, 210.0), (110.0, 270.0)  # mm
SHOULDERS = 225.0  # mm: what is wider than a head
TALL = 260.0  # mm from the crown to below the chin
CAVITY = 50.0  # cm² inside the skull's ring
NOSE = 6.0  # mm that a nose stands out of what lies 16° to 26° beside it
SURE_NOSE = 10.0
MOST_NOSE = 25.0  # mm: what stands out more is a chin, beside which nothing is but the neck
DIP = 3.0  # mm by which what lies under a nose's tip draws back
LAYERED = 0.5  # of the cranium's surface that has a dark layer beneath in MR; a brain cut out of its skull has none


class NoFace(Exception):
    """There is no face to find; `reason` says why: not_head, no_face."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(frozen=True)
class Surface:
    """A head's surface.

    axis     (x, y) of the upright axis through the cranium, mm
    heights  mm, ascending; radius, bone: (heights, ANGLES) mm from the axis, NaN where nothing is met
    nose     height of the nose's tip; relief: mm that it stands out; scale: head's width by 150 mm
    tissue   a low and a high value of the soft shell beside the face; air: 64 quantiles of what is around the head
    """

    axis: tuple[float, float]
    heights: NDArray[np.float64]
    radius: Floats
    bone: Floats
    nose: float
    relief: float
    scale: float
    tissue: tuple[float, float]
    air: Floats


def find(grid: Grid, modality: str, said: bool | None) -> Surface:
    """Find the head and its face. Raises NoFace.

    said  what the header says: a head, something else, or nothing
    """
    values = grid.values
    level = SKIN if modality == "CT" else _skin(values)
    body = _body(values > level)
    z0 = float(grid.low[2])
    bottom, top = _extent(body)
    head = body[bottom : top + 1]
    areas = head.sum((1, 2)) * STEP**2 / 100
    widest = int(np.argmax(np.where(np.arange(len(areas)) > len(areas) - 1 - 160 / STEP, areas, 0)))
    width, depth = (_across(head[widest], axis) for axis in (0, 1))
    if not (AREA[0] < areas[widest] < AREA[1] and WIDTH[0] < width < WIDTH[1] and DEPTH[0] < depth < DEPTH[1]):
        raise NoFace("not_head", f"{areas[widest]:.0f} cm², {width:.0f} mm wide, {depth:.0f} mm deep")
    dome = areas[-1] < 0.6 * areas[widest]
    bones = values[bottom : top + 1] > BONE if modality == "CT" else None
    if bones is not None and not _cranium(bones):
        raise NoFace("not_head", "no ring of bone around a cavity")
    if bones is None and not (dome or said):
        raise NoFace("not_head", "does not close at the top")
    ys, xs = np.nonzero(head[max(0, widest - 5) : widest + 6].any(0))
    axis = (float(grid.low[0] + xs.mean() * STEP), float(grid.low[1] + ys.mean() * STEP))
    heights = z0 + (bottom + np.arange(len(head), dtype=np.float64)) * STEP
    points = _rays(axis, heights, grid.low)
    radius = _outermost(ndimage.map_coordinates(head.astype(np.float32), points, order=1))
    tip, relief = _nose(radius)
    least = SURE_NOSE if said is False or (bones is None and said is None) else NOSE
    if not relief >= least:
        raise NoFace("no_face", f"what stands out most in front: {relief:.0f} mm")
    inner = (
        _outermost(ndimage.map_coordinates(bones.astype(np.float32), points, order=1)) if bones is not None else None
    )
    if inner is None:
        inner, met = _dark(ndimage.map_coordinates(values[bottom : top + 1], points, order=1), radius)
        vault = met[tip + int(40 / STEP) : len(met) - int(25 / STEP)]
        if vault.size and vault.mean() < LAYERED:
            raise NoFace("not_head", f"a dark layer of bone under {vault.mean():.0%} of the surface")
    shell = _shell(values[bottom : top + 1], head, axis, grid.low)
    around = values[bottom : top + 1][~ndimage.binary_dilation(head, iterations=8)]
    around = around[around > -1100] if modality == "CT" else around
    air = np.quantile(
        around if around.size > 50 else values, np.linspace(0, 1, 64) if around.size > 50 else np.zeros(64)
    )
    return Surface(
        axis, heights, radius, inner, float(heights[tip]), relief, width / 150, shell, air.astype(np.float32)
    )


def _skin(values: Floats) -> float:
    """Between air and skin in MR: half of Otsu's threshold, which may lie between dark and bright tissue."""
    top = float(np.percentile(values, 99.5))
    return 0.5 * float(threshold_otsu(np.minimum(values, top)))


def _body(mask: Mask) -> Mask:
    """The largest piece without holes: table, holder and coils are loose from it or thin."""
    mask = _filled(mask)  # first: a scalp over dark bone is thin too
    labels, count = ndimage.label(ndimage.binary_opening(mask, iterations=2))
    if not count:
        raise NoFace("not_head", "nothing but air")
    body = labels == 1 + np.argmax(ndimage.sum_labels(mask, labels, range(1, count + 1)))
    body = ndimage.binary_dilation(body, iterations=2) & mask
    padded = np.pad(body, 4)  # closing over 6 mm: nostrils, ear canals, the mouth
    body = ndimage.binary_closing(padded, iterations=3)[4:-4, 4:-4, 4:-4]
    return _filled(body)


def _filled(body: Mask) -> Mask:
    return np.stack([_without_holes(plane) for plane in body])


def _without_holes(plane: Mask) -> Mask:
    """What scipy's binary_fill_holes gives, which grows the outside in a step a pixel: here it is labelled at once."""
    labels, count = ndimage.label(~plane)
    outside = np.zeros(count + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside[0] = False  # the body itself
    return np.asarray(~outside[labels])


def _extent(body: Mask) -> tuple[int, int]:
    """First and last level of the head: from the top down to the shoulders, at most TALL."""
    areas = body.sum((1, 2)) * STEP**2 / 100
    levels = np.nonzero(areas > 5)[0]
    if not levels.size:
        raise NoFace("not_head", "nothing but air")
    top = int(levels[-1])
    bottom = max(int(levels[0]), top - int(TALL / STEP))
    for level in range(top, bottom, -1):
        if _across(body[level], 0) > SHOULDERS:
            if top - level < 120 / STEP:
                raise NoFace("not_head", "wider than a head")
            return level + 1, top
    return bottom, top


def _across(plane: Mask, axis: int) -> float:
    places = np.nonzero(plane.any(axis))[0]
    return float((places[-1] - places[0] + 1) * STEP) if places.size else 0.0


def _cranium(bones: Mask) -> bool:
    """Whether rings of bone enclose a cavity over at least 3 cm of height (or over all that there is)."""
    closed = np.pad(bones, 4)
    closed = ndimage.binary_closing(closed, iterations=3)[4:-4, 4:-4, 4:-4]
    rings = sum(
        (_without_holes(plane) & ~plane).sum() * STEP**2 / 100 > CAVITY for plane in closed
    )  # fmt: skip
    return bool(rings >= min(30 / STEP, 0.5 * len(bones)))


def _rays(axis: tuple[float, float], heights: NDArray[np.float64], low: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, heights, angles, reach) indices z, y, x of the head's levels."""
    x = (axis[0] + REACH * np.sin(ANGLES)[:, None] - low[0]) / STEP
    y = (axis[1] - REACH * np.cos(ANGLES)[:, None] - low[1]) / STEP
    shape = (len(heights), *x.shape)
    z = np.arange(len(heights), dtype=np.float64)[:, None, None]
    return np.stack([np.broadcast_to(v, shape) for v in (z, y, x)])


def _outermost(rays: Floats) -> Floats:
    """(heights, angles): how far out the last value above one half lies, between two samples; NaN where none does."""
    inside = rays > 0.5
    last = inside.shape[-1] - 1 - np.argmax(inside[..., ::-1], axis=-1)
    here = np.take_along_axis(rays, last[..., None], -1)[..., 0]
    after = np.take_along_axis(rays, np.minimum(last + 1, rays.shape[-1] - 1)[..., None], -1)[..., 0]
    part = np.clip((here - 0.5) / np.maximum(here - after, 1e-3), 0, 1)
    return np.where(inside.any(-1), REACH[last] + part * (REACH[1] - REACH[0]), np.nan).astype(np.float32)


def _nose(radius: Floats) -> tuple[int, float]:
    """(level, mm) of what stands out most in front, among what lies around it on both sides."""
    step = np.rad2deg(ANGLES[1] - ANGLES[0])
    near, far = round(16 / step), round(26 / step)
    beside = [np.roll(radius, sign * n, 1) for n in range(near, far + 1) for sign in (1, -1)]
    left, right = np.mean(beside[::2], 0), np.mean(beside[1::2], 0)
    relief = ndimage.median_filter(radius - np.maximum(left, right), size=(3, 1), mode="nearest")
    front = np.abs(ANGLES) < np.deg2rad(35)
    relief = np.where(front[None] & np.isfinite(relief), relief, -np.inf)
    crown = len(radius) - int(60 / STEP)  # a nose lies at least 6 cm below the crown, if that is in view
    most = np.minimum(relief[: crown if crown > 4 else len(radius)].max(1), MOST_NOSE)
    least = max(NOSE, 0.4 * float(most.max()))
    for level in range(len(most) - 1, -1, -1):  # from above: a chin stands out too, but under the nose
        below = most[max(0, level - 5) : level]
        if most[level] >= least and not (below > most[level]).any():
            return _tip(radius, level), float(most[level])
    return 0, float(most.max())


def _tip(radius: Floats, level: int) -> int:
    """The level of the nose's tip at or under one at which it stands out: that may be the bridge, as eyes lie deep.

    What lies under a dip (lips, chin) is no nose, even where it reaches farther out.
    """
    straight = np.nan_to_num(radius[:, np.abs(ANGLES) < np.deg2rad(12)]).max(1)
    tip = level
    for under in range(level - 1, max(-1, level - 1 - int(45 / STEP)), -1):
        if straight[under] >= straight[tip]:
            tip = under
        elif straight[under] < straight[tip] - DIP:
            break
    return tip


def _dark(rays: Floats, radius: Floats) -> tuple[Floats, Mask]:
    """Where the skull begins in MR, and where it was met: the first dark layer under the bright shell.

    Cortical bone gives no signal. Medians over 1.5 cm: a nostril is dark too, but narrow.
    """
    depth = radius[..., None] - REACH
    shell = np.where((depth > 1) & (depth < 8), rays, np.nan)
    bright = np.nanmedian(shell, axis=(0, 2))
    bright = ndimage.median_filter(np.nan_to_num(bright, nan=float(np.nanmedian(shell))), size=9)
    dark = (rays < 0.4 * bright[None, :, None]) & (depth > 2) & (depth < 22)
    dark &= np.roll(dark, 1, -1) | np.roll(dark, -1, -1)
    last = dark.shape[-1] - 1 - np.argmax(dark[..., ::-1], axis=-1)
    found = np.where(dark.any(-1), REACH[last] + 1, np.nan)
    known = np.where(np.isnan(found), radius - 22, found)
    return ndimage.median_filter(known, size=(7, 5), mode="nearest").astype(np.float32), np.isfinite(found)


def _shell(values: Floats, head: Mask, axis: tuple[float, float], low: NDArray[np.float64]) -> tuple[float, float]:
    """Values of the soft tissue under the skin behind the face's region: 35th and 65th percentile."""
    shell = head & ~ndimage.binary_erosion(head, iterations=4) & ndimage.binary_erosion(head, iterations=1)
    z, y, x = np.nonzero(shell)
    behind = low[1] + y * STEP > axis[1]
    kept = values[z[behind], y[behind], x[behind]]
    return tuple(float(v) for v in np.percentile(kept, [35, 65])) if kept.size else (0.0, 0.0)  # type: ignore[return-value]
