"""A function package from a training run: thresholds, figures, card, hashes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from inference.evaluation.outside import on_real_scans
from inference.evaluation.report import Baseline, Report, beside, evaluate
from inference.package.card import write_card
from inference.package.function import load
from inference.package.manifest import CARD, MANIFEST, WEIGHTS, to_toml
from inference.preprocess.patient import LENGTH

CATEGORIES: dict[str, dict[str, Any]] = {
    "heatmap": {"modality": ["DX", "CR"], "body_region": "CHEST"},
    "malignancy": {"modality": ["MG"], "body_region": "BREAST"},
}
TITLES = {
    "heatmap": "Chest x-ray heat maps, 14 classes",
    "malignancy": "Mammography malignancy by case",
}


def build_package(
    run: Path,
    out: Path,
    function_id: str | None = None,
    version: str = "0.1.0",
    command: str = "",
    baseline: Path | None = None,
    trial: str = "",
) -> Path:
    """Write function.toml, weights.safetensors and card.md to `out`; returns it.

    command   what makes this package again, for the card
    baseline  run of another network on the same parts, for the card
    trial     why nobody's worklist is to see its output before an engineer says so
    The card is written twice: the package has to load before real scans can be shown to it.
    """
    report = evaluate(run)
    other = beside(report, baseline) if baseline else None
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / WEIGHTS, out / WEIGHTS)
    function_id = function_id or out.name
    for outside in (None, on_real_scans):
        # real scans are shown whole, which is not what a function for segments reads, and are no news to one
        # that was trained on some of them
        lines = outside(load(out, "cpu")) if outside and _stranger(report) else []
        write_card(out / CARD, function_id, version, report, command, lines, other, trial)
        (out / MANIFEST).write_text(to_toml(_manifest(report, out, function_id, version, command, other, trial)))
    load(out, "cpu")
    return out


def _stranger(report: Report) -> bool:
    return report.config.data == "phantoms" and not report.config.segments_of


def _manifest(
    report: Report, out: Path, function_id: str, version: str, command: str, other: Baseline | None, trial: str
) -> dict[str, Any]:
    config = report.config
    heat = config.family == "heatmap"
    if config.network != "multiresolution":
        raise ValueError(f"{config.network} is a baseline to compare with; it has no maps and makes no package")
    network: dict[str, Any] = {
        "width": config.width,
        "growth": config.growth,
        "depth": config.depth,
        "r0": config.r0,
    }
    if config.pooling != "lse_lba":
        network["pooling"] = config.pooling
    if config.patient_inputs:
        network["patient"] = LENGTH
    metrics: dict[str, Any] = {
        "test_images": report.counts["test_images"],
        "mean_of": list(report.mean_of),
        "mean_auc": round(report.mean.value, 4),
        "mean_auc_low": round(report.mean.low, 4),
        "mean_auc_high": round(report.mean.high, 4),
        "baseline_auc": 0.5,
        "log_loss": round(report.log_loss, 4),
        "baseline_log_loss": round(report.baseline_log_loss, 4),
        "auc": {item.name: round(item.auc.value, 4) for item in report.classes},
        "dice": {item.name: round(item.dice.value, 4) for item in report.classes if item.dice is not None},
    }
    if other:
        metrics[other.network] = {
            "mean_auc": round(other.mean.value, 4),
            "mean_auc_low": round(other.mean.low, 4),
            "mean_auc_high": round(other.mean.high, 4),
            "difference": round(other.difference.value, 4),
            "difference_low": round(other.difference.low, 4),
            "difference_high": round(other.difference.high, 4),
        }
    if report.case:
        metrics["case"] = {
            "auc": round(report.case["auc"].value, 4),
            "auc_low": round(report.case["auc"].low, 4),
            "auc_high": round(report.case["auc"].high, 4),
            "sensitivity": round(report.case["sensitivity"], 4),
            "specificity": round(report.case["specificity"], 4),
            "cases": report.case["cases"],
        }
    return {
        "id": function_id,
        "version": version,
        "title": TITLES[config.family],
        "licence": "Apache-2.0",
        "output_type": config.family,
        **({"trial": trial} if trial else {}),
        "classes": list(config.classes),
        "input_size": list(config.input_size),
        "rows": [8, 16, 32, 64] if heat else [config.input_size[0] // 8],
        "preprocessing": "whole" if heat else "breast",
        "scan_category": CATEGORIES[config.family],
        "correlations": report.correlations.round(4).tolist(),
        "network": network,
        "thresholds": report.thresholds,
        "region_thresholds": report.region_thresholds,
        "training": {
            "data": config.data,
            "criteria": _criteria(report),
            "count": config.count,
            "seed": config.seed,
            "segments_of": config.segments_of,
            "split": f"{config.shares[0]:.0%}/{config.shares[1]:.0%}/rest by patient",
            "command": command,
        },
        "metrics": metrics,
        "files": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in (WEIGHTS, CARD)},
    }


def _criteria(report: Report) -> str:
    if report.config.data != "phantoms":
        return f"all images of {report.config.data}"
    if report.config.family == "heatmap":
        return "chest phantoms, three in ten without a finding, else one to three of 14 classes"
    return "breast phantoms of four views, half with a malignant lesion, densities A to D"
