"""The generic face that every face becomes: drawn from a key, fitted to a head, applied to slices. Pure.

Inside the region nothing of the original is kept, so there is nothing that the key could bring back: the outer
surface is a template (seed 001: pixels "altered such that they converge towards a fixed, generic facial structure"),
joined to the head by what lies around the region; the values below it are drawn, not mixed.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
from skimage.filters import apply_hysteresis_threshold

from portal.deidentify.faces.geometry import Floats, Plane
from portal.deidentify.faces.surface import ANGLES, Surface

SIDE = np.deg2rad(62.0)  # half the region's width
ABOVE, BELOW = 52.0, 85.0  # mm from the tip of the nose to the brow and to below the chin, at scale 1
JITTER = 3.0  # mm by which the key moves the template up or down
JOIN = (10.0, 16.0)  # mm over which the template joins the head; the key chooses
DEEP, DEEP_NOSE = 14.0, 26.0  # mm of the shell under the new surface where no bone is met
COVER = 3.0  # mm that lie over bone at least
SUNK = 4.0  # mm under the original surface that go too
PAD = -1100.0  # HU: below it is padding, not air
WAVES = 24
# Faces of which the key mixes the generic one: (height from the nose's tip in mm, radius by the forehead's).
PROFILES = (
    ((60, 1.0), (42, 0.985), (25, 0.99), (0, 1.0), (-14, 1.0), (-28, 1.01), (-45, 0.97), (-62, 0.97), (-85, 0.88)),
    ((60, 1.0), (42, 0.97), (25, 0.98), (0, 0.99), (-14, 0.99), (-28, 1.0), (-45, 0.97), (-62, 0.96), (-85, 0.86)),
    ((60, 1.0), (42, 0.99), (25, 1.0), (0, 1.01), (-14, 1.01), (-28, 1.02), (-45, 0.98), (-62, 0.98), (-85, 0.90)),
)
NOSES = ((19.0, 11.0), (16.0, 12.0), (21.0, 12.0))  # mm it stands out, mm of its width (standard deviation)


@dataclass(frozen=True)
class Plan:
    """How the face of one head is made generic, whatever slice of it comes.

    axis, low, step   the maps' place: axis (x, y) mm, first height mm, mm between heights
    outer, inner      (heights, ANGLES) mm: the new surface, and how deep the region goes
    region            (heights, ANGLES): whether the face is there
    tissue, air       values of the scan: see Surface; noise: standard deviation in soft tissue
    seed              32 bytes from the key
    """

    modality: str
    axis: tuple[float, float]
    low: float
    step: float
    outer: Floats
    inner: Floats
    region: NDArray[np.bool_]
    tissue: tuple[float, float]
    air: Floats
    noise: float
    seed: bytes


def draw(key: bytes, *label: object) -> np.random.Generator:
    """Random numbers that only the key gives."""
    digest = hmac.digest(key, "\n".join(map(str, label)).encode(), "sha256")
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def plan(surface: Surface, modality: str, noise: float, key: bytes) -> Plan:
    """Fit the generic face to a head.

    noise  standard deviation in soft tissue, in the scan's values
    """
    seed = hmac.digest(key, b"face", "sha256")
    random = draw(seed, "surface")
    weights = random.dirichlet(np.full(len(PROFILES), 2.0))
    centre = surface.nose + random.uniform(-JITTER, JITTER)
    z = surface.heights[:, None]
    above, below = ABOVE * surface.scale, BELOW * surface.scale
    region: NDArray[np.bool_] = np.asarray(
        (z <= surface.nose + above) & (z >= surface.nose - below) & (np.abs(ANGLES)[None] <= SIDE)
    )
    known = _known(surface.radius)
    region = np.asarray(region & np.isfinite(surface.radius).any(1, keepdims=True))
    join = random.uniform(*JOIN)
    base = _membrane(ndimage.gaussian_filter(known, (1.5, 1.0), mode="nearest"), region)
    front = np.abs(ANGLES) < np.deg2rad(25)
    top = np.nonzero(region.any(1))[0][-1]
    forehead = float(known[min(top + 3, len(known) - 1)][front].mean())
    template = _template(surface, weights, centre, forehead)
    reach = forehead * float(ANGLES[1] - ANGLES[0])
    step = float(surface.heights[1] - surface.heights[0])
    inside = np.pad(region, ((1, 0), (0, 0)), mode="edge")  # no border at the lower end: below it is another surface
    deep = ndimage.distance_transform_edt(np.pad(inside, ((20, 0), (0, 0)), mode="edge"), sampling=(step, reach))[21:]
    weight = np.clip(deep / join, 0, 1)
    weight = weight**2 * (3 - 2 * weight)
    outer = base + weight * (template - base + _waves(random, z, ANGLES * forehead))
    bone = np.where(np.isnan(surface.bone), 0, surface.bone)
    if modality != "CT":  # a nostril and the line between lips are dark and no skull
        bone = ndimage.grey_opening(bone, size=(11, 7), mode="nearest")
        window = (np.abs(ANGLES)[None] * forehead < 30) & (z < surface.nose + 35)
        bone = np.where(window, np.minimum(bone, base), ndimage.grey_dilation(bone, size=(3, 3)) + 1)
    over = ndimage.gaussian_filter(ndimage.grey_dilation(bone, size=(3, 5)), 1.0) + COVER
    outer = np.where(region, np.maximum(outer, np.maximum(over, bone + COVER)), known)
    nose = (np.abs(ANGLES)[None] * forehead < 24) & (z > centre - 20) & (z < centre + 40)
    sunk = ndimage.minimum_filter(known, size=(9, 7), mode="nearest") - SUNK
    inner = np.maximum(np.minimum(outer - np.where(nose, DEEP_NOSE, DEEP), sunk), bone)
    return Plan(
        modality=modality,
        axis=surface.axis,
        low=float(surface.heights[0]),
        step=step,
        outer=np.asarray(outer, np.float32),
        inner=np.asarray(inner, np.float32),
        region=region,
        tissue=surface.tissue,
        air=surface.air,
        noise=noise,
        seed=seed,
    )


def _known(radius: Floats) -> NDArray[np.float64]:
    """The map with its holes filled from what is nearest."""
    holes = np.isnan(radius)
    if not holes.any():
        return radius.astype(np.float64)
    nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    return radius[tuple(nearest)].astype(np.float64)


def _membrane(known: NDArray[np.float64], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The smoothest surface (Laplace's equation) over the region that meets what is known above it and beside it.

    Below, and where the scan ends, it runs out level.
    """
    number = np.full(region.shape, -1)
    number[region] = np.arange(region.sum())
    size = int(region.sum())
    rows, columns, weights = [], [], []
    right, count = np.zeros(size), np.zeros(size)
    for dz, da in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        z, a = np.nonzero(region)
        nz, na = z + dz, a + da
        real = (nz >= 0) & (nz < region.shape[0])
        z, a, nz, na = z[real], a[real], nz[real], na[real]
        here, there = number[z, a], number[nz, na]
        if dz == -1:
            open_end = there < 0
            z, a, nz, na, here, there = (v[~open_end] for v in (z, a, nz, na, here, there))
        count[here] += 1
        free = there >= 0
        rows.append(here[free])
        columns.append(there[free])
        weights.append(-np.ones(int(free.sum())))
        np.add.at(right, here[~free], known[nz[~free], na[~free]])
    rows.append(np.arange(size))
    columns.append(np.arange(size))
    weights.append(count)
    matrix = sparse.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (size, size))
    out = known.copy()
    out[region] = spsolve(matrix, right)
    return out


def _template(surface: Surface, weights: NDArray[np.float64], centre: float, forehead: float) -> NDArray[np.float64]:
    """(heights, ANGLES): the generic face for a head of this size, mm from its axis."""
    height = (surface.heights - centre) / surface.scale
    profile = np.zeros_like(height)
    for weight, points in zip(weights, PROFILES, strict=True):
        up = np.array(sorted(points))
        profile += weight * np.interp(height, up[:, 0], up[:, 1])
    profile = ndimage.gaussian_filter1d(profile, 2.0, mode="nearest")
    tall, wide = weights @ np.array(NOSES)
    side = 1 - 0.22 * (ANGLES / SIDE) ** 2
    face = forehead * profile[:, None] * side[None]
    across = ANGLES * forehead / surface.scale
    ridge = np.exp(-0.5 * (across / wide) ** 2)
    slope = np.where(height > 0, np.clip(1 - height / 45, 0, 1), np.exp(-0.5 * (height / 6) ** 2))
    slope = ndimage.gaussian_filter1d(slope, 1.5, mode="nearest")
    return face + tall * surface.scale * slope[:, None] * ridge[None]


def _waves(random: np.random.Generator, z: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth displacement of about a millimetre."""
    out = np.zeros(np.broadcast_shapes(z.shape, across.shape))
    for _ in range(WAVES):
        turn, phase = random.uniform(0, 2 * np.pi, 2)
        k = 2 * np.pi / random.uniform(25, 60)
        out += np.cos(k * (np.cos(turn) * z + np.sin(turn) * across) + phase)
    return 0.8 * out / np.sqrt(WAVES / 2)


def within(made: Plan, plane: Plane) -> tuple[NDArray[np.bool_], NDArray[np.float64], Floats]:
    """(which pixels of a slice lie in the region, their places (rows, columns, 3), mm under the new surface)."""
    points = plane.points()
    x, y = points[..., 0] - made.axis[0], points[..., 1] - made.axis[1]
    far = np.hypot(x, y)
    angle = np.arctan2(x, -y)
    where = np.stack(
        [(points[..., 2] - made.low) / made.step, (angle - ANGLES[0]) / (ANGLES[1] - ANGLES[0])]
    )  # fmt: skip
    region, outer, inner = (_look(m, where) for m in (made.region, made.outer, made.inner))
    return np.asarray((region > 0.5) & (far > inner)), points, outer - far


def at_its_height(made: Plan, plane: Plane) -> bool:
    """Whether a slice lies as high as the face, wherever else: cheaper than looking at each pixel."""
    heights = plane.corners()[:, 2]
    levels = np.nonzero(made.region.any(1))[0]
    if not levels.size:
        return False
    low, high = (made.low + made.step * (levels[n] + side) for n, side in ((0, -1), (-1, 1)))
    return bool(heights.max() >= low and heights.min() <= high)


def apply(made: Plan, values: Floats, plane: Plane) -> tuple[Floats, NDArray[np.bool_]]:
    """Give a slice its generic face: (new values, where they are new). All else keeps its values.

    values  (rows, columns) HU for CT, for MR as measured
    """
    if not at_its_height(made, plane):
        return values, np.zeros(values.shape, bool)
    changed, points, depth = within(made, plane)
    if made.modality == "CT":
        changed &= (values >= PAD) & ~apply_hysteresis_threshold(values, 130, 300)
    if not changed.any():
        return values, changed
    out = values.copy()
    random = draw(made.seed, "slice", *(round(v, 2) for v in (*plane.origin, *plane.along, *plane.down)))
    out[changed] = _filled(made, points[changed], depth[changed], min(plane.spacing), random)
    return out, changed


def _look(map_: NDArray[np.generic], where: NDArray[np.float64]) -> Floats:
    source = map_.astype(np.float32)
    if map_.dtype == bool:  # outside of the map there is no face
        return ndimage.map_coordinates(source, where, order=0, mode="constant", cval=0)
    return ndimage.map_coordinates(source, where, order=1, mode="nearest")


def _filled(
    made: Plan, points: NDArray[np.float64], depth: Floats, pixel: float, random: np.random.Generator
) -> Floats:
    """Drawn values at points (n, 3) so far under the new surface: air, an edge, soft tissue with the scan's noise."""
    count = len(points)
    air = np.interp(random.random(count), np.linspace(0, 1, len(made.air)), made.air)
    share = 1 / (1 + np.exp(-np.clip(depth / (0.4 * pixel), -30, 30)))
    inside = share > 1e-3
    soft = np.zeros(count)
    low, high = (-90.0, 45.0) if made.modality == "CT" else made.tissue
    texture = _texture(draw(made.seed, "texture"), points[inside])
    mixed = low + (high - low) / (1 + np.exp(-3 * texture))
    skin = np.exp(-np.maximum(depth[inside], 0) / 1.5)
    mixed += skin * ((20.0 if made.modality == "CT" else high) - mixed)
    soft[inside] = mixed + made.noise * random.standard_normal(count)[inside]
    return (share * soft + (1 - share) * air).astype(np.float32)


def _texture(random: np.random.Generator, points: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros(len(points))
    for _ in range(WAVES):
        direction = random.standard_normal(3)
        direction *= 2 * np.pi / random.uniform(7, 22) / np.linalg.norm(direction)
        out += np.cos(points @ direction + random.uniform(0, 2 * np.pi))
    return out / np.sqrt(WAVES / 2)
