"""Runs side by side: mean AUC, and per class AUC, DICE and how sharp the maps are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from inference.evaluation.localisation import by_size
from inference.evaluation.report import ClassReport, Report, evaluate


def compare(runs: list[Path]) -> str:
    """Markdown tables with one column a run. ValueError for fewer than two, or for runs of unequal classes or
    test patients, which cannot be compared."""
    if len(runs) < 2:
        raise ValueError("two runs at least are compared")
    reports = {run.name: evaluate(run) for run in runs}
    first = next(iter(reports.values()))
    for name, report in reports.items():
        if report.config.classes != first.config.classes:
            raise ValueError(f"{name} has other classes")
        if set(report.test.patients.tolist()) != set(first.test.patients.tolist()):
            raise ValueError(f"{name} was tested on other patients")
    lines = [
        f"{first.counts['test_images']} test images, the same for all; 95 % intervals by bootstrap. The mean is over "
        f"{', '.join(first.mean_of)}.",
        "",
        *_settings(reports),
        "",
        *_table(reports, "AUC", lambda item: str(item.auc)),
    ]
    if any(item.dice for report in reports.values() for item in report.classes):
        lines += ["", *_table(reports, "DICE", lambda item: str(item.dice or "–"))]
        lines += ["", *_by_size(reports)]
        lines += ["", *_table(reports, "bright part of the map", lambda item: str(item.spread or "–"))]
    return "\n".join(lines) + "\n"


def _settings(reports: dict[str, Report]) -> list[str]:
    def row(title: str, values: list[str]) -> str:
        return f"| {title} | " + " | ".join(values) + " |"

    all_ = list(reports.values())
    return [
        row("", list(reports)),
        "|---" * (len(reports) + 1) + "|",
        row("network", [r.config.network for r in all_]),
        row("r0", [f"{r.config.r0:g}" for r in all_]),
        row("epochs", [str(len(r.history)) for r in all_]),
        row("mean AUC", [str(r.mean) for r in all_]),
        row("any abnormality", [str(r.any_auc) for r in all_]),
        row("log loss", [f"{r.log_loss:.4f}" for r in all_]),
        row("log loss of the mean", [f"{r.baseline_log_loss:.4f}" for r in all_]),
    ]


def _by_size(reports: dict[str, Report]) -> list[str]:
    """DICE of all classes' places by how much of the image their box takes: r0 favours one end (seed 001)."""
    columns = []
    for report in reports.values():
        places = np.concatenate([item.places for item in report.classes])
        columns.append(by_size(places[:, 0], places[:, 1]))
    lines = ["| DICE by size of the box | " + " | ".join(reports) + " |", "|---" * (len(reports) + 1) + "|"]
    for rows in zip(*columns, strict=True):
        low, high, _ = rows[0]
        lines.append(f"| {low:.1%} to {high:.1%} of the image | " + " | ".join(str(mean) for *_, mean in rows) + " |")
    return lines


def _table(reports: dict[str, Report], title: str, cell: Callable[[ClassReport], str]) -> list[str]:
    lines = [f"| {title} | " + " | ".join(reports) + " |", "|---" * (len(reports) + 1) + "|"]
    for k, item in enumerate(next(iter(reports.values())).classes):
        lines.append(f"| {item.name} | " + " | ".join(cell(r.classes[k]) for r in reports.values()) + " |")
    return lines
