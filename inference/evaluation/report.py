"""Held-out figures of a training run, and the thresholds chosen on its validation part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from inference.datasets import ScanSet, load, read_split
from inference.evaluation.calibration import Reliability, brier, log_loss, reliability
from inference.evaluation.localisation import (
    best_map_threshold,
    box_of,
    continuous_dice,
    iobb,
    mean_interval,
    spread,
)
from inference.evaluation.roc import Interval, auc, auc_interval, difference_interval
from inference.postprocess import ViewScore, at_sensitivity, at_specificity, case_score, youden
from inference.postprocess.joint import any_abnormality, class_correlations
from inference.training.config import TrainConfig
from inference.training.module import build, predict
from inference.training.run import CONFIG, SPLIT, WEIGHTS, read_history

Found = tuple[NDArray[np.float32], dict[int, NDArray[np.uint8]]]
LEAST_POSITIVES = 25  # a class with fewer says little about a mean
IOBB_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
AGES = ((0, 40), (40, 60), (60, 121))


@dataclass(frozen=True)
class ClassReport:
    """One class on the test part.

    sensitivity, specificity  at the validation part's threshold
    dice, spread              against boxes, and the size of the bright part; None where no places are known
    places                    (n, 2) of each known place: its box's part of the image, and the DICE there
    iobb                      τ → part of the images whose detection lies in the box by more than τ
    """

    name: str
    positives: int
    auc: Interval
    sensitivity: float
    specificity: float
    brier: float
    reliability: Reliability
    dice: Interval | None = None
    spread: Interval | None = None
    places: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)), repr=False)
    iobb: dict[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Thresholds from validation, figures from test."""

    config: TrainConfig
    counts: dict[str, int]
    thresholds: dict[str, float]
    region_thresholds: dict[str, float]
    correlations: NDArray[np.float64]
    classes: tuple[ClassReport, ...]
    mean: Interval
    mean_of: tuple[str, ...]
    any_auc: Interval
    log_loss: float
    baseline_log_loss: float
    subgroups: tuple[tuple[str, int, Interval], ...]
    case: dict[str, Any] | None
    history: tuple[dict[str, str], ...]
    test: ScanSet = field(repr=False)
    found: Found = field(repr=False)


@dataclass(frozen=True)
class Baseline:
    """Another network on the same test part.

    difference  the function's mean AUC minus this one's, paired over patients
    """

    network: str
    mean: Interval
    difference: Interval
    classes: dict[str, Interval]


def beside(report: Report, run: Path) -> Baseline:
    """A baseline's run beside a report. ValueError when it was trained or tested on other patients or classes."""
    other = evaluate(run)
    same = other.config.classes == report.config.classes and other.counts == report.counts
    if not same or other.test.names.tolist() != report.test.names.tolist():
        raise ValueError(f"{run} has other classes or other parts, it says nothing beside this run")
    kept = [report.config.classes.index(name) for name in report.mean_of]
    labels, mine, its = report.test.labels[:, kept], report.found[0][:, kept], other.found[0][:, kept]
    return Baseline(
        network=other.config.network,
        mean=other.mean,
        difference=difference_interval(labels, mine, its, report.test.patients, draws=500),
        classes={item.name: item.auc for item in other.classes},
    )


def evaluate(run: Path) -> Report:
    """Evaluate a run folder on its own validation and test patients, which are read or generated anew.

    LeakageError when the run's split was changed into one that leaks.
    """
    config = TrainConfig.load(run / CONFIG)
    torch.set_num_threads(config.threads)
    parts = read_split(run / SPLIT)
    network = build(config)
    network.load_state_dict(load_file(run / WEIGHTS))
    if torch.cuda.is_available() and config.devices != "cpu":
        network.cuda()
    whole = load(config)
    training, validation, test = (parts.of(whole, part) for part in ("train", "validation", "test"))
    found, checked = predict(network, validation, config), predict(network, test, config)
    thresholds = {name: youden(validation.labels[:, k], found[0][:, k]) for k, name in enumerate(config.classes)}
    finest = max(found[1])
    region_thresholds = {
        name: best_map_threshold(found[1][finest][:, k], _region(validation, k))
        for k, name in enumerate(config.classes)
    }
    case = None
    if config.family == "malignancy":
        case = _cases(validation, found, test, checked)
        thresholds["case"] = case["threshold"]
    else:
        thresholds["any"] = youden(_any(validation), any_abnormality(found[0]))
    kept = [k for k in range(len(config.classes)) if test.labels[:, k].sum() >= LEAST_POSITIVES]
    kept = kept or list(range(len(config.classes)))
    rate = training.labels.mean(axis=0)
    return Report(
        config=config,
        counts={part: len(getattr(parts, part)) for part in ("train", "validation", "test")}
        | {"test_images": len(test)},
        thresholds={name: round(float(value), 6) for name, value in thresholds.items()},
        region_thresholds=region_thresholds,
        correlations=class_correlations(training.labels),
        classes=tuple(_class(test, checked, k, thresholds, region_thresholds) for k in range(len(config.classes))),
        mean=auc_interval(test.labels[:, kept], checked[0][:, kept], test.patients, draws=500),
        mean_of=tuple(config.classes[k] for k in kept),
        any_auc=auc_interval(_any(test), any_abnormality(checked[0]), test.patients, draws=500),
        log_loss=log_loss(test.labels, checked[0]),
        baseline_log_loss=log_loss(test.labels, np.tile(rate, (len(test), 1))),
        subgroups=_subgroups(test, checked[0], kept),
        case=case,
        history=tuple(read_history(run)),
        test=test,
        found=checked,
    )


def _any(scans: ScanSet) -> NDArray[np.bool_]:
    return np.asarray(scans.labels.any(axis=1))


def _region(scans: ScanSet, k: int) -> Callable[[int], NDArray[np.uint8] | None]:
    def known(index: int) -> NDArray[np.uint8] | None:
        if not len(scans.boxed) or not scans.boxed[index, k]:
            return None
        region = scans.region(index)
        return None if region is None else region[k]

    return known


def _class(
    test: ScanSet, found: Found, k: int, thresholds: dict[str, float], region_thresholds: dict[str, float]
) -> ClassReport:
    name, labels, scores = test.classes[k], test.labels[:, k], found[0][:, k]
    called = scores >= thresholds[name]
    grids, known = found[1][max(found[1])], _region(test, k)
    shown = [
        (grids[i, k] / 255, box_of(region))
        for i in range(len(test))
        if grids.shape[-1] > 1 and (region := known(i)) is not None and region.any()
    ]
    inside = [iobb(grid, box, region_thresholds[name]) for grid, box in shown]
    each = [continuous_dice(grid, box) for grid, box in shown]
    places = np.array([[box.mean(), dice] for (_, box), dice in zip(shown, each, strict=True)])
    return ClassReport(
        name=name,
        positives=int(labels.sum()),
        auc=auc_interval(labels, scores, test.patients, draws=500),
        sensitivity=float(called[labels == 1].mean()) if labels.any() else float("nan"),
        specificity=float((~called[labels == 0]).mean()) if not labels.all() else float("nan"),
        brier=brier(labels, scores),
        reliability=reliability(labels, scores),
        dice=mean_interval(each),
        places=places.reshape(-1, 2),
        spread=mean_interval([spread(grid) for grid, _ in shown]),
        iobb={level: float(np.mean([value > level for value in inside])) for level in IOBB_LEVELS} if shown else {},
    )


def _subgroups(test: ScanSet, scores: NDArray[Any], kept: list[int]) -> tuple[tuple[str, int, Interval], ...]:
    """Mean AUC by age, sex and view, where at least 25 images are known to belong."""
    groups = {f"age {low}-{high - 1}": (test.ages >= low) & (test.ages < high) for low, high in AGES}
    groups |= {f"sex {sex}": test.sexes == sex for sex in ("F", "M")}
    groups |= {f"view {view}": test.views == view for view in np.unique(test.views) if view}
    out = []
    for name, mask in groups.items():
        if mask.sum() >= LEAST_POSITIVES:
            interval = auc_interval(test.labels[mask][:, kept], scores[mask][:, kept], test.patients[mask], draws=200)
            out.append((name, int(mask.sum()), interval))
    return tuple(out)


def operating_points(labels: NDArray[Any], scores: NDArray[Any]) -> list[dict[str, float]]:
    """Threshold, sensitivity and specificity at 80, 90, 95 % of either, on the given part; NaN labels leave none."""
    if np.asarray(labels).all() or not np.asarray(labels).any():
        return []
    positive, rows = np.asarray(labels).astype(bool), []
    for part, choose in (("sensitivity", at_sensitivity), ("specificity", at_specificity)):
        for wanted in (0.80, 0.90, 0.95):
            threshold = choose(labels, scores, wanted)
            called = scores >= threshold
            rows.append({f"{part}_at_least": wanted, "threshold": threshold,
                         "sensitivity": float(called[positive].mean()),
                         "specificity": float((~called[~positive]).mean())})  # fmt: skip
    return rows


def _cases(validation: ScanSet, found: Found, test: ScanSet, checked: Found) -> dict[str, Any]:
    scores, labels = case_table(validation, found[0])
    threshold = youden(labels, scores)
    scores, labels = case_table(test, checked[0])
    called = scores >= threshold
    hits, grids = [], checked[1][max(checked[1])]
    for i in np.flatnonzero(test.labels[:, 0]):
        region = test.region(int(i))
        if region is not None:
            hits.append(bool(region[0][np.unravel_index(int(grids[i, 0].argmax()), grids[i, 0].shape)]))
    return {
        "threshold": threshold,
        "auc": auc_interval(labels, scores),
        "cases": len(labels),
        "malignant": int(labels.sum()),
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float((~called[labels == 0]).mean()),
        "peak_in_lesion": float(np.mean(hits)) if hits else float("nan"),
        "baseline_auc": auc(labels, np.full(len(labels), labels.mean())),
    }


def case_table(known: ScanSet, pooled: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Case score (the rule of seed 000) and truth of every patient; pooled (n, 1)."""
    scores, labels = [], []
    for patient in np.unique(known.patients):
        rows = np.flatnonzero(known.patients == patient)
        views = []
        for row in rows:
            side, _, view = str(known.views[row]).partition("-")
            views.append(ViewScore(side, view, (float(pooled[row, 0]),)))
        scores.append(case_score(views)[0])
        labels.append(int(known.labels[rows, 0].any()))
    return np.array(scores), np.array(labels)
