"""A cheap test of where there can be text at all: sharp strokes. What it leaves out is never looked at again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels.shown import Grey

CELL = 16  # pixels a side
EDGE = 8  # grey levels between neighbours, of which an edge is made
NOISE = 3.0  # times the usual difference in a cell's surroundings
LEAST = 6  # edge pixels in a cell
Box = tuple[int, int, int, int]  # x0, y0, x1, y1


def steep(picture: Grey) -> Grey:
    """The largest difference between each pixel's neighbours."""
    return np.asarray(cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))


def cells(picture: Grey) -> NDArray[np.bool_]:
    """(rows / CELL, columns / CELL), true where a stroke may be.

    A stroke is drawn: its edge is a pixel or two wide. A cell counts when enough of its pixels differ from their
    neighbours by EDGE, and by NOISE times what neighbours differ by in most of the cells around.
    """
    rows, columns = -(-picture.shape[0] // CELL), -(-picture.shape[1] // CELL)
    padded = np.zeros((rows * CELL, columns * CELL), np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = steep(picture)
    blocks = padded.reshape(rows, CELL, columns, CELL)
    usual = blocks.mean((1, 3), dtype=np.float32).astype(np.uint8)
    around = cv2.medianBlur(usual, 5) if min(usual.shape) >= 5 else np.full_like(usual, int(np.median(usual)))
    need = np.maximum(EDGE, np.minimum(NOISE * around.astype(np.float32), 64))[:, None, :, None]
    count = (blocks >= need).sum((1, 3))
    return np.asarray(count >= LEAST)


def areas(marked: NDArray[np.bool_], shape: tuple[int, int], margin: int = 2, largest: int = 1024) -> list[Box]:
    """Rectangles that hold the marked cells with `margin` cells around, none with a side over about `largest`."""
    if not marked.any():
        return []
    wide = cv2.dilate(marked.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    if wide.mean() > 0.6:
        boxes = [(0, 0, shape[1], shape[0])]
    else:
        _, _, found, _ = cv2.connectedComponentsWithStats(wide, connectivity=8)
        boxes = _joined([(x * CELL, y * CELL, (x + w) * CELL, (y + h) * CELL) for x, y, w, h, _ in found[1:]])
    out: list[Box] = []
    for x0, y0, x1, y1 in boxes:
        out += _parts(max(0, x0), max(0, y0), min(shape[1], x1), min(shape[0], y1), largest)
    return out


def _joined(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap become one, until none do."""
    left = list(boxes)
    out: list[Box] = []
    while left:
        one = left.pop()
        for n, other in enumerate(left):
            if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]:
                left[n] = (
                    min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]),
                )  # fmt: skip
                break
        else:
            out.append(one)
    return sorted(out)


def _parts(x0: int, y0: int, x1: int, y1: int, largest: int) -> list[Box]:
    """A box in parts that overlap by an eighth of `largest`, so that a line is whole in one of them."""
    lap = largest // 8
    across, down = _starts(x0, x1, largest, lap), _starts(y0, y1, largest, lap)
    return [(x, y, min(x + largest, x1), min(y + largest, y1)) for y in down for x in across]


def _starts(low: int, high: int, largest: int, lap: int) -> list[int]:
    return [low] if high - low <= largest * 5 // 4 else list(range(low, high - lap, largest - lap))
