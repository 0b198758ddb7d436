"""What people and models drew, in one neutral form, and how it goes into DICOM. Pure functions.

Everywhere here pixel centres are whole numbers; DICOM counts from the outer corner of the first pixel, whose centre
is 0.5\\0.5 (SCOORD: PS3.3 C.18.6.1.2; presentation states in PIXEL units: PS3.3 C.10.5.1.2), so 0.5 is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon as filled
from skimage.measure import find_contours

Points = NDArray[np.float64]
CLOSED = frozenset({"rectangle", "ellipse", "freehand", "contour"})
ELLIPSE_POINTS = 72


@dataclass(frozen=True)
class Shape:
    """One thing on one frame.

    tool     rectangle, ellipse (two corners of the box around it), freehand, contour (closed by themselves),
             length, arrow (two points)
    points   (N, 2) columns and rows
    label    the class's name in words
    words    what is written beside it; "" for nothing
    layer    who drew it: "TRUTH", "READER 1", "MODEL"
    key      tells shapes of one object apart and stays the same when the object is made again
    """

    sop_uid: str
    frame: int
    tool: str
    points: tuple[tuple[float, float], ...]
    label: str
    layer: str
    key: str
    words: str = ""
    rating: float | None = None

    @property
    def has_area(self) -> bool:
        """Whether it encloses something."""
        box = np.ptp(np.array(self.points, dtype=float), axis=0)
        return self.tool in CLOSED and bool((box > 0).all())


def of_mark(mark: Mapping[str, Any], labels: Mapping[str, str], layer: str) -> Shape:
    """A stored mark: {"id", "sop_uid", "frame", "tool", "points_px", "label", "rating", "text", "measurements"}."""
    code = str(mark.get("label") or "")
    label = labels.get(code) or (code.replace("_", " ").capitalize() if code else "Finding")
    measured = mark.get("measurements") or {}
    words = [label if code else "", str(mark.get("text") or "")]
    words += [f"{measured[name]:g} {unit}" for name, unit in (("length_mm", "mm"), ("area_mm2", "mm²"))
              if isinstance(measured.get(name), int | float)]  # fmt: skip
    points = tuple((float(x), float(y)) for x, y in mark["points_px"])
    said = ", ".join(word for word in words if word)
    rating = mark.get("rating")
    return Shape(mark["sop_uid"], int(mark.get("frame") or 1), mark["tool"], points, label, layer,
                 str(mark["id"]), said, None if rating is None else float(rating))  # fmt: skip


def of_box(box: Sequence[float], sop_uid: str, frame: int, label: str, layer: str, key: str, words: str) -> Shape:
    """A box x0, y0, x1, y1."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return Shape(sop_uid, frame, "rectangle", ((x0, y0), (x1, y1)), label, layer, key, words)


def outline(shape: Shape) -> Points:
    """(N, 2): the line as drawn; closed shapes end where they begin, an ellipse is followed in steps of 5°."""
    points = np.array(shape.points, dtype=float)
    if shape.tool == "rectangle":
        (x0, y0), (x1, y1) = points[:2]
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])
    if shape.tool == "ellipse":
        centre, radius = points[:2].mean(axis=0), np.abs(points[1] - points[0]) / 2
        angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS + 1)
        ring = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        ring[-1] = ring[0]
        return ring
    if shape.tool in CLOSED and not np.array_equal(points[0], points[-1]):
        return np.vstack([points, points[:1]])
    return points


def in_dicom(points: Points, columns: int, rows: int) -> Points:
    """From pixel centres to DICOM's corner-based coordinates, cut at the image's edge."""
    return np.clip(points + 0.5, 0, [columns, rows])


def mask(shape: Shape, columns: int, rows: int) -> NDArray[np.uint8]:
    """(rows, columns) of 0 and 1: pixels whose centre lies within a closed shape, or on its line."""
    out = np.zeros((rows, columns), np.uint8)
    points = outline(shape)
    out[filled(points[:, 1], points[:, 0], out.shape)] = 1
    if shape.tool == "rectangle":  # the centres on all four sides belong to a box, not only those on two
        x0, y0 = np.ceil(points.min(axis=0)).clip(0).astype(int)
        x1, y1 = np.floor(points.max(axis=0)).astype(int)
        out[y0 : max(y1 + 1, 0), x0 : max(x1 + 1, 0)] = 1
    return out


def contours(matrix: NDArray[np.uint8], threshold: float, columns: int, rows: int) -> list[Points]:
    """Outlines, in image pixels, of where a probability map reaches its threshold.

    matrix  (N, N) uint8, probability × 255, over the whole image; values are taken to lie at the cells' centres and
            to fall to 0 outside. Contours are cut at the image's edge. [] where nothing reaches it.
    """
    cells_down, cells_along = matrix.shape
    reaching = np.flatnonzero(np.arange(256) / 255.0 >= threshold)
    if not len(reaching):
        return []
    # half a step below the lowest value that reaches the threshold: such a cell's centre lies inside, others outside
    level = max(float(reaching[0]), 1.0) - 0.5
    found = []
    for line in find_contours(np.pad(matrix.astype(float), 1), level):
        y, x = (line[:, 0] - 0.5) * rows / cells_down - 0.5, (line[:, 1] - 0.5) * columns / cells_along - 0.5
        found.append(np.clip(np.stack([x, y], axis=1), -0.5, [columns - 0.5, rows - 0.5]))
    return found


def layers(shapes: Iterable[Shape]) -> list[str]:
    """The layers in the order in which they first occur."""
    return list(dict.fromkeys(shape.layer for shape in shapes))
