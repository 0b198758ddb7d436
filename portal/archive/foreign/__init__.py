"""What other systems say of images: structured reports, segmentations and presentation states in one neutral form.

Points are (column, row) with pixel centres at whole numbers; DICOM's SCOORD and PIXEL units count from the outer
corner of the first pixel (PS3.3 C.18.6.1.2, C.10.5.1.2), so 0.5 is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# SOP class → kind (PS3.4 B.5)
KINDS: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.88.11": "report",  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.22": "report",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33": "report",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.34": "report",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.88.50": "report",  # Mammography CAD SR
    "1.2.840.10008.5.1.4.1.1.88.65": "report",  # Chest CAD SR
    "1.2.840.10008.5.1.4.1.1.88.67": "report",  # X-Ray Radiation Dose SR
    "1.2.840.10008.5.1.4.1.1.88.69": "report",  # Colon CAD SR
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.11.1": "presentation",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.11.2": "presentation",  # Color Softcopy Presentation State
}
MOST_ITEMS, ROUND = 5000, 3
RING = np.linspace(0, 2 * np.pi, 73)
Points = Sequence[Sequence[float]] | NDArray[np.float64]


class Unreadable(ValueError):
    """An object that cannot be understood; the words are for people."""


@dataclass
class Item:
    """One thing on one frame, or of the study as a whole when it has no `sop_uid`.

    kind    point, line, polygon, mask, text, statement
    rings   of each outline its points; a mask has one for each border, holes among them (even-odd)
    """

    kind: str
    sop_uid: str = ""
    frame: int = 1
    rings: list[list[list[float]]] = field(default_factory=list)
    label: str = ""
    layer: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    text: str = ""
    measurements: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Layer:
    """A foreign object as it is shown.

    windows   SOP Instance UID → {"centre", "width"}
    left_out  what could not be shown → how many
    """

    kind: str
    title: str
    maker: str
    items: list[Item] = field(default_factory=list)
    windows: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        """Keep an item, or count it as left out when there are too many."""
        if len(self.items) < MOST_ITEMS:
            self.items.append(item)
        else:
            self.miss(f"more than {MOST_ITEMS} items")

    def miss(self, why: str) -> None:
        """Count something that cannot be shown."""
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def meaning(sequence: Any) -> str:
    """Code Meaning of a code sequence's first item; its value when it has none."""
    if not sequence:
        return ""
    return str(sequence[0].get("CodeMeaning") or sequence[0].get("CodeValue") or "")


def placed(points: Points) -> list[list[float]]:
    """DICOM's corner-based points with pixel centres at whole numbers. Raises Unreadable for odd ones."""
    array = np.asarray(points, dtype=float).reshape(-1, 2)
    if not np.isfinite(array).all():
        raise Unreadable("A place has no numbers.")
    return [[round(float(x), ROUND), round(float(y), ROUND)] for x, y in array - 0.5]


def drawn(graphic: str, data: Sequence[float]) -> tuple[str, list[list[float]]]:
    """(kind, points) of a graphic (PS3.3 C.18.6.1.1, C.10.5.1.2); circles and ellipses as outlines in steps of 5°.

    Raises Unreadable for a graphic that is not known or has too few points.
    """
    if len(data) < 2 or len(data) % 2:
        raise Unreadable("A graphic has half a point.")
    points = np.asarray(data, dtype=float).reshape(-1, 2)
    if graphic in {"POINT", "MULTIPOINT"}:
        return "point", placed(points)
    if graphic in {"POLYLINE", "INTERPOLATED"}:
        closed = len(points) > 3 and np.allclose(points[0], points[-1])
        return ("polygon" if closed else "line"), placed(points)
    if graphic == "CIRCLE" and len(points) == 2:
        centre, radius = points[0], np.hypot(*(points[1] - points[0]))
        return "polygon", placed(centre + radius * np.stack([np.cos(RING), np.sin(RING)], axis=1))
    if graphic == "ELLIPSE" and len(points) == 4:
        centre, major, minor = points[:2].mean(axis=0), (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
        return "polygon", placed(centre + np.cos(RING)[:, None] * major + np.sin(RING)[:, None] * minor)
    raise Unreadable(f"A graphic of the kind {graphic[:16]} is not known.")


def about(headers: Mapping[str, Any]) -> dict[str, str]:
    """Kind, title, maker and day of an object from its DICOM JSON, for a list."""

    def first(tag: str) -> Any:
        return next(iter(headers.get(tag, {}).get("Value") or []), "")

    concept = first("0040A043")
    named = concept.get("00080104", {}).get("Value", [""])[0] if isinstance(concept, dict) else ""
    title = str(named or first("00700080") or first("0008103E") or "Without title")
    maker = " ".join(str(first(tag)) for tag in ("00080070", "00081090") if first(tag))
    return {"title": title, "description": str(first("0008103E")), "maker": maker, "day": str(first("00080023"))}
