"""A report as a folder: tables (CSV, Markdown) and figures (SVG)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inference.evaluation.localisation import box_of
from inference.evaluation.report import IOBB_LEVELS, Report, operating_points
from inference.evaluation.roc import Interval, curve

matplotlib.rcParams.update({"svg.hashsalt": "concord", "font.size": 8, "axes.spines.top": False,
                            "axes.spines.right": False})  # fmt: skip
PANELS = 6


def write_folder(report: Report, out: Path) -> Path:
    """Write report.md, classes.csv, subgroups.csv, operating_points.csv, reliability.csv, correlations.csv and
    roc.svg, reliability.svg, saliency.png to `out`; returns report.md."""
    out.mkdir(parents=True, exist_ok=True)
    names = [item.name for item in report.classes]
    classes = [_class_row(item) for item in report.classes]
    _csv(out / "classes.csv", classes)
    _csv(out / "subgroups.csv", [{"group": g, "images": n, **_interval("auc", i)} for g, n, i in report.subgroups])
    points = [
        {"class": name, **row}
        for k, name in enumerate(names)
        for row in operating_points(report.test.labels[:, k], report.found[0][:, k])
    ]
    _csv(out / "operating_points.csv", points)
    bins = [
        {"class": item.name, "predicted": float(p), "observed": float(o), "count": int(n)}
        for item in report.classes
        for p, o, n in zip(item.reliability.predicted, item.reliability.observed, item.reliability.count, strict=True)
    ]
    _csv(out / "reliability.csv", bins)
    table = [
        {"class": name, **dict(zip(names, map(float, row), strict=True))}
        for name, row in zip(names, report.correlations, strict=True)
    ]
    _csv(out / "correlations.csv", table)
    _save(_roc(report), out / "roc.svg")
    _save(_reliability(report), out / "reliability.svg")
    panels = saliency_panels(report)
    if panels is not None:
        panels.savefig(out / "saliency.png", dpi=110, bbox_inches="tight")
    text = _markdown(report, classes, panels is not None)
    (out / "report.md").write_text(text, encoding="utf-8")
    return out / "report.md"


def _interval(name: str, value: Interval | None) -> dict[str, Any]:
    if value is None:
        return {name: "", f"{name}_low": "", f"{name}_high": ""}
    return {name: round(value.value, 4), f"{name}_low": round(value.low, 4), f"{name}_high": round(value.high, 4)}


def _class_row(item: Any) -> dict[str, Any]:
    row = {"class": item.name, "positives": item.positives, **_interval("auc", item.auc)}
    row |= {key: round(getattr(item, key), 4) for key in ("sensitivity", "specificity", "brier")}
    row["calibration_error"] = round(item.reliability.error, 4)
    row |= _interval("dice", item.dice) | _interval("spread", item.spread)
    return row | {f"iobb_over_{level:g}": item.iobb.get(level, "") for level in IOBB_LEVELS}


def _csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or ["class"])
        writer.writeheader()
        writer.writerows(rows)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def _roc(report: Report) -> Figure:
    figure = Figure((4.2, 4.2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for k, item in enumerate(report.classes):
        labels = report.test.labels[:, k]
        if 0 < labels.sum() < len(labels):
            sensitivity, specificity, _ = curve(labels, report.found[0][:, k])
            axes.step(np.r_[0, 1 - specificity], np.r_[0, sensitivity], where="post", linewidth=1,
                      label=f"{item.name} {item.auc.value:.2f}")  # fmt: skip
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", aspect="equal", title=f"mean AUC {report.mean}")
    axes.legend(fontsize=6, frameon=False, loc="lower right")
    return figure


def _reliability(report: Report) -> Figure:
    figure = Figure((4.2, 4.2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for item in report.classes:
        axes.plot(item.reliability.predicted, item.reliability.observed, marker="o", markersize=2.5, linewidth=0.8,
                  label=f"{item.name} {item.reliability.error:.3f}")  # fmt: skip
    axes.set(xlabel="predicted", ylabel="observed", aspect="equal", title="reliability (calibration error)")
    axes.legend(fontsize=6, frameon=False, loc="upper left")
    return figure


def saliency_panels(report: Report, most: int = PANELS) -> Figure | None:
    """Image, its map of one shown class, and the box, one row each (like seed 001, FIG. 14C-D); None without any."""
    grids = report.found[1][max(report.found[1])]
    if grids.shape[-1] < 2 or not len(report.test.boxed):
        return None
    rows: list[tuple[int, int, NDArray[Any]]] = []
    for k in range(len(report.classes)):
        for i in np.flatnonzero(report.test.boxed[:, k])[:1]:
            region = report.test.region(int(i))
            if region is not None and region[k].any():
                rows.append((int(i), k, region[k]))
    if not rows:
        return None
    rows = rows[:most]
    figure = Figure((4.4, 2.2 * len(rows)))
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (i, k, region), (left, right) in zip(rows, axes, strict=True):
        image = report.test.image(i)
        extent = (0.0, float(image.shape[1]), float(image.shape[0]), 0.0)
        left.imshow(image, cmap="gray", vmin=0, vmax=255)
        right.imshow(image, cmap="gray", vmin=0, vmax=255)
        right.imshow(grids[i, k] / 255, cmap="inferno", vmin=0, vmax=1, alpha=0.55, extent=extent)
        box = box_of(region)
        ys, xs = np.nonzero(box)
        scale = image.shape[0] / box.shape[0], image.shape[1] / box.shape[1]
        corner = (xs.min() * scale[1], ys.min() * scale[0])
        size = ((xs.max() + 1 - xs.min()) * scale[1], (ys.max() + 1 - ys.min()) * scale[0])
        for axis in (left, right):
            axis.add_patch(matplotlib.patches.Rectangle(corner, *size, fill=False, color="#5ad1ff", linewidth=1))
            axis.set_axis_off()
        left.set_title(report.classes[k].name)
        right.set_title(f"p = {report.found[0][i, k]:.2f}")
    return figure


def _markdown(report: Report, classes: list[dict[str, Any]], panels: bool) -> str:
    config = report.config
    lines = [
        f"# {config.family}, {config.network}, {config.data}, r0 = {config.r0:g}",
        "",
        f"{report.counts['test_images']} images of {report.counts['test']} patients that training and the choice of "
        f"thresholds never saw ({report.counts['train']} and {report.counts['validation']} patients).",
        f"Mean AUC over {len(report.mean_of)} classes {report.mean}; any abnormality {report.any_auc}. "
        f"Log loss {report.log_loss:.4f}, of each class's mean {report.baseline_log_loss:.4f}.",
        "",
        "| class | positives | AUC (95 %) | sensitivity | specificity | DICE (95 %) | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in report.classes:
        dice = str(item.dice) if item.dice else "–"
        lines.append(
            f"| {item.name} | {item.positives} | {item.auc} | {item.sensitivity:.3f} | {item.specificity:.3f} | "
            f"{dice} | {item.reliability.error:.3f} |"
        )
    if report.subgroups:
        lines += ["", "| group | images | mean AUC (95 %) |", "|---|---|---|"]
        lines += [f"| {name} | {count} | {interval} |" for name, count, interval in report.subgroups]
    lines += ["", "![ROC](roc.svg)", "![Reliability](reliability.svg)"]
    if panels:
        lines += ["", "Left the scan, right the map over it; the outline is the known place.", "",
                  "![Saliency](saliency.png)"]  # fmt: skip
    return "\n".join(lines) + "\n"
