"""Noise and shapes that phantoms are drawn with.

Positions are in millimetres (or in a unit square), never in pixels, so that one seed shows the same
anatomy at every image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


def resize(grid: Float, rows: int, columns: int) -> Float:
    """Bicubic resampling of a float grid to (rows, columns)."""
    picture = Image.fromarray(np.ascontiguousarray(grid, dtype=np.float32), mode=None)
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BICUBIC), dtype=np.float32)


def cloud(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: int = 4,
    octaves: int = 5,
    persistence: float = 0.6,
) -> Float:
    """Multi-octave noise, (rows, columns), mean about 0, standard deviation about 1.

    cells        cells of the coarsest octave along the shorter side; each octave doubles them
    persistence  amplitude of an octave relative to the one before
    The grids are drawn whether or not the image can resolve them: size never changes the seed's stream.
    """
    rows, columns = shape
    aspect = rows / columns
    out = np.zeros(shape, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        n = cells * 2**octave
        grid_shape = (max(2, round(n * max(aspect, 1.0))), max(2, round(n * max(1 / aspect, 1.0))))
        grid = rng.standard_normal(grid_shape, dtype=np.float32)
        amplitude = persistence**octave
        if grid_shape[0] <= 2 * rows and grid_shape[1] <= 2 * columns:
            out += amplitude * resize(grid, rows, columns)
        power += amplitude**2
    return out / np.float32(np.sqrt(power) * 0.75)


def grain(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Float:
    """Quantum noise with a slight correlation between neighbours, as a detector's blur leaves it."""
    white = rng.standard_normal(shape, dtype=np.float32)
    return (sigma * (0.8 * white + 0.45 * ndimage.uniform_filter(white, 3) * 3)).astype(np.float32)


def smooth_step(values: Float, low: float, high: float) -> Float:
    """0 below low, 1 above high, a smooth slope between (high may lie below low)."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def radial_outline(
    rng: np.random.Generator, roughness: float, harmonics: int = 6, first: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Amplitudes and phases of a random closed outline r(angle) = 1 + roughness · Σ a cos(k·angle + φ)."""
    k = np.arange(first, first + harmonics)
    return rng.normal(0.0, 1.0, harmonics) / k**0.7, rng.uniform(0, 2 * np.pi, harmonics) + 0 * k


def outline_radius(
    angle: Float, outline: tuple[NDArray[np.float64], NDArray[np.float64]], roughness: float, first: int = 2
) -> Float:
    """Radius factor of `radial_outline` at each angle (radians), at least 0.35."""
    amplitudes, phases = outline
    factor = np.ones_like(angle)
    for index, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True)):
        factor += np.float32(roughness * amplitude) * np.cos((first + index) * angle + np.float32(phase))
    return np.maximum(factor, 0.35).astype(np.float32)


def stroke(shape: tuple[int, int], points: Sequence[tuple[float, float]], width: float) -> Float:
    """Anti-aliased curve through `points` (x, y in pixels) with a Gaussian profile of `width` pixels, peak 1.

    Only the box about the curve is computed.
    """
    rows, columns = shape
    out = np.zeros(shape, dtype=np.float32)
    sigma = max(width / 2.0, 0.45)
    peak = min(1.0, width / 0.9)
    reach = 3.0 * sigma + 1
    for (x0, y0), (x1, y1) in pairwise(points):
        left, right = int(max(0, min(x0, x1) - reach)), int(min(columns, max(x0, x1) + reach + 1))
        top, bottom = int(max(0, min(y0, y1) - reach)), int(min(rows, max(y0, y1) + reach + 1))
        if left >= right or top >= bottom:
            continue
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = x1 - x0, y1 - y0
        length = max(dx * dx + dy * dy, 1e-6)
        t = np.clip(((x - x0) * dx + (y - y0) * dy) / length, 0, 1)
        squared = (x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2
        profile = (peak * np.exp(-squared / (2 * sigma * sigma))).astype(np.float32)
        np.maximum(out[top:bottom, left:right], profile, out=out[top:bottom, left:right])
    return out


def curve(
    rng: np.random.Generator, start: tuple[float, float], angle: float, length: float, bend: float, steps: int
) -> list[tuple[float, float]]:
    """Random walk of constant step whose direction drifts; points in the unit of `length`."""
    points = [start]
    x, y = start
    for _ in range(steps):
        angle += rng.normal(0.0, bend)
        x += np.cos(angle) * length / steps
        y += np.sin(angle) * length / steps
        points.append((float(x), float(y)))
    return points
