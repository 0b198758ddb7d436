"""The card of a function: on what it was trained, how well it does, what it is not fit for."""

from __future__ import annotations

from pathlib import Path

from inference.evaluation.report import Baseline, Report

PURPOSE = {
    "heatmap": "For each of the classes a 64×64 map of probabilities over the x-ray (also at rows 8, 16 and "
    "32) and one probability for the whole image, pooled by LSE-LBA.",
    "malignancy": "For each mammogram a map of malignancy and a score; for the case the mean over the "
    "images of a view, the mean over the views of a side, the larger side, and a call at a threshold. "
    "Lesions are given only for cases that are called malignant.",
}


NETWORKS = {"resnet18": "ResNet-18", "multiresolution": "The multi-resolution network"}
LIMITS = {
    "phantoms": (
        "- Phantoms are cleaner than scans: no devices, no positioning faults, no post-operative change.",
        "- Scores are not calibrated; thresholds hold for phantoms only.",
    ),
    "scans": (
        "- Labels of ChestX-ray14 were taken from reports by a program; one in ten or more is wrong.",
        "- Scores are not calibrated; thresholds come from few patients of one hospital.",
    ),
}


def write_card(
    path: Path,
    function_id: str,
    version: str,
    report: Report,
    command: str,
    outside: list[str],
    other: Baseline | None = None,
    trial: str = "",
) -> None:
    """Write card.md. `outside` are lines about scans that are no phantoms; `other` a baseline on the same scans."""
    config = report.config
    source = {
        "phantoms": "Phantoms drawn by this project's own generator; no person's scan was used.",
        "nih64": "A part of NIH ChestX-ray14 at 64×64 pixels (NIH Clinical Center; Wang et al., CVPR 2017).",
        "folder": "A folder of scans with truth.json files.",
        "nih": "NIH ChestX-ray14 as distributed (NIH Clinical Center; Wang et al., CVPR 2017).",
        "table": "A folder of scans with a table of labels.",
    }[config.data]
    supervision = (
        f"Labels of whole images, and the drawn regions with weight {config.roi_weight:g}."
        if config.roi_weight and config.data != "nih64"
        else "Labels of whole images only."
    )
    lines = [
        f"# {function_id} {version}",
        "",
        "**Not fit for care.** Research software. "
        + (
            "Trained and tested on phantoms: the figures below say how well it reads phantoms, not patients."
            if config.data == "phantoms"
            else "Trained on few images of low resolution."
        ),
        "",
        "## What it says",
        PURPOSE[config.family],
        "",
        "## Training",
        f"- Data: {source}",
        f"- {report.counts['train']} patients for training, {report.counts['validation']} for validation "
        f"(stopping, thresholds), {report.counts['test']} for the test below; no patient is in two parts.",
        f"- {supervision}",
        *([_segments(config.segments_of)] if config.segments_of else []),
        f"- Input {config.input_size[0]}×{config.input_size[1]}, width {config.width}, growth "
        f"{config.growth}, r0 = {config.r0:g}; Adam, {len(report.history)} epochs, seed {config.seed}.",
    ]
    if config.start:
        lines += ["- Not from scratch: it went on from the weights of an earlier training."]
    if command:
        lines += [f"- Made by `{command}`."]
    lines += ["", f"## Held-out test: {report.counts['test_images']} images", ""]
    lines += ["AUC with 95 % bootstrap intervals over patients. A constant prediction has AUC 0.5.", ""]
    beside, rule = (f" {NETWORKS[other.network]} |", "---|") if other else ("", "")
    lines += [f"| class | positives | AUC |{beside} DICE with boxes | threshold |", f"|---|---|---|{rule}---|---|"]
    for item in report.classes:
        dice = "–" if item.dice is None else str(item.dice)
        threshold = report.thresholds[item.name]
        its = f" {other.classes[item.name]} |" if other else ""
        lines.append(f"| {item.name} | {item.positives} | {item.auc} |{its} {dice} | {threshold:.3f} |")
    lines += [f"| **mean of {len(report.mean_of)}** | | {report.mean} |{f' {other.mean} |' if other else ''} | |", ""]
    if len(report.mean_of) < len(report.classes):
        lines += [f"The mean is over the classes with 25 positives or more: {', '.join(report.mean_of)}.", ""]
    if other:
        less = ", but without the drawn regions, which it has no maps for" if report.config.roi_weight else ""
        lines += [
            f"{NETWORKS[other.network]} was trained the same way on the same images{less}. Mean AUC of this function "
            f"minus that of {NETWORKS[other.network]}, paired over patients: {other.difference}.",
            "",
        ]
    lines += [
        f"Log loss {report.log_loss:.4f}; of predicting each class's mean {report.baseline_log_loss:.4f}. "
        "Thresholds are those of the largest Youden index on the validation part.",
    ]
    if report.case:
        case = report.case
        lines += [
            "",
            f"Cases ({case['cases']}, {case['malignant']} malignant): AUC {case['auc']} (constant: "
            f"{case['baseline_auc']:.1f}); at threshold {case['threshold']:.3f} sensitivity "
            f"{case['sensitivity']:.3f}, specificity {case['specificity']:.3f}. In malignant images the "
            f"map's highest patch lies in the lesion in {case['peak_in_lesion']:.1%}.",
        ]
    if outside:
        lines += ["", "## Outside the phantoms", *outside]
    if trial:
        lines += ["", "## Not put into service by itself", f"{trial}. An engineer may commission it."]
    lines += [
        "",
        "## Limits",
        *LIMITS["phantoms" if config.data == "phantoms" else "scans"],
        "- Nothing is known about differences between sites, machines, ages or groups of people.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _segments(side: int) -> str:
    return (
        f"- On segments of lungs and heart cut from scans of {side}×{side} pixels (seed 002); the test images are "
        "segments too. Read scans with it by `predict --segments`."
    )
