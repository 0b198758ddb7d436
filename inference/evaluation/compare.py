"""Runs side by side: mean AUC, and per class AUC, DICE and how sharp the maps are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from inference.evaluation.localisation import box_of, by_size
from inference.evaluation.report import ClassReport, Report, evaluate


@dataclass(frozen=True)
class Comparison:
    """Runs by name, tested on the same scans."""

    reports: dict[str, Report]

    def markdown(self) -> str:
        """Tables with one column a run."""
        first = next(iter(self.reports.values()))
        lines = [
            f"{first.counts['test_images']} test images, the same for all; 95 % intervals by bootstrap. The mean is "
            f"over {', '.join(first.mean_of)}.",
            "",
            *_settings(self.reports),
            "",
            *_table(self.reports, "AUC", lambda item: str(item.auc)),
        ]
        if any(item.dice for report in self.reports.values() for item in report.classes):
            lines += ["", *_table(self.reports, "DICE", lambda item: str(item.dice or "–"))]
            lines += ["", *_by_size(self.reports)]
            lines += ["", *_table(self.reports, "bright part of the map", lambda item: str(item.spread or "–"))]
        return "\n".join(lines) + "\n"

    def figure(self, classes: Sequence[str]) -> Figure:
        """A test scan a row that shows the class and its place, with the map of every run (like seed 001, FIG. 14C).

        ValueError for a class without such a scan, and for runs without maps.
        """
        first = next(iter(self.reports.values()))
        figure = Figure((1.7 * (1 + len(self.reports)), 1.8 * len(classes)))
        axes = figure.subplots(len(classes), 1 + len(self.reports), squeeze=False)
        for name, row in zip(classes, axes, strict=True):
            shown, k, box = _example(first, name)
            image = first.test.image(shown)
            extent = (0, image.shape[1], image.shape[0], 0)
            for axis, (title, report) in zip(row, [("", None), *self.reports.items()], strict=True):
                axis.imshow(image, cmap="gray", extent=extent)
                if report is not None:
                    grids = report.found[1][max(report.found[1])]
                    axis.imshow(grids[shown, k] / 255, cmap="inferno", vmin=0, vmax=1, alpha=0.6, extent=extent)
                axis.add_patch(_outline(box, image.shape[1] / box.shape[1]))
                axis.set(xticks=[], yticks=[], title=title if name == classes[0] else "")
            row[0].set_ylabel(name)
        figure.tight_layout(pad=0.3)
        return figure


def compare(runs: list[Path]) -> Comparison:
    """Evaluate runs. ValueError for fewer than two, or for runs of unequal classes or test patients, which cannot
    be compared."""
    if len(runs) < 2:
        raise ValueError("two runs at least are compared")
    reports = {run.name: evaluate(run) for run in runs}
    first = next(iter(reports.values()))
    for name, report in reports.items():
        if report.config.classes != first.config.classes:
            raise ValueError(f"{name} has other classes")
        if set(report.test.patients.tolist()) != set(first.test.patients.tolist()):
            raise ValueError(f"{name} was tested on other patients")
    return Comparison(reports)


def _outline(box: NDArray[np.uint8], scale: float) -> Rectangle:
    ys, xs = np.nonzero(box)
    corner, width, height = (xs.min() * scale, ys.min() * scale), np.ptp(xs) + 1, np.ptp(ys) + 1
    return Rectangle(corner, width * scale, height * scale, fill=False, edgecolor="white", linewidth=0.8)


def _example(report: Report, name: str) -> tuple[int, int, NDArray[np.uint8]]:
    """(row of the test part, class number, its box): the first scan that shows this class alone, else any."""
    if name not in report.config.classes:
        raise ValueError(f"{name!r} is no class of these runs")
    k, test = report.config.classes.index(name), report.test
    if len(test.boxed):
        rows = np.flatnonzero(test.boxed[:, k])
        for row in sorted(rows.tolist(), key=lambda row: (int(test.labels[row].sum()), row)):
            region = test.region(row)
            if region is not None and region[k].any():
                return row, k, box_of(region[k])
    raise ValueError(f"no test scan has a known place of {name}")


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
