"""Body regions of one scan as masks over a coarse grid that covers it, with the way to scan pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from inference.outlines import rings
from inference.phantoms.chest_anatomy import REGIONS
from inference.segments.rules import LUNGS, Bool, PixelBox, box_of

Float = NDArray[np.float32]
LEAST_SHARE = 0.006  # of the scan; a smaller part is no lung
TITLES = {"lung_right": "right lung", "lung_left": "left lung", "heart": "heart"}


@dataclass(frozen=True)
class Regions:
    """What the finder saw.

    masks     region → (n, n) bool over the whole scan; no pixel is in both lungs; missing regions are empty
    shape     (rows, columns) of the scan
    warnings  in words: what is missing, what is cut off by the border
    """

    masks: dict[str, Bool]
    shape: tuple[int, int]
    warnings: tuple[str, ...] = ()

    @property
    def side(self) -> int:
        """Cells of the grid along a side."""
        return int(next(iter(self.masks.values())).shape[0])

    @property
    def missing(self) -> tuple[str, ...]:
        """Regions that were not found."""
        return tuple(name for name in REGIONS if not self.masks[name].any())

    def box(self, name: str, margin: float = 0.04) -> PixelBox | None:
        """Box of a region in scan pixels, widened by part of its longer side; None where it was not found."""
        found = box_of(self.masks[name], margin)
        if found is None:
            return None
        fy, fx = self.shape[0] / self.side, self.shape[1] / self.side
        x0, y0, x1, y1 = found
        right, bottom = math.ceil(x1 * fx), math.ceil(y1 * fy)
        return int(x0 * fx), int(y0 * fy), min(self.shape[1], right), min(self.shape[0], bottom)

    def mask(self, name: str, shape: tuple[int, int] | None = None) -> Bool:
        """(rows, columns) of the scan, or of another grid over the whole scan."""
        rows, columns = shape or self.shape
        picture = Image.fromarray(self.masks[name].astype(np.float32))
        return np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR)) > 0.5

    def to_dict(self) -> dict[str, Any]:
        """JSON form: outlines [[x, y], …] in scan pixels per region, for drawing and export."""
        fy, fx = self.shape[0] / self.side, self.shape[1] / self.side
        drawn = {
            name: [[[round((x + 0.5) * fx, 1), round((y + 0.5) * fy, 1)] for x, y in line] for line in rings(m, 0.4)]
            for name, m in self.masks.items()
        }
        return {"shape": list(self.shape), "outlines": drawn, "warnings": list(self.warnings)}


def from_probabilities(p: Float, shape: tuple[int, int]) -> Regions:
    """Masks of probabilities (R, n, n): over a half, one lung a pixel, the largest part of each, holes filled.

    Parts of a lung that a rib or a device cuts off stay with it when they are at least a fifth of the largest.
    """
    masks: dict[str, Bool] = {}
    warnings: list[str] = []
    for index, name in enumerate(REGIONS):
        mask = p[index] > 0.5
        if name in LUNGS:
            other = p[REGIONS.index(LUNGS[1 - LUNGS.index(name)])]
            # ties go to the right lung, so that no pixel is in both
            mask &= (p[index] >= other) if name == LUNGS[0] else (p[index] > other)
        mask = _largest(mask)
        if mask.sum() < LEAST_SHARE * mask.size:
            mask = np.zeros_like(mask)
            warnings.append(f"{TITLES[name]} not found")
        elif name in LUNGS and (edge := _cut_share(mask)) > 0.12:
            warnings.append(f"{TITLES[name]} reaches the border of the picture ({edge:.0%} of its outline)")
        masks[name] = mask
    right, left = masks[LUNGS[0]], masks[LUNGS[1]]
    left &= ~right  # filled holes may have met
    if right.any() and left.any() and _middle(right) > _middle(left):
        warnings.append("the right lung lies right of the left one: mirrored, or not a frontal chest")
    return Regions(masks, shape, tuple(warnings))


def _middle(mask: Bool) -> float:
    return float(np.nonzero(mask)[1].mean())


def _largest(mask: Bool) -> Bool:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: Bool = np.isin(labels, np.flatnonzero(sizes >= 0.2 * sizes.max()))
    filled: Bool = ndimage.binary_fill_holes(kept & (labels > 0))
    return filled


def _cut_share(mask: Bool) -> float:
    """Part of the outline that lies on the border of the picture."""
    border = np.zeros_like(mask)
    border[0], border[-1], border[:, 0], border[:, -1] = True, True, True, True
    outline = mask & ~ndimage.binary_erosion(mask)
    return float((outline & border).sum() / max(int(outline.sum()), 1))
