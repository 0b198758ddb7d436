"""Everything that decides a training run; saved beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.preprocess import Prepared
from inference.preprocess.views import prepare_breast, prepare_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    data: str  # a word of inference.datasets.SOURCES
    out: str
    root: str = ""
    count: int = 1500  # phantom images (chest) or cases (breast)
    seed: int = 1
    shares: tuple[float, float] = (0.7, 0.15)  # of the patients, for training and validation; the rest is the test
    input_size: tuple[int, int] = (256, 256)
    network: str = "multiresolution"  # or "resnet18", the baseline
    start: str = ""  # weights.safetensors of a run or package of the same network, to go on from with other data
    width: int = 16
    growth: int = 12
    depth: int = 2
    r0: float = 5.0
    pooling: str = "lse_lba"  # or another name of inference.networks.pooling.POOLINGS
    segments_of: int = 0  # train on segments cut from scans of this side (inference.segments); 0: on whole scans
    patient_inputs: bool = False  # age, sex and view as extra input
    classes: tuple[str, ...] = CHEST_CLASSES
    epochs: int = 12  # length of the learning rate's plan
    stop: int = 0  # end after this many epochs of it; 0: all
    patience: int = 4
    keep: str = "best"  # weights of the best epoch by validation, or "last": few validation patients choose by chance
    batch: int = 16
    plan: str = "one-cycle"  # or "constant", or "plateau" (a tenth after half the patience without gain)
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    roi_weight: float = 1.0  # 0: labels of whole images only
    threads: int = 2
    workers: int = 0  # processes that read images beside the training
    memory_mb: int = 4096  # prepared images up to this stay in memory, more go to a file below `cache`
    cache: str = ""  # folder for those, and for drawn phantoms
    devices: str = "auto"  # "auto", "cpu", or a number of GPUs (of processes without one), as torchrun starts
    precision: str = "32-true"  # "16-mixed" or "bf16-mixed" on GPUs
    deterministic: bool = False
    tensorboard: bool = False
    minutes: float = 10.0  # stop after the epoch in which this is passed
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of the network's finest map."""
        if self.family == "heatmap":
            return 64, 64
        return self.input_size[0] // 8, self.input_size[1] // 8

    def prepare(self, pixels: NDArray[Any]) -> Prepared:
        """The family's preparation of display values (rows, columns) in [0, 1]."""
        return (prepare_whole if self.family == "heatmap" else prepare_breast)(pixels, self.input_size)

    def __post_init__(self) -> None:
        """ValueError for shares that leave no test, and for an unknown `keep`."""
        if not (min(self.shares) > 0 and sum(self.shares) < 1):
            raise ValueError(f"shares {self.shares} must be over 0 and leave something for the test")
        if self.keep not in {"best", "last"}:
            raise ValueError(f"keep is {self.keep!r}, it must be best or last")

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
        for name in ("input_size", "classes", "shares"):
            raw[name] = tuple(raw[name])
        return cls(**raw)
