"""From a scan and its regions to segments with what each may show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference.segments.cut import cut
from inference.segments.regions import Regions
from inference.segments.rules import LUNGS, Bool, PixelBox, Plan, Segment, allowed, plan

MARGIN = 0.02  # of the scan's side around a region that its segments show too


@dataclass(frozen=True)
class Laid:
    """A scan's plan with what each of its segments may show.

    shown  per segment (n, n) bool over the whole scan, on the grid of the finder
    side   of the square input
    """

    plan: Plan
    shown: tuple[Bool, ...]
    shape: tuple[int, int]
    side: int

    def inputs(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(S, side, side) of a scan (rows, columns) in [0, 1]."""
        pairs = zip(self.plan.segments, self.shown, strict=True)
        return np.stack([cut(pixels, segment, self.window(segment, shown), self.side) for segment, shown in pairs])

    def window(self, segment: Segment, shown: Bool) -> Bool:
        """(height, width) of the segment's box in scan pixels."""
        x0, y0, x1, y1 = segment.box
        n = shown.shape[0]
        return shown[np.ix_(np.arange(y0, y1) * n // self.shape[0], np.arange(x0, x1) * n // self.shape[1])]

    def cells(self, n: int) -> tuple[Bool, ...]:
        """`shown` of each segment at the centres of n×n cells over the scan."""
        at = ((np.arange(n) + 0.5) * self.shown[0].shape[0] / n).astype(int)
        return tuple(shown[np.ix_(at, at)] for shown in self.shown)


def lay(found: Regions, side: int, irregularities: Mapping[str, Sequence[PixelBox]] | None = None) -> Laid | None:
    """Segments of the regions that were found, for square inputs of `side`; None where there is no lung.

    irregularities  region → boxes in scan pixels that are known to be abnormal there
    """
    boxes = {name: box for name in found.masks if (box := found.box(name)) is not None}
    if not any(name in boxes for name in LUNGS):
        return None
    laid = plan(boxes, side, found.shape, irregularities)
    masks = {name: found.masks[name] for name in boxes}
    margin = round(MARGIN * found.side)
    shown = [allowed(_on_grid(segment, found), masks, margin) for segment in laid.segments]
    return Laid(laid, tuple(shown), found.shape, side)


def _on_grid(segment: Segment, found: Regions) -> Segment:
    """The same segment in cells of the finder's grid."""
    fx, fy = found.side / found.shape[1], found.side / found.shape[0]
    x0, y0, x1, y1 = segment.box
    return replace(segment, box=(int(x0 * fx), int(y0 * fy), math.ceil(x1 * fx), math.ceil(y1 * fy)))
