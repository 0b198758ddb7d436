"""A cheap test of where there can be text at all: thin strokes. What it leaves out is never looked at again."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels.shown import Grey

CELL = 16  # pixels a side
STROKE = 9  # pixels: what is thinner stands out against its ground, whatever that is
EDGE = 8  # grey levels by which a stroke stands out
NOISE = 4.0  # times what stands out usually in a cell's surroundings
MOST = 64.0  # grey levels: what stands out by as much is a stroke, however busy its surroundings
LEAST = 8  # pixels of strokes in a cell
SAME = 5  # grey levels: what differs by less is the same
ALONE = 24  # the same in a cell that has no marked neighbour: two letters, not a piece of an outline
MANY = 600  # rectangles: a picture with more of them is looked at as a whole
SHORTEST, TALLEST = 3, 5  # cells: of a row of them that may be a line
BESIDE = 3  # cells before and behind a row, where the line goes on more faintly
Box = tuple[int, int, int, int]  # x0, y0, x1, y1


def strokes(picture: Grey) -> Grey:
    """By how many grey levels each pixel is brighter or darker than its surroundings, where it is thinner than STROKE.

    Edges of organs have nothing here: they are steep, but not thin.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (STROKE, STROKE))
    bright = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, kernel)
    return np.maximum(bright, cv2.morphologyEx(picture, cv2.MORPH_BLACKHAT, kernel))


def steep(picture: Grey) -> Grey:
    """The largest difference between each pixel's neighbours."""
    return np.asarray(cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))


def cells(drawn: Grey) -> NDArray[np.bool_]:
    """(rows / CELL, columns / CELL), true where a line of text may be; drawn: what `strokes` gives."""
    return marks(drawn)[0]


def marks(drawn: Grey) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """(rows / CELL, columns / CELL) where a line of text may be, and from which value on a pixel of a cell stands out.

    drawn  what `strokes` gives
    A cell counts when enough of its pixels stand out by EDGE, and by NOISE times the median of the pixels in most of
    the cells around: grain and speckle are everywhere, also between the letters of text that lies on them.
    """
    blocks = _blocks(drawn)
    rows, columns = blocks.shape[0], blocks.shape[2]
    some = np.ascontiguousarray(blocks[:, 1::2, :, 1::2].transpose(0, 2, 1, 3)).reshape(rows, columns, -1)
    half = some.shape[2] // 2
    usual = np.ascontiguousarray(np.partition(some, half, axis=2)[..., half])
    grain = cv2.medianBlur(usual, 5) if min(usual.shape) >= 5 else np.full_like(usual, int(np.median(usual)))
    need = np.ceil(np.clip(NOISE * grain.astype(np.float32), EDGE, MOST)).astype(np.uint8)
    count = (blocks >= need[:, None, :, None]).sum((1, 3))
    marked = count >= LEAST
    _, labels, found, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=4)
    alone = found[:, cv2.CC_STAT_AREA] == 1
    return np.asarray(marked & ~(alone[labels] & (count < ALONE))), need


def left_over(
    drawn: Grey, marked: NDArray[np.bool_], need: NDArray[np.uint8], known: Iterable[Box]
) -> NDArray[np.bool_]:
    """The marked cells in which enough strokes lie outside of the known boxes; marked, need: what `marks` gives."""
    rest = drawn.copy()
    for x0, y0, x1, y1 in known:
        rest[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = 0
    return np.asarray(marked & ((_blocks(rest) >= need[:, None, :, None]).sum((1, 3)) >= LEAST))


def beside(left: NDArray[np.bool_], known: Iterable[Box]) -> NDArray[np.bool_]:
    """Cells that are left over, with those of known lines that have some in them or before and behind them."""
    out = left.copy()
    for x0, y0, x1, y1 in known:
        across, down = (x0 // CELL, -(-x1 // CELL)), (y0 // CELL, -(-y1 // CELL))
        lying = x1 - x0 >= y1 - y0
        wide, high = (2, 0) if lying else (0, 2)
        near = left[max(0, down[0] - high) : down[1] + high, max(0, across[0] - wide) : across[1] + wide]
        if near.any():
            out[down[0] : down[1], across[0] : across[1]] = True
    return out


def _blocks(drawn: Grey) -> Grey:
    """(rows / CELL, CELL, columns / CELL, CELL): a picture in cells, zero where those at the edge go beyond it."""
    rows, columns = -(-drawn.shape[0] // CELL), -(-drawn.shape[1] // CELL)
    padded = np.zeros((rows * CELL, columns * CELL), np.uint8)
    padded[: drawn.shape[0], : drawn.shape[1]] = drawn
    return padded.reshape(rows, CELL, columns, CELL)


def changed(picture: Grey, earlier: Grey) -> NDArray[np.bool_]:
    """(rows / CELL, columns / CELL), true where two pictures of one size differ by SAME grey levels or more."""
    return np.asarray(_blocks(np.asarray(cv2.absdiff(picture, earlier))).max((1, 3)) >= SAME)


def around(marked: NDArray[np.bool_], margin: int = 1) -> NDArray[np.bool_]:
    """The marked cells and those up to `margin` away."""
    side = 2 * margin + 1
    return np.asarray(cv2.dilate(marked.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def areas(
    marked: NDArray[np.bool_], shape: tuple[int, int], fresh: NDArray[np.bool_] | None = None, largest: int = 1024
) -> list[Box]:
    """Rectangles that hold the marked cells with a cell around, none with a side over about `largest`.

    fresh  where given: only marks that hang together with a marked cell in it
    Marks that are further apart lie in rectangles of their own, as long as that is less to look at than everything.
    """
    wide = around(marked).astype(np.uint8)
    _, labels, found, _ = cv2.connectedComponentsWithStats(wide, connectivity=8)
    wanted = np.unique(labels[marked if fresh is None else marked & fresh])
    boxes = [(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, _ in found[wanted]]
    boxes = _outer(boxes) if len(boxes) <= MANY else [(0, 0, wide.shape[1], wide.shape[0])]
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) > wide.size:
        boxes = [(0, 0, wide.shape[1], wide.shape[0])]
    out: list[Box] = []
    for x0, y0, x1, y1 in sorted(boxes):
        out += _parts(x0 * CELL, y0 * CELL, min(shape[1], x1 * CELL), min(shape[0], y1 * CELL), largest)
    return out


def rows(left: NDArray[np.bool_], shape: tuple[int, int]) -> list[Box]:
    """Rectangles around marked cells that lie in a row, or stand in a column, as words do; small ones first.

    Outlines hang together through a whole picture; the pieces of them that lie in a row are short.
    """
    found: set[Box] = set()
    for turned in (False, True):
        here = np.ascontiguousarray(left.T if turned else left).astype(np.uint8)
        joined = cv2.morphologyEx(np.pad(here, 2), cv2.MORPH_CLOSE, np.ones((1, 3), np.uint8))[2:-2, 2:-2]
        _, _, parts, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(joined), connectivity=4)
        for x, y, w, h, _ in parts[1:]:
            if w >= max(SHORTEST, 1.5 * h) and h <= TALLEST:
                box = (int(x) - BESIDE, int(y) - 1, int(x + w) + BESIDE, int(y + h) + 1)
                found.add((box[1], box[0], box[3], box[2]) if turned else box)
    boxes = sorted(found, key=lambda box: ((box[2] - box[0]) * (box[3] - box[1]), box))
    boxes = _outer(boxes[:MANY])
    return [
        (max(0, x0) * CELL, max(0, y0) * CELL, min(shape[1], x1 * CELL), min(shape[0], y1 * CELL))
        for x0, y0, x1, y1 in boxes
    ]


def _outer(boxes: list[Box]) -> list[Box]:
    """The boxes that lie in no other, in their order."""
    return [one for one in boxes if not any(one != other and _holds(other, one) for other in boxes)]


def _holds(box: Box, other: Box) -> bool:
    return box[0] <= other[0] and box[1] <= other[1] and box[2] >= other[2] and box[3] >= other[3]


def _parts(x0: int, y0: int, x1: int, y1: int, largest: int) -> list[Box]:
    """A box in parts that overlap by an eighth of `largest`, so that a line is whole in one of them."""
    lap = largest // 8
    across, down = _starts(x0, x1, largest, lap), _starts(y0, y1, largest, lap)
    return [(x, y, min(x + largest, x1), min(y + largest, y1)) for y in down for x in across]


def _starts(low: int, high: int, largest: int, lap: int) -> list[int]:
    return [low] if high - low <= largest * 5 // 4 else list(range(low, high - lap, largest - lap))
