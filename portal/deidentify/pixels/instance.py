"""Read the text of a whole instance: one frame, or the frames of a cine loop on which something can have changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.deidentify.pixels.reader import Line, read_picture
from portal.deidentify.pixels.shown import Grey, frames, planes
from portal.deidentify.pixels.where import CELL, Box, around, cells, changed, strokes

EVENTS = 12  # frames read because something changed where little moves
AROUND = 2  # cells around a change that are read with it
BLOCK = 16  # pixels a side of what is compared from frame to frame
STILL = 0.1  # of the frames: a block that changes in fewer is a still one
ALIKE = 0.6  # of two readings: they are of one text
CHANGED = 3.0  # grey levels of a block's mean


@dataclass
class Read:
    """What was found in an instance.

    looked   numbers of the frames that were read, from 0
    skipped  frames with changes that were more than EVENTS
    crops    line → the grey picture around it, for a person's eyes
    """

    lines: list[Line] = field(default_factory=list)
    looked: list[int] = field(default_factory=list)
    skipped: int = 0
    crops: dict[Line, Grey] = field(default_factory=dict)


def read(stream: BinaryIO, dataset: Dataset) -> Read:
    """Read the text in an instance's pixels. Raises NotShown when they cannot be decoded.

    stream   the file; dataset its header. Of many frames one at a time is in memory.
    A line that is on several frames is given once. Of a loop the first and the last frame are read, those where
    something changes that is otherwise still, and the mean of all: speckle goes from it, and what stays stands out.
    What is the same on a frame as on one before is not read again.
    """
    out = Read()
    palette = dataset if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR" else None
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    if count == 1:
        for frame in islice(frames(stream, palette), 1):
            _take(out, frame, 0, [])
        return out
    mean, changes = _survey(stream, palette)
    chosen, out.skipped = choose(changes)
    before: list[list[Grey]] = []
    if mean is not None:
        _take(out, mean, 0, before)
    for number, frame in enumerate(frames(stream, palette)):
        if number in chosen:
            _take(out, frame, number, before, chosen[number])
    out.looked = sorted(chosen)
    return out


def _take(
    out: Read, frame: NDArray[Any], number: int, before: list[list[Grey]], where: NDArray[np.bool_] | None = None
) -> None:
    """Read a frame and add what is new.

    before  the planes of the frames that were read; this one's are added
    where   blocks that are looked at; None: all
    """
    if number not in out.looked:
        out.looked.append(number)
    shown = planes(frame)
    fresh: NDArray[np.bool_] | None = None
    for n, plane in enumerate(shown):
        if n:  # a line that is legible in grey is read in grey
            seen = around(cells(strokes(shown[n - 1])))
            fresh = ~seen if fresh is None else fresh & ~seen
        here = fresh
        if where is not None:
            near = _in_cells(where, plane)
            here = near if here is None else here & near
        for earlier in (others[n] for others in before if n < len(others)):
            here = changed(plane, earlier) if here is None else here & changed(plane, earlier)
        for line in read_picture(plane, number, here):
            _add(out, line, plane)
    before.append(shown)


def _add(out: Read, line: Line, shown: Grey) -> None:
    """Add a line unless it is known from another frame."""
    known = next((n for n, other in enumerate(out.lines) if _same(line, other)), None)
    if known is None or not _alike(line, out.lines[known]):
        out.lines.append(line)  # new, or what stands there changed: both are judged
    elif line.confidence <= out.lines[known].confidence:
        return  # on another frame too
    else:
        out.crops.pop(out.lines[known], None)
        out.lines[known] = line
    out.crops[line] = crop(shown, line.box)


def crop(shown: Grey, box: Box) -> Grey:
    """A line with a little of what is around it."""
    margin = 4 + (min(box[2] - box[0], box[3] - box[1]) // 2)
    x0, y0 = max(0, box[0] - margin), max(0, box[1] - margin)
    return shown[y0 : box[3] + margin, x0 : box[2] + margin].copy()


def _same(one: Line, other: Line) -> bool:
    """Whether two lines are one: at one place, or one in the other and of the same words."""
    width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    both = max(0, width) * max(0, height)
    sizes = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one.box, other.box)]
    return both > 0.5 * (sum(sizes) - both) or (both > 0.7 * min(sizes) and _alike(one, other))


def _alike(one: Line, other: Line) -> bool:
    """Whether two readings of one place are one text, perhaps misread."""
    a, b = one.text.casefold(), other.text.casefold()
    return min(one.confidence, other.confidence) <= 0.6 or SequenceMatcher(None, a, b).ratio() >= ALIKE


def _survey(stream: BinaryIO, palette: Dataset | None) -> tuple[NDArray[Any] | None, NDArray[np.float32]]:
    """(mean of all frames, block means (frames, rows, columns) in grey levels of the first frame)."""
    total: NDArray[Any] | None = None
    blocks = []
    count = 0
    low, span = 0.0, 1.0
    for frame in frames(stream, palette):
        values = frame.astype(np.float32)
        total = values if total is None else total + values
        count += 1
        plane = values.mean(2) if values.ndim == 3 else values
        if count == 1:
            low, high = (float(v) for v in np.percentile(plane, [0.5, 99.5]))
            span = max(high - low, 1e-6)
        size = (max(1, plane.shape[1] // BLOCK), max(1, plane.shape[0] // BLOCK))
        blocks.append(cv2.resize((plane - low) * (255 / span), size, interpolation=cv2.INTER_AREA))
    mean = None if total is None else (total / count).astype(frame.dtype)
    return mean, np.stack(blocks) if blocks else np.zeros((0, 1, 1), np.float32)


def choose(blocks: NDArray[np.float32]) -> tuple[dict[int, NDArray[np.bool_] | None], int]:
    """Frames to read of a loop with the blocks to look at (None: all), and how many with changes are left out.

    blocks  (frames, rows, columns) mean grey levels
    The first and the last are read wholly, and each where a block changes that is still for nearly all of the loop is
    read there.
    """
    count = len(blocks)
    moves = np.abs(np.diff(blocks, axis=0)) > CHANGED
    still = moves.mean(0) <= max(STILL, 2 / max(1, count - 1))
    events = (moves & still).sum((1, 2))
    order = [int(n) + 1 for n in np.argsort(-events, kind="stable") if events[n]]
    chosen: dict[int, NDArray[np.bool_] | None] = {n: moves[n - 1] & still for n in order[:EVENTS]}
    chosen |= {0: None, count - 1: None}
    return chosen, sum(n not in chosen for n in order)


def _in_cells(blocks: NDArray[np.bool_], plane: Grey) -> NDArray[np.bool_]:
    """Blocks and what lies around them, in the cells of a picture (see where.cells)."""
    rows, columns = -(-plane.shape[0] // CELL), -(-plane.shape[1] // CELL)
    wide = cv2.resize(blocks.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
    return around(wide > 0, AROUND)
