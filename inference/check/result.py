"""What the input check says of one picture: frozen, JSON in and out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from inference.check.categories import Category


@dataclass(frozen=True)
class InputCheck:
    """One picture.

    category, probabilities  what it shows, by the picture alone; `certain` by the package's threshold
    claimed                  what the header says, None where it says too little
    inverted                 bright is dark; None for a category in which that cannot be told
    rotation                 degrees clockwise by which it is turned (0, 90, 180, 270); None where up is not known
    cut_off                  lungs at the border, in words; frontal chests only
    quality                  measures by name (inference.check.quality); `poor` names those past their limits, in words
    mismatches               where header and picture disagree, in words; empty for a picture as claimed
    """

    sop_instance_uid: str
    category: Category
    probabilities: dict[str, float]
    certain: bool
    claimed: Category | None
    inverted: bool | None
    inverted_probability: float
    rotation: int | None
    rotation_probability: float
    cut_off: tuple[str, ...]
    quality: dict[str, float]
    poor: tuple[str, ...]
    mismatches: tuple[str, ...]
    function_id: str
    version: str
    weights_sha256: str
    code_version: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def fine(self) -> bool:
        """Whether nothing speaks against using the picture as its header says."""
        return not (self.mismatches or self.poor or self.cut_off)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        out: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("cut_off", "poor", "mismatches", "warnings"):
            out[name] = list(out[name])
        return out | {"probabilities": dict(self.probabilities), "quality": dict(self.quality)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> InputCheck:
        """Inverse of to_dict."""
        known = {item.name: raw[item.name] for item in fields(cls)}
        for name in ("cut_off", "poor", "mismatches", "warnings"):
            known[name] = tuple(known[name])
        return cls(**known)
