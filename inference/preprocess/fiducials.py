"""Where identities were covered in an image: rectangles that say nothing about the patient (seed 001 FIG. 10B).

The portal's de-identification writes them into a private block of the header; whatever measures an image leaves
them out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

GROUP, CREATOR = 0x0099, "CONCORD FIDUCIALS"
BLOCK: Mapping[str, int] = {"boxes": 0x01, "kinds": 0x02}  # elements of the block: UL x0 y0 x1 y1 …, LO kinds


def boxes(ds: Dataset) -> list[tuple[int, int, int, int]]:
    """x0, y0, x1, y1 of each fiducial, the ends not included; none where the header names none."""
    try:
        values = ds.private_block(GROUP, CREATOR)[BLOCK["boxes"]].value
    except KeyError:
        return []
    if isinstance(values, bytes):  # implicit value representation: nothing says what a private element is
        values = np.frombuffer(values[: len(values) // 4 * 4], "<u4")
    numbers = [int(v) for v in (values if hasattr(values, "__len__") else [values])]
    return [tuple(numbers[n : n + 4]) for n in range(0, len(numbers) - 3, 4)]  # type: ignore[misc]


def mask(ds: Dataset, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """(rows, columns), true where a fiducial lies; None where there is none."""
    found = boxes(ds)
    if not found:
        return None
    out = np.zeros(shape[:2], np.bool_)
    for x0, y0, x1, y1 in found:
        out[y0:y1, x0:x1] = True
    return out
