"""Network inputs from display values, with the geometry that leads back to the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from inference.preprocess.read import Float

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Geometry:
    """How a network input lies in its image.

    The input pixel (u, v) shows the image at x = left + u·step, y = top + v·step_y (image pixels), where
    for a mirrored input x is counted from the right edge.
    """

    rows: int
    columns: int
    left: float
    top: float
    step: float
    step_y: float
    mirrored: bool

    def of_larger(self, factor: int, rows: int, columns: int) -> Geometry:
        """The same input in an image of `rows` × `columns` of which this one holds the means of factor² pixels."""
        if factor == 1:
            return self
        # the last column of means may reach beyond the image's right edge, from where mirrored inputs count
        beyond = self.columns * factor - columns if self.mirrored else 0
        return Geometry(
            rows,
            columns,
            self.left * factor - beyond,
            self.top * factor,
            self.step * factor,
            self.step_y * factor,
            self.mirrored,
        )

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) input coordinates (u, v) → (n, 2) image coordinates (x, y), clipped to the image."""
        x = self.left + points[:, 0] * self.step
        if self.mirrored:
            x = self.columns - x
        y = self.top + points[:, 1] * self.step_y
        return np.stack([np.clip(x, 0, self.columns), np.clip(y, 0, self.rows)], axis=1)

    def box_to_image(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Box (u0, v0, u1, v1) of the input → (x0, y0, x1, y1) in image pixels."""
        corners = self.to_image(np.array([[box[0], box[1]], [box[2], box[3]]]))
        (xa, ya), (xb, yb) = corners
        return float(min(xa, xb)), float(min(ya, yb)), float(max(xa, xb)), float(max(ya, yb))

    def map_to_image(self, grid: Float, input_size: tuple[int, int], n: int) -> Float:
        """Map (h, w) over the input → (n, n) over the whole image; 0 where the input does not reach.

        input_size  (height, width) of the input in its pixels
        """
        height, width = grid.shape
        y = (np.arange(n) + 0.5) * self.rows / n
        x = (np.arange(n) + 0.5) * self.columns / n
        if self.mirrored:
            x = self.columns - x
        u = (x - self.left) / self.step * width / input_size[1] - 0.5
        v = (y - self.top) / self.step_y * height / input_size[0] - 0.5
        vv, uu = np.meshgrid(v, u, indexing="ij")
        out = ndimage.map_coordinates(grid, [vv, uu], order=1, mode="constant", cval=0.0)
        return np.clip(out, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class Prepared:
    """`pixels` (height, width) float32 in [0, 1] with the way back and what was found on the way."""

    pixels: Float
    geometry: Geometry
    warnings: tuple[str, ...] = ()
    chest_wall: str | None = None  # "left" or "right" edge of the image, breasts only


def prepare_whole(pixels: Float, size: tuple[int, int]) -> Prepared:
    """The whole image stretched to `size` = (height, width), its 0.5-99.5 % range spread over [0, 1].

    Stretching (not padding) keeps one patch of the map on one N-th of the image in each direction.
    """
    rows, columns = pixels.shape
    small = _resample(pixels, (0.0, 0.0, float(columns), float(rows)), size)
    low, high = np.percentile(small, [0.5, 99.5])
    small = np.clip((small - low) / max(float(high - low), 1e-3), 0, 1).astype(np.float32)
    geometry = Geometry(rows, columns, 0.0, 0.0, columns / size[1], rows / size[0], False)
    warnings: tuple[str, ...] = ()
    if not 0.5 <= rows / columns <= 2.0:
        warnings = (f"unusual shape {columns} x {rows}, stretched to a square",)
    return Prepared(small, geometry, warnings)


def prepare_breast(pixels: Float, size: tuple[int, int]) -> Prepared:
    """The breast cut out, chest wall at the left, fitted into `size` = (height, width) without stretching.

    Air is 0; the 1-99 % range inside the breast is spread over [0, 1].
    """
    rows, columns = pixels.shape
    mask, factor = breast_mask(pixels)
    warnings: list[str] = []
    if mask.mean() < 0.02 or mask.mean() > 0.98:
        warnings.append("the breast's outline was not found, the whole image used")
        mask = np.ones_like(mask)
    ys, xs = np.nonzero(mask)
    margin = max(1, mask.shape[0] // 100)
    x0, x1 = max(0, xs.min() - margin), min(mask.shape[1], xs.max() + 1 + margin)
    y0, y1 = max(0, ys.min() - margin), min(mask.shape[0], ys.max() + 1 + margin)
    edge = max(2, (x1 - x0) // 10)
    mirrored = bool(mask[:, x1 - edge : x1].sum() > mask[:, x0 : x0 + edge].sum())
    left, right = float(x0 * factor), float(min(x1 * factor, columns))
    top, bottom = float(y0 * factor), float(min(y1 * factor, rows))
    step = max((right - left) / size[1], (bottom - top) / size[0])
    height = min(size[0], max(1, round((bottom - top) / step)))
    width = min(size[1], max(1, round((right - left) / step)))
    cut = _resample(pixels, (left, top, right, bottom), (height, width))
    inside = _resample(mask.astype(np.float32), (x0, y0, x1, y1), (height, width)) > 0.5
    if mirrored:
        cut, inside = cut[:, ::-1], inside[:, ::-1]
    low, high = np.percentile(cut[inside], [1, 99]) if inside.any() else (0.0, 1.0)
    cut = np.where(inside, np.clip((cut - low) / max(float(high - low), 1e-3), 0, 1), 0).astype(np.float32)
    out = np.zeros(size, dtype=np.float32)
    offset = (size[0] - height) // 2
    out[offset : offset + height, :width] = cut
    step_y, step_x = (bottom - top) / height, (right - left) / width
    geometry = Geometry(
        rows, columns, columns - right if mirrored else left, top - offset * step_y, step_x, step_y, mirrored
    )
    return Prepared(out, geometry, tuple(warnings), "right" if mirrored else "left")


def breast_mask(pixels: Float, height: int = 256) -> tuple[Bool, int]:
    """Breast against air on a coarse grid, and the grid's step in pixels.

    Threshold on square roots (Otsu halves it for the dark skin border); the largest connected part that is
    not a marker; holes filled.
    """
    factor = max(1, pixels.shape[0] // height)
    rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
    coarse = pixels[: rows * factor : max(1, factor // 2), : columns * factor : max(1, factor // 2)]
    small = _resample(np.ascontiguousarray(coarse), (0, 0, coarse.shape[1], coarse.shape[0]), (rows, columns))
    root = np.sqrt(small)
    level = 0.55 * _otsu(root) + 0.45 * float(np.percentile(root, 2))
    mask = ndimage.binary_opening(root > level, iterations=2)
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros_like(mask), factor
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(labels == int(sizes.argmax())), factor


def _otsu(values: Float) -> float:
    histogram, edges = np.histogram(values, bins=128)
    centres = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(histogram).astype(np.float64)
    mass = np.cumsum(histogram * centres)
    rest = weight[-1] - weight
    with np.errstate(divide="ignore", invalid="ignore"):
        between = weight * rest * (mass / weight - (mass[-1] - mass) / rest) ** 2
    return float(centres[int(np.nanargmax(between[:-1]))])


def _resample(pixels: Float, box: tuple[float, float, float, float], size: tuple[int, int]) -> Float:
    """Area-weighted resampling of the box (x0, y0, x1, y1) to (height, width)."""
    picture = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    gap = 3.0 if (box[2] - box[0]) > 3 * size[1] else None
    out = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box, reducing_gap=gap)
    return np.asarray(out, dtype=np.float32)
