"""Where segments lie (seed 002, claims 1 and 4-12). Pure: boxes in, boxes out.

R1  a segment keeps at least 80 % of the scan's resolution                       claim 1
R2  each lung is shown by two segments or more that overlap                      claims 5, 9
R3  no segment shows more than one lung                                          claim 10, by `allowed`
R4  a known irregularity is whole in one segment or more, and partly where
    segments overlap                                                             claims 6, 7
R5  the heart, where it overlaps the lungs too, is a region with segments of its own   claims 11, 12
R6  what lies outside the region is replaced                                     claim 4, by `allowed`

A segment is a box of whole scan pixels shown at one scale in a square input; all segments of a scan have the same
scale, so that an irregularity has the same size in each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LEAST_SCALE = 0.8
OVERLAP = 0.25
SMALLEST = 8  # pixels along a side of a region; less cannot be parted
LUNGS = ("lung_right", "lung_left")
PixelBox = tuple[int, int, int, int]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Segment:
    """A box (x0, y0, x1, y1) of scan pixels, x1 and y1 outside, that shows one region at `scale`.

    scale  input pixels per scan pixel; input pixel edge (u, v) is scan pixel edge (x0 + u/scale, y0 + v/scale)
    """

    region: str
    box: PixelBox
    scale: float

    def to_scan(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) input coordinates (u, v) → (n, 2) scan coordinates (x, y)."""
        return points / self.scale + np.array(self.box[:2], np.float64)

    def to_input(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of to_scan."""
        return (points - np.array(self.box[:2], np.float64)) * self.scale


@dataclass(frozen=True)
class Plan:
    """Segments of one scan, and in words which irregularities R4 cannot hold for at this input size."""

    segments: tuple[Segment, ...]
    unmet: tuple[str, ...] = ()


def windows(extent: int, most: int, least: int = 1, overlap: float = OVERLAP) -> tuple[tuple[int, int], ...]:
    """The fewest windows that cover [0, extent): at least `least`, each at most `most` long, neighbours sharing at
    least `overlap` of a window (rounded down to pixels, one pixel at least).

    ValueError for an extent under `least` + 1, or where `most` is under 4 pixels.
    """
    if extent < least + 1 or most < 4:
        raise ValueError(f"{least} windows of at most {most} over {extent} pixels")
    count = least
    while True:
        length = extent / (count - (count - 1) * overlap)
        size = min(math.ceil(length) + 1, extent) if count > 1 else extent
        if size <= most:
            break
        count += 1
    if count == 1:
        return ((0, extent),)
    # evenly from the first to the last; the rounding never parts neighbours, as size exceeds the step by overlap
    starts = [round(i * (extent - size) / (count - 1)) for i in range(count)]
    return tuple((start, start + size) for start in starts)


def plan(
    regions: Mapping[str, PixelBox],
    side: int,
    shape: tuple[int, int],
    irregularities: Mapping[str, Sequence[PixelBox]] | None = None,
    overlap: float = OVERLAP,
) -> Plan:
    """Segments for the boxes of the regions of a scan of `shape` = (rows, columns), for a square input of `side`.

    irregularities  region → boxes known to be abnormal in it; what of a box lies outside the scan is dropped
    The boxes of the regions should hold a margin already. ValueError for a region under SMALLEST pixels.
    """
    most = math.floor(side / LEAST_SCALE)
    found: list[tuple[str, PixelBox]] = []
    unmet: list[str] = []
    for name, region in regions.items():
        known = [_clip(box, shape) for box in (irregularities or {}).get(name, ())]
        # a finding that reaches beyond the region as found belongs to it all the same
        region = _hull([_clip(region, shape), *[box for box in known if _meet(box, region)]])
        x0, y0, x1, y1 = region
        if min(x1 - x0, y1 - y0) < SMALLEST:
            raise ValueError(f"{name} is {x1 - x0} x {y1 - y0} pixels, {SMALLEST} are needed")
        across = windows(x1 - x0, most, 1, overlap)
        down = windows(y1 - y0, most, 2 if name in LUNGS else 1, overlap)
        own = [(x0 + a, y0 + c, x0 + b, y0 + d) for c, d in down for a, b in across]
        for box in known:
            if not _meet(box, region):
                continue
            if box[2] - box[0] > most or box[3] - box[1] > most:
                unmet.append(
                    f"{name}: {box[2] - box[0]} x {box[3] - box[1]} pixels are more than one segment shows "
                    f"at {LEAST_SCALE:.0%} of the resolution ({most})"
                )
            elif not (whole_in_one(box, own) and partly_shared(box, own)):
                own.append(_around(box, (own[0][2] - own[0][0], own[0][3] - own[0][1]), region, most))
        found += [(name, box) for box in own]
    longest = max((max(b[2] - b[0], b[3] - b[1]) for _, b in found), default=1)
    return Plan(tuple(Segment(name, box, side / longest) for name, box in found), tuple(unmet))


def whole_in_one(box: PixelBox, segments: Sequence[PixelBox]) -> bool:
    """R4, first half."""
    return any(s[0] <= box[0] and s[1] <= box[1] and s[2] >= box[2] and s[3] >= box[3] for s in segments)


def partly_shared(box: PixelBox, segments: Sequence[PixelBox]) -> bool:
    """R4, second half: some pixel of the box lies in two segments."""
    return any(_meet(box, shared) for a, b in combinations(segments, 2) if (shared := _shared(a, b)) is not None)


def broken(found: Plan, regions: Mapping[str, Bool]) -> list[str]:
    """Which of R1-R3 a plan breaks for masks (rows, columns) of the regions; empty for a good one."""
    said = [f"R1: {s.region} at {s.scale:.2f}" for s in found.segments if s.scale < LEAST_SCALE]
    for name in LUNGS:
        if name not in regions or not regions[name].any():
            continue
        own = [s for s in found.segments if s.region == name]
        if len(own) < 2 or not any(_shared(a.box, b.box) for a, b in combinations(own, 2)):
            said.append(f"R2: {name} has {len(own)} segments, of which none overlap")
        shown = np.zeros_like(regions[name])
        for segment in own:
            shown |= _drawn(segment.box, regions[name].shape) & allowed(segment, regions)
        if (regions[name] & ~shown).any():
            said.append(f"R2: {int((regions[name] & ~shown).sum())} pixels of {name} are in no segment")
    for segment in found.segments:
        inside = _drawn(segment.box, next(iter(regions.values())).shape) & allowed(segment, regions)
        if sum(bool((inside & regions[name]).any()) for name in LUNGS if name in regions) > 1:
            said.append(f"R3: a segment of {segment.region} shows both lungs")
    return said


def allowed(segment: Segment, regions: Mapping[str, Bool], margin: int = 0) -> Bool:
    """(rows, columns): pixels that a segment of this region may show; the others are replaced (R3, R6).

    margin  pixels around the region that may be shown too, except those of the other lung
    A segment of the heart may show the lung that it has more of, and not the other one.
    """
    mask = regions[segment.region]
    if margin:
        mask = ndimage.binary_dilation(mask, iterations=margin) if margin < 4 else _near(mask, margin)
    out = mask.copy()
    lungs = {name: regions[name] for name in LUNGS if name in regions}
    if segment.region in lungs:
        others = [m for name, m in lungs.items() if name != segment.region]
    else:
        amounts = {name: int((m & mask & _drawn(segment.box, m.shape)).sum()) for name, m in lungs.items()}
        most = max(amounts, key=lambda name: amounts[name], default=None)
        others = [m for name, m in lungs.items() if name != most]
    for other in others:
        out &= ~other
    return out


def box_of(mask: Bool, margin: float = 0.0) -> PixelBox | None:
    """Smallest box around a mask, widened by `margin` of its longer side within the mask's bounds; None if empty."""
    ys, xs = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(ys):
        return None
    add = round(margin * max(xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]))
    rows, columns = mask.shape
    left, top = max(0, int(xs[0]) - add), max(0, int(ys[0]) - add)
    return left, top, min(columns, int(xs[-1]) + 1 + add), min(rows, int(ys[-1]) + 1 + add)


def _near(mask: Bool, margin: int) -> Bool:
    near: Bool = ndimage.distance_transform_edt(~mask) <= margin
    return near


def _around(box: PixelBox, size: tuple[int, int], region: PixelBox, most: int) -> PixelBox:
    """A window of about `size` that holds the box, in its middle where the region leaves room."""
    spans = []
    for low, high, length, first, last in (
        (box[0], box[2], size[0], region[0], region[2]),
        (box[1], box[3], size[1], region[1], region[3]),
    ):
        length = min(max(length, high - low), most, last - first)
        start = min(max((low + high - length) // 2, first), last - length)
        spans.append((start, start + length))
    (x0, x1), (y0, y1) = spans
    return x0, y0, x1, y1


def _clip(box: PixelBox, shape: tuple[int, int]) -> PixelBox:
    rows, columns = shape
    return max(0, box[0]), max(0, box[1]), min(columns, box[2]), min(rows, box[3])


def _hull(boxes: Sequence[PixelBox]) -> PixelBox:
    x0, y0 = (min(box[i] for box in boxes) for i in (0, 1))
    x1, y1 = (max(box[i] for box in boxes) for i in (2, 3))
    return x0, y0, x1, y1


def _meet(a: PixelBox, b: PixelBox) -> bool:
    return _shared(a, b) is not None


def _shared(a: PixelBox, b: PixelBox) -> PixelBox | None:
    out = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return out if out[0] < out[2] and out[1] < out[3] else None


def _drawn(box: PixelBox, shape: tuple[int, ...]) -> Bool:
    out = np.zeros(shape, dtype=bool)
    out[box[1] : box[3], box[0] : box[2]] = True
    return out
