"""Frontal chest phantoms (PA) with the 14 classes of NIH ChestX-ray14 as findings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from inference.outlines import rings
from inference.phantoms import dicom
from inference.phantoms.chest_anatomy import ChestPlan, draw_normal, region_masks, shapes
from inference.phantoms.chest_findings import PAINTERS
from inference.phantoms.texture import Bool, grain
from inference.phantoms.truth import TOLERANCE, ImageTruth, LesionTruth

CHEST_CLASSES: tuple[str, ...] = tuple(PAINTERS)
FIELD_MM = 400.0
NORMAL_SHARE = 0.3


@dataclass(frozen=True)
class ChestImage:
    """One PA view: `pixels` (rows, columns) uint16 below 4096 with its truth and its DICOM object.

    regions  mask (rows, columns) of each lung and of the heart by name
    """

    seed: int
    pixels: NDArray[np.uint16]
    truth: ImageTruth
    identity: dicom.Identity
    dataset: FileDataset
    regions: dict[str, Bool]

    def write(self, folder: Path, truth: bool = True) -> list[Path]:
        """Write PA.dcm and truth.json; returns the DICOM path in a list."""
        folder = Path(folder)
        path = dicom.save(self.dataset, folder / "PA.dcm")
        if truth:
            (folder / "truth.json").write_text(json.dumps(self.truth_dict(), indent=1))
        return [path]

    def truth_dict(self) -> dict[str, Any]:
        """What truth.json holds."""
        return {
            "kind": "chest",
            "seed": self.seed,
            "study_instance_uid": self.identity.study_uid,
            "images": [self.truth.to_dict() | {"regions": {k: rings(m, TOLERANCE) for k, m in self.regions.items()}}],
        }


def chest(seed: int, *, classes: Sequence[str] | None = None, size: tuple[int, int] = (2048, 2048)) -> ChestImage:
    """Chest of a seed; the same arguments give the same bytes.

    classes  findings to draw, empty for a healthy chest, or None to let the seed draw (none in three of ten,
             else one to three)
    size     (rows, columns); the anatomy does not depend on it
    ValueError for a size under 64 or an unknown class.
    """
    if min(size) < 64:
        raise ValueError(f"size {size} is under 64 pixels")
    rng = np.random.default_rng([seed, 11])
    drawn = _draw_classes(rng)
    chosen = drawn if classes is None else tuple(classes)
    if unknown := set(chosen) - set(CHEST_CLASSES):
        raise ValueError(f"unknown chest classes: {', '.join(sorted(unknown))}")
    plan = _adapt(ChestPlan.draw(rng), chosen, rng)
    grid = shapes(plan, size)
    image = draw_normal(plan, grid)
    lesions = []
    for name in CHEST_CLASSES:
        if name in chosen:
            own = np.random.default_rng([seed, 12, CHEST_CLASSES.index(name)])
            added, mask = PAINTERS[name](own, plan, grid)
            image = image + added
            if lesion := LesionTruth.from_mask(name, name == "Mass", mask):
                lesions.append(lesion)
    pixels = _detector(np.random.default_rng([seed, 13]), image, rng)
    identity = dicom.Identity.make("chest", seed)
    truth = ImageTruth(
        sop_instance_uid=dicom.stable_uid("chest", seed),
        rows=size[0],
        columns=size[1],
        classes=tuple(name for name in CHEST_CLASSES if name in chosen),
        lesions=tuple(lesions),
        view="PA",
    )
    ds = dicom.dataset(
        pixels, identity, modality="DX", sop_uid=truth.sop_instance_uid,
        series_uid=dicom.stable_uid("chest-series", seed), instance_number=1,
        spacing_mm=round(FIELD_MM / size[0], 4), window=(2000, 3600), body_part="CHEST", view="PA",
        orientation=("L", "F"), laterality=None, description="Chest PA",
    )  # fmt: skip
    return ChestImage(seed, pixels, truth, identity, ds, region_masks(plan, grid))


def _draw_classes(rng: np.random.Generator) -> tuple[str, ...]:
    count = 0 if rng.random() < NORMAL_SHARE else int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]))
    return tuple(rng.choice(CHEST_CLASSES, size=count, replace=False))


def _adapt(plan: ChestPlan, chosen: Sequence[str], rng: np.random.Generator) -> ChestPlan:
    """Findings that change proportions rather than add a shadow."""
    wide, flat, raised = (
        float(rng.uniform(0.58, 0.72)),
        float(rng.uniform(0.2, 0.4)),
        float(rng.uniform(0.03, 0.06)),
    )
    if "Cardiomegaly" in chosen:
        plan = plan.with_changes(heart=wide)
    if "Emphysema" in chosen:
        plan = plan.with_changes(
            flatness=flat, dome_right=plan.dome_right + 0.055, dome_left=plan.dome_left + 0.055, air=1.12
        )
    if "Atelectasis" in chosen:
        plan = plan.with_changes(dome_right=plan.dome_right - raised, dome_left=plan.dome_left - raised)
    return plan


def _detector(pixel_rng: np.random.Generator, image: Any, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Exposure and contrast vary from scan to scan; quantum noise; 12 bits."""
    gain, offset = float(rng.uniform(0.9, 1.08)), float(rng.uniform(-0.03, 0.04))
    noise = grain(pixel_rng, (image.shape[0], image.shape[1]), 0.010)
    value = 0.06 + offset + gain * 0.95 * (image - 0.02) + noise
    soft = np.where(value > 0.8, 0.8 + 0.2 * np.tanh((value - 0.8) / 0.2), value)
    return np.clip(np.round(soft * 4095), 0, 4095).astype(np.uint16)
