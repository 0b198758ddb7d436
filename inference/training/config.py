"""Everything that decides a training run; saved beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CHEST_CLASSES = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip


@dataclass(frozen=True)
class Augmentation:
    """Ranges from which one change per image is drawn.

    zoom      part of the image's side that is shown (below 1 enlarges)
    shift     largest shift, part of the side
    rotation  largest turn in degrees
    tone      spread of gamma, contrast and brightness
    flip      mirror upside down (breasts: CC views have no fixed up after mirroring)
    """

    zoom: tuple[float, float] = (0.9, 1.1)
    shift: float = 0.04
    rotation: float = 7.0
    tone: float = 0.15
    flip: bool = False


# Seed 001: zoom from [0.25, 0.75], ±50 pixels of 512, ±25 degrees.
AUGMENTATIONS = {
    "mild": Augmentation(),
    "seed001": Augmentation(zoom=(0.25, 0.75), shift=50 / 512, rotation=25.0),
    "none": Augmentation((1.0, 1.0), 0.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class TrainConfig:
    """One run. Learning rate and weight decay are those of seed 001 (Adam 1e-3, 1e-5)."""

    family: str  # "heatmap" or "malignancy"
    data: str  # "phantoms", "nih64" or "folder"
    out: str
    root: str = ""
    count: int = 1500  # phantom images (chest) or cases (breast)
    seed: int = 1
    input_size: tuple[int, int] = (256, 256)
    width: int = 16
    growth: int = 12
    depth: int = 2
    r0: float = 5.0
    classes: tuple[str, ...] = CHEST_CLASSES
    epochs: int = 12  # length of the learning rate's schedule
    stop: int = 0  # end after this many epochs of it; 0: all
    patience: int = 4
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    roi_weight: float = 1.0  # 0: labels of whole images only
    threads: int = 2
    minutes: float = 10.0  # stop after the epoch in which this is passed
    augmentation: Augmentation = field(default_factory=Augmentation)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write config.json."""
        path.write_text(json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read config.json."""
        raw = json.loads(path.read_text())
        raw["augmentation"] = Augmentation(**{**raw["augmentation"], "zoom": tuple(raw["augmentation"]["zoom"])})
        raw["input_size"], raw["classes"] = tuple(raw["input_size"]), tuple(raw["classes"])
        return cls(**raw)
