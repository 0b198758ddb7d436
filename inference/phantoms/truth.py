"""Known truth of a phantom: classes, boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from skimage import draw

from inference.outlines import rings
from inference.phantoms.texture import Bool

TOLERANCE = 1.5  # pixels by which an outline may leave a mask's edge


@dataclass(frozen=True)
class LesionTruth:
    """One abnormality of one image.

    box   (x0, y0, x1, y1) in image pixels; x1 and y1 lie outside
    mask  (rows, columns) of the image, True inside
    """

    kind: str
    malignant: bool
    box: tuple[float, float, float, float]
    mask: Bool

    @classmethod
    def from_mask(cls, kind: str, malignant: bool, mask: Bool) -> LesionTruth | None:
        """Lesion with the tight box of its mask; None where nothing of it is in the image."""
        ys, xs = np.nonzero(mask)
        if len(xs) == 0:
            return None
        box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        return cls(kind, malignant, box, mask)

    @classmethod
    def from_dict(cls, raw: dict[str, Any], shape: tuple[int, int]) -> LesionTruth:
        """Entry of truth.json → lesion; nested outlines are holes (even-odd rule)."""
        mask = np.zeros(shape, dtype=bool)
        for outline in raw["outlines"]:
            points = np.array(outline)
            mask ^= draw.polygon2mask(shape, points[:, ::-1])
        return cls(raw["kind"], bool(raw["malignant"]), tuple(raw["box"]), mask)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: the mask as outlines."""
        return {
            "kind": self.kind,
            "malignant": self.malignant,
            "box": list(self.box),
            "outlines": rings(self.mask, TOLERANCE),
        }


@dataclass(frozen=True)
class ImageTruth:
    """What is known of one image; `classes` are the abnormality classes present."""

    sop_instance_uid: str
    rows: int
    columns: int
    classes: tuple[str, ...]
    lesions: tuple[LesionTruth, ...]
    laterality: str | None = None
    view: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def malignant(self) -> bool:
        """Whether the image shows a malignant lesion."""
        return any(lesion.malignant for lesion in self.lesions)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ImageTruth:
        """Entry of truth.json → truth; masks are filled from their outlines."""
        rows, columns = int(raw["rows"]), int(raw["columns"])
        known = {
            "sop_instance_uid",
            "rows",
            "columns",
            "classes",
            "malignant",
            "laterality",
            "view",
            "lesions",
        }
        return cls(
            sop_instance_uid=raw["sop_instance_uid"],
            rows=rows,
            columns=columns,
            classes=tuple(raw["classes"]),
            lesions=tuple(LesionTruth.from_dict(item, (rows, columns)) for item in raw["lesions"]),
            laterality=raw.get("laterality"),
            view=raw.get("view"),
            extra={key: value for key, value in raw.items() if key not in known},
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form, one entry of truth.json."""
        return {
            "sop_instance_uid": self.sop_instance_uid,
            "rows": self.rows,
            "columns": self.columns,
            "classes": list(self.classes),
            "malignant": self.malignant,
            "laterality": self.laterality,
            "view": self.view,
            "lesions": [lesion.to_dict() for lesion in self.lesions],
            **self.extra,
        }
