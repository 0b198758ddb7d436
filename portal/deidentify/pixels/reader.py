"""Read the text that is burnt into a picture (seed 001 FIG. 10B; PS3.15 E.3.1 Clean Pixel Data)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels import engine
from portal.deidentify.pixels.memory import Memory, key_of
from portal.deidentify.pixels.sheets import Piece, piece, sheets
from portal.deidentify.pixels.shown import Grey
from portal.deidentify.pixels.where import CELL, Box, areas, beside, left_over, marks, rows, steep, strokes

LARGE = 96  # pixels: an area that is wider and higher may hold letters that are read better when smaller
CLOSER = 1 << 16  # pixels that are looked at closer at most, small areas first
ENLARGED = 1.7
CERTAIN = 0.8  # of the recogniser: what it is less sure of is looked at closer
LETTERS = 0.5  # of the recogniser: what it is less sure of is likely no line of text
GROWS = 0.8  # heights of a line: the letters of one are no further apart
JOINS = 0.9  # heights: words of one line are no further apart
FILLED, SHORT = 0.35, 2.5  # of a region: the share of it that lines fill; its length in heights
STANDING = 1.5  # times as high as wide: the recogniser lays such a line down
FAINT = 12.0  # grey levels: strokes that differ by less from their ground stay faint
Quad = NDArray[Any]  # (4, 2) corners x, y
LOOKED: Memory[tuple[tuple[Quad, float], ...]] = Memory(8192)  # lines on a sheet, by its pixels


@dataclass(frozen=True)
class Line:
    """A line of text in a frame.

    frame  from 0
    box    x0, y0, x1, y1 in pixels of the frame, the ends not included; holds all of the ink
    confidence  of the recogniser, 0 to 1
    cuts   before, between and behind its words, x of a lying box, y of a standing one, in the order of the words;
           empty where that is not known
    """

    frame: int
    box: Box
    text: str
    confidence: float
    cuts: tuple[int, ...] = ()


def read_picture(picture: Grey, frame: int = 0, fresh: NDArray[np.bool_] | None = None) -> list[Line]:
    """The lines of text of one picture, each once; none where it has no thin strokes.

    fresh  cells (see where.cells) of which something has to be in what is read; None: all

    Several looks at the areas with strokes: as they are, and smaller; then at what nothing or nothing certain was found
    on, reduced to its strokes (either polarity, low contrast); then larger at what is left.
    """
    drawn = strokes(picture)
    marked, need = marks(drawn)
    seen = _Seen(picture, marked)
    seen.look(_pieces(picture, areas(marked, seen.shape, fresh)))
    for closer in (False, True):
        known = [_box(quad, seen.shape) for quad in seen.certain()]
        left = left_over(drawn, marked, need, known)
        if fresh is not None:
            left &= fresh
        if closer and left.any():
            seen.look(_closer(picture, drawn, rows(left, seen.shape)), faint=True)
        elif left.any():  # a line that may go on is looked at again as a whole
            seen.look(_reduced(drawn, areas(beside(left, known), seen.shape)))
    quads = seen.joined()
    said = [seen.reading(quad) for quad in quads]
    sharp = steep(picture) if quads else picture
    lines = []
    boxes = [_box(quad, seen.shape) for quad in quads]
    for n, one in enumerate(said):
        others = [box for m, box in enumerate(boxes) if m != n and said[m].sure >= LETTERS]
        box = _grown(boxes[n], sharp, others)
        if box[2] > box[0] and box[3] > box[1]:
            lines.append(Line(frame, box, one.text, one.sure, _cuts(quads[n], one, box)))
    return lines


class _Seen:
    """What the detector found in a picture, and how it reads; nothing is read twice."""

    def __init__(self, picture: Grey, marked: NDArray[np.bool_]) -> None:
        self.picture, self.marked = picture, marked
        self.shape = (picture.shape[0], picture.shape[1])
        self._found: list[tuple[Quad, float]] = []
        self._read: dict[int, engine.Reading] = {}

    def look(self, pieces: Iterable[Piece], faint: bool = False) -> None:
        """Find lines on pieces; faint: by lower thresholds, and none that lies on one that was read for certain."""
        certain = [_box(quad, self.shape) for quad in self.certain()] if faint else []
        for part, sure in _found_on(pieces, faint):
            box = _box(part, self.shape)
            if _drawn(part, self.marked) and not any(_inside(box, other) > 0.5 for other in certain):
                self._found.append((part, sure))

    def certain(self) -> list[Quad]:
        return [quad for quad in self.distinct() if self.reading(quad).sure >= CERTAIN]

    def distinct(self) -> list[Quad]:
        """Each line once. What reads as none goes: it may hide one that lies in it."""
        quads = self._recognised(_distinct(self._found))
        if any(self.reading(quad).sure < LETTERS for quad in quads):
            kept = [one for one in self._found if not self._refused(one[0])]
            quads = self._recognised(_distinct(kept))
        return quads

    def joined(self) -> list[Quad]:
        """The distinct lines, those in one where the detector found words of one line apart, if they read as one."""
        out = []
        for parts in _rows(self.distinct(), self.shape):
            whole = _around([_box(quad, self.shape) for quad in parts])
            if len(parts) > 1:
                self._found.append((whole, 1.0))  # kept, so that its id stays its own
                self._recognised([whole])
            fair = sum(self.reading(quad).sure for quad in parts) / len(parts) - 0.1
            good = len(parts) > 1 and self.reading(whole).sure >= max(LETTERS, fair)
            out += [whole] if good else parts
        return out

    def reading(self, quad: Quad) -> engine.Reading:
        return self._read[id(quad)]

    def _refused(self, quad: Quad) -> bool:
        return id(quad) in self._read and self.reading(quad).sure < LETTERS

    def _recognised(self, quads: list[Quad]) -> list[Quad]:
        new = [quad for quad in quads if id(quad) not in self._read]
        said = engine.recognise(self.picture, [quad.astype(np.int32) for quad in new])
        self._read |= {id(quad): one for quad, one in zip(new, said, strict=True)}
        return quads


def _found_on(pieces: Iterable[Piece], faint: bool) -> Iterator[tuple[Quad, float]]:
    """(corners in the picture, certainty) of the lines on pieces; a sheet that was looked at before is not again.

    A whole sheet, not a piece: what lies beside a piece has a say in what the detector finds on it, and what becomes
    of a file must not depend on what the worker saw before.
    """
    for sheet in sheets(list(pieces)):
        key = key_of(sheet.canvas, faint)
        if (found := LOOKED.get(key)) is None:
            found = tuple(engine.detect(sheet.canvas, faint))
            LOOKED.put(key, found)
        for quad, sure in found:
            for n, part in sheet.back(quad.astype(np.float64)):
                yield sheet.placed[n][2].back(part), sure


def _rows(quads: list[Quad], shape: tuple[int, int]) -> list[list[Quad]]:
    """Lines grouped by what stands in one row (column, where standing) with less than JOINS heights between."""
    boxes = [_box(quad, shape) for quad in quads]
    group = list(range(len(quads)))
    for n, one in enumerate(boxes):
        for m, other in enumerate(boxes[:n]):
            if _in_row(one, other):
                old, new = group[n], group[m]
                group = [new if g == old else g for g in group]
    return [[quads[n] for n, g in enumerate(group) if g == key] for key in dict.fromkeys(group)]


def _in_row(one: Box, other: Box) -> bool:
    """Whether two boxes are words of one line; a box that is about square lies or stands as the other does."""
    lying = [box[2] - box[0] >= box[3] - box[1] for box in (one, other)]
    if lying[0] != lying[1]:
        long = max((one, other), key=lambda box: max(box[2] - box[0], box[3] - box[1]))
        lying[0] = long[2] - long[0] >= long[3] - long[1]
    along, across = (0, 1) if lying[0] else (1, 0)
    heights = [box[across + 2] - box[across] for box in (one, other)]
    shared = min(one[across + 2], other[across + 2]) - max(one[across], other[across])
    apart = max(one[along], other[along]) - min(one[along + 2], other[along + 2])
    return shared > 0.6 * min(heights) and max(heights) < 1.7 * min(heights) and apart < JOINS * min(heights)


def _around(boxes: list[Box]) -> Quad:
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[2] for box in boxes), max(box[3] for box in boxes)
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def _cuts(quad: Quad, reading: engine.Reading, box: Box) -> tuple[int, ...]:
    """The ends and gaps of a line's words along its box; its corners go around as the strip was laid down."""
    if not reading.cuts:
        return ()
    along = quad[1] - quad[0]
    if np.linalg.norm(quad[3] - quad[0]) >= STANDING * np.linalg.norm(along):
        along = quad[3] - quad[0]
    axis = 0 if box[2] - box[0] >= box[3] - box[1] else 1
    cuts = [round(float(quad[0][axis] + cut * along[axis])) for cut in reading.cuts]
    first, last = (axis, axis + 2) if cuts[0] < cuts[-1] else (axis + 2, axis)
    return (box[first], *cuts[1:-1], box[last])


def _pieces(picture: Grey, boxes: list[Box]) -> Iterator[Piece]:
    """What is looked at of a picture first."""
    for x0, y0, x1, y1 in boxes:
        part, at = picture[y0:y1, x0:x1], (x0, y0)
        yield piece(part, at)
        if min(part.shape) > LARGE:
            yield piece(part, at, 0.5)


def _reduced(drawn: Grey, boxes: list[Box]) -> Iterator[Piece]:
    """The strokes of what is left."""
    for x0, y0, x1, y1 in boxes:
        yield piece(_even(drawn[y0:y1, x0:x1]), (x0, y0))


def _closer(picture: Grey, drawn: Grey, boxes: list[Box]) -> Iterator[Piece]:
    """What is looked at where the first look left strokes over."""
    left = CLOSER
    for x0, y0, x1, y1 in boxes:
        part, at = picture[y0:y1, x0:x1], (x0, y0)
        left -= part.size
        if left < 0:
            return
        yield piece(part, at, ENLARGED)
        yield piece(_even(drawn[y0:y1, x0:x1]), at, ENLARGED)


def _even(drawn: Grey) -> Grey:
    """Strokes, each scaled by the strongest around it, FAINT at least: faint lines stand out as strong ones do."""
    small = cv2.resize(drawn, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    strongest = cv2.blur(cv2.dilate(small, np.ones((15, 15), np.uint8)).astype(np.float32), (9, 9))
    top = np.maximum(FAINT, 2 * cv2.resize(strongest, drawn.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return np.clip(drawn.astype(np.float32) * (255 / top), 0, 255).astype(np.uint8)


def _drawn(quad: Quad, marked: NDArray[np.bool_]) -> bool:
    """Whether sharp strokes run through a line for at least half of its length: a rib that looks like a 1 has none."""
    x0, y0, x1, y1 = _box(quad, (marked.shape[0] * CELL, marked.shape[1] * CELL))
    inside = marked[y0 // CELL : (y1 - 1) // CELL + 1, x0 // CELL : (x1 - 1) // CELL + 1]
    return bool(inside.sum() >= max(1.0, 0.5 * max(x1 - x0, y1 - y0) / CELL))


def _grown(box: Box, sharp: Grey, others: Iterable[Box]) -> Box:
    """A box with what the detector left out at its ends: as far as strokes like its own go on without a gap.

    A gap of GROWS times the line's height ends it, and so does a stretch of twice its height or another line.
    """
    lying = box[2] - box[0] >= box[3] - box[1]
    x0, y0, x1, y1 = box if lying else (box[1], box[0], box[3], box[2])
    band = (sharp if lying else sharp.T)[y0:y1]
    inside = band[:, x0:x1]
    if not inside.size:
        return box
    height = y1 - y0
    level = max(16.0, 0.5 * float(np.percentile(inside, 95)))
    ink = (band >= level).sum(0)
    dense = (ink >= 2) & (ink <= 0.9 * height)
    least, most = max(0, x0 - 2 * height), min(dense.size, x1 + 2 * height)
    for other in others:
        u0, v0, u1, v1 = other if lying else (other[1], other[0], other[3], other[2])
        if min(y1, v1) - max(y0, v0) > 0.3 * height and v1 - v0 < 2 * height:
            if (u0 + u1) / 2 < (x0 + x1) / 2:
                least = max(least, u1)
            else:
                most = min(most, u0)
    gap = max(2, round(GROWS * height))
    ends = []
    for start, step, stop in ((x0 - 1, -1, least - 1), (x1, 1, most)):
        last = start - step
        for here in range(start, stop, step):
            if abs(here - last) > gap:
                break
            if dense[here]:
                last = here
        ends.append(last)
    low, high = min(x0, ends[0]), max(x1, ends[1] + 1)
    return (low, y0, high, y1) if lying else (y0, low, y1, high)


def _box(quad: Quad, shape: tuple[int, ...]) -> Box:
    x0, y0 = np.floor(quad.min(0)).astype(int)
    x1, y1 = np.ceil(quad.max(0)).astype(int)
    return max(0, int(x0)), max(0, int(y0)), min(shape[1], int(x1) + 1), min(shape[0], int(y1) + 1)


def _distinct(found: Iterable[tuple[Quad, float]]) -> list[Quad]:
    """Each line once: of detections of one line the longest stays, then the most certain.

    A detection that holds lines of less than half its height is no line but a region that holds lines, where they fill
    it or it is no longer than a line of a few letters.
    """
    ranked = sorted(found, key=lambda one: (-_sides(one[0])[0], -one[1]))
    boxes = [_box(quad, (1 << 20, 1 << 20)) for quad, _ in ranked]
    heights = [_sides(quad)[1] for quad, _ in ranked]
    kept: list[int] = []
    for n, box in enumerate(boxes):
        inner = [m for m, other in enumerate(boxes) if m != n and _inside(other, box) > 0.7]
        small = [m for m in inner if heights[m] < heights[n] / 2]
        filled = sum(_area(boxes[m]) for m in small) >= FILLED * _area(box)
        if small and (filled or _sides(ranked[n][0])[0] < SHORT * heights[n]):
            continue
        if not any(_inside(box, boxes[m]) > 0.7 for m in kept):
            kept.append(n)
    kept.sort(key=lambda n: (boxes[n][1], boxes[n][0]))
    return [ranked[n][0] for n in kept]


def _sides(quad: Quad) -> tuple[float, float]:
    """(length, height) of a line."""
    a, b = float(np.linalg.norm(quad[0] - quad[1])), float(np.linalg.norm(quad[1] - quad[2]))
    return max(a, b), min(a, b)


def _inside(box: Box, other: Box) -> float:
    """Share of a box that lies in another."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(0, width) * max(0, height) / area if (area := _area(box)) else 0.0


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
