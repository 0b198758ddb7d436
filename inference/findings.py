"""What an inference function found: frozen, JSON in and out."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Region:
    """A place over its threshold: box (x0, y0, x1, y1) and outline in image pixels, score in [0, 1]."""

    class_name: str
    box: Box
    score: float
    polygon: Polygon | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        out = {"class_name": self.class_name, "box": list(self.box), "score": self.score}
        return out | ({"polygon": [list(p) for p in self.polygon]} if self.polygon else {})

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Region:
        """Inverse of to_dict."""
        return cls(raw["class_name"], _box(raw["box"]), float(raw["score"]), _polygon(raw.get("polygon")))


@dataclass(frozen=True)
class Lesion:
    """A suspicious place of one image of a case, in that image's pixels."""

    sop_instance_uid: str
    box: Box
    score: float
    class_name: str
    polygon: Polygon | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        out = {
            "sop_instance_uid": self.sop_instance_uid,
            "box": list(self.box),
            "score": self.score,
            "class_name": self.class_name,
        }
        return out | ({"polygon": [list(p) for p in self.polygon]} if self.polygon else {})

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Lesion:
        """Inverse of to_dict."""
        return cls(
            raw["sop_instance_uid"],
            _box(raw["box"]),
            float(raw["score"]),
            raw["class_name"],
            _polygon(raw.get("polygon")),
        )


@dataclass(frozen=True)
class CaseFindings:
    """The case rule's result (seed 000, FIG. 9-10).

    sides, views  mean scores, keys "L", "R" and "L-CC" and so on; views that were not there are in
                  `missing_views`
    lesions       empty unless `call` (the gate)
    """

    score: float
    call: bool
    threshold: float
    sides: dict[str, float]
    views: dict[str, float]
    missing_views: tuple[str, ...]
    lesions: tuple[Lesion, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "score": self.score,
            "call": self.call,
            "threshold": self.threshold,
            "sides": dict(self.sides),
            "views": dict(self.views),
            "missing_views": list(self.missing_views),
            "lesions": [lesion.to_dict() for lesion in self.lesions],
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> CaseFindings:
        """Inverse of to_dict."""
        return cls(
            float(raw["score"]),
            bool(raw["call"]),
            float(raw["threshold"]),
            dict(raw["sides"]),
            dict(raw["views"]),
            tuple(raw["missing_views"]),
            tuple(Lesion.from_dict(item) for item in raw["lesions"]),
        )


@dataclass(frozen=True)
class ImageFindings:
    """Output for one image.

    matrices              row N → (K, N, N) uint8, probability × 255, over the whole image, C order;
                          empty where the gate holds localisation back
    global_probabilities  one per class
    present               by each class's own threshold
    any_probability       of at least one class, compared with its own threshold for `any_abnormality`
    joined                absent classes that go with a present one: class → that one, by the training labels'
                          correlation
    score                 malignancy functions: the image's score
    """

    sop_instance_uid: str
    study_instance_uid: str
    rows: int
    columns: int
    laterality: str | None
    view: str | None
    score: float | None
    matrices: dict[int, NDArray[np.uint8]]
    global_probabilities: dict[str, float]
    present: dict[str, bool]
    any_abnormality: bool
    regions: tuple[Region, ...]
    warnings: tuple[str, ...] = ()
    any_probability: float | None = None
    joined: dict[str, str] = field(default_factory=dict)

    def to_dict(self, matrices: bool = True) -> dict[str, Any]:
        """JSON form; without `matrices` for callers that store the arrays themselves."""
        out: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        out["regions"] = [region.to_dict() for region in self.regions]
        out["warnings"] = list(self.warnings)
        out["global_probabilities"], out["present"] = dict(self.global_probabilities), dict(self.present)
        out["matrices"] = {str(row): _packed(array) for row, array in self.matrices.items()} if matrices else {}
        return out

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ImageFindings:
        """Inverse of to_dict."""
        known = {item.name: raw[item.name] for item in fields(cls) if item.name in raw}
        known["matrices"] = {int(row): _unpacked(item) for row, item in raw["matrices"].items()}
        known["regions"] = tuple(Region.from_dict(item) for item in raw["regions"])
        known["warnings"] = tuple(raw["warnings"])
        return cls(**known)


@dataclass(frozen=True)
class Findings:
    """Everything one run of a function says, with its provenance.

    parameters  what decided the result besides the weights: thresholds, input size, classes in the order
                of the matrices
    timings_ms  "read", "predict", "findings", "total" in milliseconds
    """

    function_id: str
    version: str
    weights_sha256: str
    code_version: str
    device: str
    parameters: dict[str, Any]
    timings_ms: dict[str, float]
    output_type: str
    images: tuple[ImageFindings, ...]
    case: CaseFindings | None = None
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self, matrices: bool = True) -> dict[str, Any]:
        """JSON form; see ImageFindings.to_dict for `matrices`."""
        out: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        out["images"] = [image.to_dict(matrices) for image in self.images]
        out["case"] = self.case.to_dict() if self.case else None
        out["warnings"] = list(self.warnings)
        return out

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Findings:
        """Inverse of to_dict."""
        known = {item.name: raw[item.name] for item in fields(cls)}
        known["images"] = tuple(ImageFindings.from_dict(item) for item in raw["images"])
        known["case"] = CaseFindings.from_dict(raw["case"]) if raw["case"] else None
        known["warnings"] = tuple(raw["warnings"])
        return cls(**known)


def _box(raw: Any) -> Box:
    x0, y0, x1, y1 = (float(value) for value in raw)
    return x0, y0, x1, y1


def _polygon(raw: Any) -> Polygon | None:
    return tuple((float(x), float(y)) for x, y in raw) if raw else None


def _packed(array: NDArray[np.uint8]) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(array, dtype=np.uint8).tobytes()).decode("ascii")
    return {"shape": list(array.shape), "data": data}


def _unpacked(raw: dict[str, Any]) -> NDArray[np.uint8]:
    flat = np.frombuffer(base64.b64decode(raw["data"]), dtype=np.uint8)
    return flat.reshape(raw["shape"])
