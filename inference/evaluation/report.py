"""Held-out figures of a training run, and the thresholds chosen on its validation part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from inference.evaluation.dice import best_map_threshold, box_of, continuous_dice
from inference.evaluation.roc import Interval, auc, auc_interval
from inference.postprocess import ViewScore, case_score, youden
from inference.training import data
from inference.training.config import TrainConfig
from inference.training.loop import Predicted, build, predict


@dataclass(frozen=True)
class ClassReport:
    """One class on the test part; `dice` against boxes, None where no regions are known."""

    name: str
    positives: int
    auc: Interval
    dice: float | None


@dataclass(frozen=True)
class Report:
    """Thresholds from validation, figures from test."""

    config: TrainConfig
    counts: dict[str, int]
    thresholds: dict[str, float]
    region_thresholds: dict[str, float]
    classes: tuple[ClassReport, ...]
    mean: Interval
    log_loss: float
    baseline_log_loss: float
    case: dict[str, Any] | None
    history: tuple[dict[str, str], ...]


def evaluate(run: Path) -> Report:
    """Evaluate a run folder on its own validation and test patients, which are read or generated anew."""
    config = TrainConfig.load(run / "config.json")
    torch.set_num_threads(config.threads)
    patients = json.loads((run / "split.json").read_text())
    network = build(config)
    network.load_state_dict(load_file(run / "weights.safetensors"))
    sets = {part: data.load(config, set(patients[part])) for part in ("validation", "test")}
    outputs = {part: predict(network, known.images) for part, known in sets.items()}
    validation, test = sets["validation"], sets["test"]
    found, checked = outputs["validation"], outputs["test"]
    thresholds = {name: youden(validation.labels[:, k], found.pooled[:, k]) for k, name in enumerate(config.classes)}
    regions_known = validation.regions.shape[-1] > 0
    region_thresholds = {
        name: best_map_threshold(found.maps[:, k], validation.regions[:, k]) if regions_known else 0.5
        for k, name in enumerate(config.classes)
    }
    case = None
    if config.family == "malignancy":
        case = _cases(validation, found, test, checked)
        thresholds["case"] = case["threshold"]
    mean_prediction = np.tile(validation.labels.mean(axis=0), (len(test), 1))
    return Report(
        config=config,
        counts={part: len(names) for part, names in patients.items()} | {"test_images": len(test)},
        thresholds={name: round(float(value), 6) for name, value in thresholds.items()},
        region_thresholds=region_thresholds,
        classes=tuple(_class(config, test, checked, k) for k in range(len(config.classes))),
        mean=auc_interval(test.labels, checked.pooled, test.patients, draws=500),
        log_loss=_log_loss(test.labels, checked.pooled),
        baseline_log_loss=_log_loss(test.labels, mean_prediction),
        case=case,
        history=_history(run),
    )


def _class(config: TrainConfig, test: data.TrainingSet, found: Predicted, k: int) -> ClassReport:
    labels = test.labels[:, k]
    dice = None
    if test.regions.shape[-1] > 0:
        rows = np.flatnonzero(test.regions[:, k].reshape(len(test), -1).any(axis=1))
        values = [continuous_dice(found.maps[i, k] / 255, box_of(test.regions[i, k])) for i in rows]
        dice = float(np.mean(values)) if values else None
    interval = auc_interval(labels, found.pooled[:, k], test.patients, draws=500)
    return ClassReport(config.classes[k], int(labels.sum()), interval, dice)


def _cases(
    validation: data.TrainingSet, found: Predicted, test: data.TrainingSet, checked: Predicted
) -> dict[str, Any]:
    scores, labels = case_table(validation, found)
    threshold = youden(labels, scores)
    scores, labels = case_table(test, checked)
    called = scores >= threshold
    hits = []
    for i in np.flatnonzero(test.labels[:, 0]):
        peak = np.unravel_index(int(checked.maps[i, 0].argmax()), checked.maps[i, 0].shape)
        hits.append(bool(test.regions[i, 0][peak]))
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


def case_table(known: data.TrainingSet, found: Predicted) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Case score (the rule of seed 000) and truth of every patient."""
    scores, labels = [], []
    for patient in np.unique(known.patients):
        rows = np.flatnonzero(known.patients == patient)
        views = []
        for row in rows:
            side, _, view = str(known.views[row]).partition("-")
            views.append(ViewScore(side, view, (float(found.pooled[row, 0]),)))
        scores.append(case_score(views)[0])
        labels.append(int(known.labels[rows, 0].any()))
    return np.array(scores), np.array(labels)


def _log_loss(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    p = np.clip(np.asarray(scores, dtype=np.float64), 1e-5, 1 - 1e-5)
    return float(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())


def _history(run: Path) -> tuple[dict[str, str], ...]:
    import csv

    with (run / "history.csv").open() as file:
        return tuple(csv.DictReader(file))
