"""Segments as network inputs, and what was found in them back over the scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from inference.findings import Box, Region
from inference.segments.rules import Bool, Segment

Float = NDArray[np.float32]
SAME = 0.5  # shared part of the smaller of two boxes from which they are one finding


def cut(pixels: Float, segment: Segment, shown: Bool, side: int) -> Float:
    """(side, side) input of one segment; pixels that are not `shown`, and room beyond the box, hold the mean of
    those that are (R6).

    pixels  (rows, columns) of the scan in [0, 1]; shown  (height, width) of the segment's box
    Input pixel (u, v) covers the scan from (x0 + u/scale, y0 + v/scale) on, averaged over what it covers.
    """
    x0, y0, x1, y1 = segment.box
    own = pixels[y0:y1, x0:x1]
    fill = float(own[shown].mean()) if shown.any() else 0.0
    reach = side / segment.scale
    padded = np.full((int(np.ceil(reach)), int(np.ceil(reach))), fill, np.float32)
    padded[: y1 - y0, : x1 - x0] = np.where(shown, own, np.float32(fill))
    picture = Image.fromarray(padded)
    out = picture.resize((side, side), Image.Resampling.BILINEAR, box=(0.0, 0.0, reach, reach))
    return np.asarray(out, dtype=np.float32)


def patches(
    regions: NDArray[np.uint8], segment: Segment, shape: tuple[int, int], side: int, n: int
) -> NDArray[np.uint8]:
    """Abnormal patches (K, h, w) over the whole scan → (K, n, n) over a segment's input, nearest patch.

    shape  (rows, columns) of the scan
    """
    at = (np.arange(n) + 0.5) * side / n
    points = segment.to_scan(np.stack([at, at], axis=1))
    height, width = regions.shape[1:]
    us = np.floor(points[:, 0] * width / shape[1]).astype(int)
    vs = np.floor(points[:, 1] * height / shape[0]).astype(int)
    x_in = (points[:, 0] >= segment.box[0]) & (points[:, 0] < segment.box[2])
    y_in = (points[:, 1] >= segment.box[1]) & (points[:, 1] < segment.box[3])
    out = regions[:, np.clip(vs, 0, height - 1)][:, :, np.clip(us, 0, width - 1)]
    return np.where(y_in[:, None] & x_in[None, :], out, np.uint8(0)).astype(np.uint8)


def merge_maps(
    grids: Sequence[tuple[Segment, Float]], shown: Sequence[Bool] | None, shape: tuple[int, int], side: int, n: int
) -> Float:
    """Maps over the segments' inputs → (K, n, n) over the whole scan.

    grids  (segment, (K, h, w) in [0, 1]); shown  per segment (n, n): cells it may speak for, None for its whole box
    shape  (rows, columns) of the scan
    A cell takes the highest of the values that the segments have at its centre (between the centres of their
    patches by bilinear interpolation), 0 where no segment speaks for it. ValueError without segments.
    """
    if not grids:
        raise ValueError("no segments to merge")
    x = (np.arange(n) + 0.5) * shape[1] / n
    y = (np.arange(n) + 0.5) * shape[0] / n
    out = np.zeros((grids[0][1].shape[0], n, n), np.float32)
    for index, (segment, grid) in enumerate(grids):
        x0, y0, x1, y1 = segment.box
        xs, ys = np.flatnonzero((x >= x0) & (x < x1)), np.flatnonzero((y >= y0) & (y < y1))
        if not len(xs) or not len(ys):
            continue
        height, width = grid.shape[1:]
        u = segment.to_input(np.stack([x[xs], np.zeros(len(xs))], 1))[:, 0] * width / side - 0.5
        v = segment.to_input(np.stack([np.zeros(len(ys)), y[ys]], 1))[:, 1] * height / side - 0.5
        where = np.meshgrid(np.clip(v, 0, height - 1), np.clip(u, 0, width - 1), indexing="ij")
        for k in range(len(grid)):
            values = ndimage.map_coordinates(grid[k], where, order=1, mode="nearest")
            if shown is not None:
                values = np.where(shown[index][np.ix_(ys, xs)], values, 0)
            view = out[k][np.ix_(ys, xs)]
            out[k][np.ix_(ys, xs)] = np.maximum(view, values)
    return out


def merge_regions(found: Sequence[Region], same: float = SAME) -> tuple[Region, ...]:
    """Detections of overlapping segments in scan pixels → one for each finding, the highest scores first.

    Two of a class are one when they share at least `same` of the smaller box; the box is then the hull of both, the
    score the higher one, the outline that of the larger part. Goes on until nothing joins, so that a finding that
    several segments cut comes out whole; the order of the input does not matter.
    """
    left = sorted(found, key=lambda r: (r.class_name, -r.score, r.box))
    joined = True
    while joined:
        joined = False
        for i in range(len(left)):
            for j in range(i + 1, len(left)):
                if left[i].class_name == left[j].class_name and _shared(left[i].box, left[j].box) >= same:
                    left[i] = _one(left[i], left[j])
                    del left[j]
                    joined = True
                    break
            if joined:
                break
    return tuple(sorted(left, key=lambda r: (-r.score, r.class_name, r.box)))


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _shared(a: Box, b: Box) -> float:
    both = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return both / max(min(_area(a), _area(b)), 1e-9)


def _one(a: Region, b: Region) -> Region:
    larger = a if _area(a.box) >= _area(b.box) else b
    box = (min(a.box[0], b.box[0]), min(a.box[1], b.box[1]), max(a.box[2], b.box[2]), max(a.box[3], b.box[3]))
    return Region(a.class_name, box, max(a.score, b.score), larger.polygon)
