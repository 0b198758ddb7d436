"""Read the text that is burnt into a picture (seed 001 FIG. 10B; PS3.15 E.3.1 Clean Pixel Data)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portal.deidentify.pixels import engine
from portal.deidentify.pixels.shown import Grey
from portal.deidentify.pixels.where import CELL, Box, areas, cells, steep

OVERVIEW = 736  # pixels: the whole picture is read once, no larger than this, for large letters
SMALL = 640  # a picture whose sides are no longer than this is read larger too: its letters are small
ENLARGED = 1.6
MIN_SIDE = 32  # of what the detector takes
MOST_AREAS = 160  # a picture with more of them is noise
STROKE = 9  # pixels: what is thinner stands out against its ground, whatever that is
LETTERS = 0.5  # of the recogniser: what it is less sure of is likely no line of text
FAINT = 12.0  # grey levels: strokes that differ by less from their ground stay faint
Quad = NDArray[Any]  # (4, 2) corners x, y


@dataclass(frozen=True)
class Line:
    """A line of text in a frame.

    frame  from 0
    box    x0, y0, x1, y1 in pixels of the frame, the ends not included; holds all of the ink
    confidence  of the recogniser, 0 to 1
    """

    frame: int
    box: Box
    text: str
    confidence: float


def read_picture(picture: Grey, frame: int = 0) -> list[Line]:
    """The lines of text of one picture, each once; none where it has no sharp strokes.

    Several looks: the whole picture small (large letters), the areas with sharp strokes as they are and reduced to
    their strokes (either polarity, low contrast), in small pictures larger than they are too.
    """
    marked = cells(picture)
    if not marked.any():
        return []
    found: list[tuple[Quad, float]] = []
    longest = max(picture.shape)
    if longest > OVERVIEW:
        factor = OVERVIEW / longest
        small = _resized(picture, factor, cv2.INTER_AREA)
        found += [(quad / factor, sure) for quad, sure in engine.detect(_padded(small))]
    for x0, y0, x1, y1 in areas(marked, picture.shape[:2])[:MOST_AREAS]:
        part = _padded(picture[y0:y1, x0:x1])
        looks = [(part, 1.0), (_strokes(part), 1.0)]
        if longest <= SMALL:
            looks.append((_resized(part, ENLARGED, cv2.INTER_CUBIC), ENLARGED))
        for look, scale in looks:
            found += [(quad / scale + (x0, y0), sure) for quad, sure in engine.detect(look)]
    found = [one for one in found if _drawn(one[0], marked)]
    quads = _distinct(found)
    said = _recognised(picture, quads)
    if bad := {id(quad) for quad, (_, sure) in zip(quads, said, strict=True) if sure < LETTERS}:
        # no line, and it may hide one that lies in it
        known = {id(quad): one for quad, one in zip(quads, said, strict=True)}
        quads = _distinct([one for one in found if id(one[0]) not in bad])
        new = [quad for quad in quads if id(quad) not in known]
        known |= {id(quad): one for quad, one in zip(new, _recognised(picture, new), strict=True)}
        said = [known[id(quad)] for quad in quads]
    sharp = steep(picture) if quads else picture
    lines = []
    for quad, (text, sure) in zip(quads, said, strict=True):
        box = _grown(_box(quad, picture.shape[:2]), sharp)
        if box[2] > box[0] and box[3] > box[1]:
            lines.append(Line(frame, box, text, sure))
    return lines


def _recognised(picture: Grey, quads: list[Quad]) -> list[tuple[str, float]]:
    return engine.recognise(picture, [quad.astype(np.int32) for quad in quads])


def _strokes(picture: Grey) -> Grey:
    """What is brighter or darker than its surroundings and thinner than STROKE, as bright on black.

    Each place is scaled by the strongest stroke around it, FAINT at least, so that faint lines stand out as strong
    ones do.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (STROKE, STROKE))
    both = np.maximum(
        cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, kernel), cv2.morphologyEx(picture, cv2.MORPH_BLACKHAT, kernel)
    )
    small = cv2.resize(both, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    strongest = cv2.blur(cv2.dilate(small, np.ones((15, 15), np.uint8)).astype(np.float32), (9, 9))
    top = np.maximum(FAINT, 2 * cv2.resize(strongest, both.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return np.clip(both.astype(np.float32) * (255 / top), 0, 255).astype(np.uint8)


def _drawn(quad: Quad, marked: NDArray[np.bool_]) -> bool:
    """Whether sharp strokes run through a line for at least half of its length: a rib that looks like a 1 has none."""
    x0, y0, x1, y1 = _box(quad, (marked.shape[0] * CELL, marked.shape[1] * CELL))
    inside = marked[y0 // CELL : (y1 - 1) // CELL + 1, x0 // CELL : (x1 - 1) // CELL + 1]
    return bool(inside.sum() >= max(1.0, 0.5 * max(x1 - x0, y1 - y0) / CELL))


def _grown(box: Box, sharp: Grey) -> Box:
    """A box with what the detector left out at its ends: as far as strokes like its own go on without a gap.

    A gap of 0.6 of the line's height ends it, and so does a stretch of twice its height.
    """
    x0, y0, x1, y1 = box
    lying = x1 - x0 >= y1 - y0
    band = sharp[y0:y1, :] if lying else sharp[:, x0:x1].T
    low, high, height = (x0, x1, y1 - y0) if lying else (y0, y1, x1 - x0)
    inside = band[:, low:high]
    if not inside.size:
        return box
    level = max(16.0, 0.5 * float(np.percentile(inside, 95)))
    ink = (band >= level).sum(0)
    dense = (ink >= 2) & (ink <= 0.9 * height)
    gap, most = max(2, round(0.6 * height)), 2 * height
    ends = []
    for start, step in ((low - 1, -1), (high, 1)):
        last, here = start - step, start
        while 0 <= here < dense.size and abs(here - start) < most and abs(here - last) <= gap:
            if dense[here]:
                last = here
            here += step
        ends.append(last)
    low, high = max(0, min(low, ends[0])), min(dense.size, max(high, ends[1] + 1))
    return (low, y0, high, y1) if lying else (x0, low, x1, high)


def _padded(picture: Grey) -> Grey:
    """At least MIN_SIDE in each direction, the border repeated."""
    down, right = max(0, MIN_SIDE - picture.shape[0]), max(0, MIN_SIDE - picture.shape[1])
    return np.pad(picture, ((0, down), (0, right)), mode="edge") if down or right else picture


def _resized(picture: Grey, factor: float, how: int) -> Grey:
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how), np.uint8)


def _box(quad: Quad, shape: tuple[int, ...]) -> Box:
    x0, y0 = np.floor(quad.min(0)).astype(int)
    x1, y1 = np.ceil(quad.max(0)).astype(int)
    return max(0, int(x0)), max(0, int(y0)), min(shape[1], int(x1) + 1), min(shape[0], int(y1) + 1)


def _distinct(found: Iterable[tuple[Quad, float]]) -> list[Quad]:
    """Each line once: of detections of one line the longest stays, then the most certain.

    A detection that holds lines of less than half its height is no line but a region that holds lines.
    """
    ranked = sorted(found, key=lambda one: (-_sides(one[0])[0], -one[1]))
    boxes = [_box(quad, (1 << 20, 1 << 20)) for quad, _ in ranked]
    heights = [_sides(quad)[1] for quad, _ in ranked]
    kept: list[int] = []
    for n, box in enumerate(boxes):
        inner = [m for m, other in enumerate(boxes) if m != n and _inside(other, box) > 0.7]
        if any(heights[m] < heights[n] / 2 for m in inner):
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
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0, width) * max(0, height) / area if area else 0.0
