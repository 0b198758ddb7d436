"""Read the text of a whole instance: one frame, or the frames of a cine loop on which something can have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.deidentify.pixels.reader import Line, read_picture
from portal.deidentify.pixels.shown import Grey, frames, grey
from portal.deidentify.pixels.where import Box

EVENTS = 12  # frames read because something changed where little moves
BLOCK = 16  # pixels a side of what is compared from frame to frame
STILL = 0.1  # of the frames: a block that changes in fewer is a still one
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


def read(
    stream: BinaryIO,
    dataset: Dataset,
    picture: Callable[[Grey, int], list[Line]] = read_picture,
) -> Read:
    """Read the text in an instance's pixels. Raises NotShown when they cannot be decoded.

    stream   the file; dataset its header. Of many frames one at a time is in memory.
    A line that is on several frames is given once. Of a loop the first and the last frame are read, those where
    something changes that is otherwise still, and the mean of all: speckle goes from it, and what stays stands out.
    """
    out = Read()
    palette = dataset if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR" else None
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    if count == 1:
        for frame in islice(frames(stream, palette), 1):
            _take(out, grey(frame), 0, picture)
        return out
    mean, changes = _survey(stream, palette)
    chosen, out.skipped = choose(changes)
    if mean is not None:
        _take(out, grey(mean), 0, picture)
    wanted = set(chosen)
    for number, frame in enumerate(frames(stream, palette)):
        if number in wanted:
            _take(out, grey(frame), number, picture)
    out.looked = sorted(wanted)
    return out


def _take(out: Read, shown: Grey, number: int, picture: Callable[[Grey, int], list[Line]]) -> None:
    if number not in out.looked:
        out.looked.append(number)
    for line in picture(shown, number):
        known = next((n for n, other in enumerate(out.lines) if _same(line.box, other.box)), None)
        if known is None:
            out.lines.append(line)
        elif line.confidence <= out.lines[known].confidence or line.text == out.lines[known].text:
            continue  # on another frame too
        elif _other_text(line, out.lines[known]):
            out.lines.append(line)  # what stands there changed: both are judged
        else:
            out.crops.pop(out.lines[known], None)
            out.lines[known] = line
        if line in out.lines:
            out.crops[line] = crop(shown, line.box)


def crop(shown: Grey, box: Box) -> Grey:
    """A line with a little of what is around it."""
    margin = 4 + (min(box[2] - box[0], box[3] - box[1]) // 2)
    x0, y0 = max(0, box[0] - margin), max(0, box[1] - margin)
    return shown[y0 : box[3] + margin, x0 : box[2] + margin].copy()


def _same(one: Box, other: Box) -> bool:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, width) * max(0, height)
    either = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - both
    return both > 0.5 * either


def _other_text(one: Line, other: Line) -> bool:
    """Whether two readings of one place are two texts, and not one that was misread."""
    a, b = one.text.casefold(), other.text.casefold()
    equal = sum(x == y for x, y in zip(a, b, strict=False))
    return equal < 0.5 * max(len(a), len(b)) and min(one.confidence, other.confidence) > 0.6


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


def choose(blocks: NDArray[np.float32]) -> tuple[list[int], int]:
    """Frames to read of a loop, and how many with changes are left out.

    blocks  (frames, rows, columns) mean grey levels
    The first, the last, and each where a block changes that is still for nearly all of the loop.
    """
    count = len(blocks)
    moves = np.abs(np.diff(blocks, axis=0)) > CHANGED
    still = moves.mean(0) <= max(STILL, 2 / max(1, count - 1))
    events = (moves & still).sum((1, 2))
    order = [int(n) + 1 for n in np.argsort(-events, kind="stable") if events[n]]
    chosen = {0, count - 1, *order[:EVENTS]}
    return sorted(chosen), sum(n not in chosen for n in order)
