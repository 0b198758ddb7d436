"""Training sets, augmentation, and one small run from phantoms to a package."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from inference.cli import main
from inference.datasets import LeakageError, ScanSet, SetError, Split, load, read_split, split_patients
from inference.networks.heatmap import HeatmapOutput
from inference.package import load as load_package
from inference.package.build import build_package
from inference.phantoms import CHEST_CLASSES
from inference.ship import ship_config
from inference.training.augment import augment
from inference.training.config import AUGMENTATIONS, TrainConfig
from inference.training.loss import loss_of
from inference.training.run import resume, train


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("runs")
    return TrainConfig("heatmap", "phantoms", str(folder / "tiny"), count=24, epochs=2, width=8, growth=4, batch=8,
                       input_size=(64, 64), threads=1, cache=str(folder / "cache"))  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny: TrainConfig) -> Path:
    return train(tiny, lambda text: None)


def pictures(scans: ScanSet) -> np.ndarray:
    return np.stack([scans.image(index) for index in range(len(scans))])


def places(scans: ScanSet) -> np.ndarray:
    known = [scans.region(index) for index in range(len(scans))]
    return np.stack([region for region in known if region is not None])


def test_no_patient_is_in_two_parts() -> None:
    patients = np.repeat([f"p{i}" for i in range(40)], 4)
    parts = split_patients(patients, seed=3)
    names = [parts.train, parts.validation, parts.test]
    assert sum(len(n) for n in names) == 40 == len(frozenset().union(*names))
    assert [len(n) for n in names] == [28, 6, 6]
    sealed = split_patients(patients, seed=3, sealed=frozenset({"p1", "p2", "elsewhere"}))
    assert sealed.test == {"p1", "p2"} and len(sealed.train | sealed.validation) == 38


def test_a_split_that_leaks_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(LeakageError, match="1 patients are in train and in test: p2"):
        Split(frozenset({"p1", "p2"}), frozenset({"p3"}), frozenset({"p2"}))
    raw = json.loads((run / "split.json").read_text())
    raw["test"].append(raw["train"][0])
    (tmp_path / "split.json").write_text(json.dumps(raw))
    with pytest.raises(LeakageError):
        read_split(tmp_path / "split.json")


def test_a_resumed_run_ends_where_an_unbroken_one_does(run: Path, tiny: TrainConfig, tmp_path: Path) -> None:
    broken = train(replace(tiny, out=str(tmp_path / "broken"), stop=1), lambda text: None)
    said: list[str] = []
    resume(broken, said.append, stop=2)
    assert [line.split(":")[0] for line in said if line.startswith("epoch")] == ["epoch 1"]
    first, second = (torch.load(f / "last.ckpt", weights_only=True)["state_dict"] for f in (run, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(list(csv.DictReader((broken / "history.csv").open()))) == 2
    with pytest.raises(ValueError, match=r"no last\.ckpt"):
        resume(tmp_path / "nowhere")


def test_two_processes_train_one_network(tiny: TrainConfig, tmp_path: Path) -> None:
    sizes = ["--count", "24", "--size", "64", "--width", "8", "--growth", "4", "--batch", "4", "--epochs", "2"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "inference",
    ]
    command += ["train", "heatmap", "--data", "phantoms", *sizes, "--threads", "1", "--devices", "2"]
    command += ["--cache", tiny.cache, "--out", str(tmp_path / "two")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 2/2" in done.stderr + done.stdout and done.stdout.count("epoch 1:") == 1
    with (tmp_path / "two" / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert all(value.isfinite().all() for value in load_file(tmp_path / "two" / "weights.safetensors").values())


def test_the_last_epoch_can_be_kept(tiny: TrainConfig, tmp_path: Path) -> None:
    out = train(replace(tiny, keep="last", out=str(tmp_path / "last")), lambda text: None)
    last = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
    assert all(
        torch.equal(value, last[f"network.{name}"]) for name, value in load_file(out / "weights.safetensors").items()
    )
    with pytest.raises(ValueError, match="keep"):
        replace(tiny, keep="worst")


def test_same_seed_same_weights(run: Path, tiny: TrainConfig, tmp_path: Path) -> None:
    again = train(replace(tiny, out=str(tmp_path / "again")), lambda text: None)
    first, second = (load_file(folder / "weights.safetensors") for folder in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_run_keeps_its_configuration_and_history(run: Path, tiny: TrainConfig) -> None:
    assert TrainConfig.load(run / "config.json") == tiny
    with (run / "history.csv").open() as file:
        assert 1 <= len(list(csv.DictReader(file))) <= 2


def test_package_of_a_run_loads_and_predicts(run: Path, tmp_path: Path, chest_file: Path) -> None:
    package = load_package(build_package(run, tmp_path / "tiny-function", command="made by a test"))
    assert package.manifest.id == "tiny-function" and set(package.manifest.thresholds) == {*CHEST_CLASSES, "any"}
    found = package.run([chest_file])
    assert found.images[0].matrices[64].shape == (14, 64, 64)
    card = (tmp_path / "tiny-function" / "card.md").read_text()
    assert "Not fit for care" in card and "constant prediction has AUC 0.5" in card and "made by a test" in card


def test_a_baseline_of_the_same_parts_stands_on_the_card(
    run: Path, tiny: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = train(replace(tiny, network="resnet18", epochs=1, out=str(tmp_path / "resnet")), lambda text: None)
    out = tmp_path / "both"
    assert main(["package", str(run), "--out", str(out), "--baseline", str(beside), "--trial", "It is tiny"]) == 0
    manifest, card = load_package(out).manifest, (out / "card.md").read_text()
    ours, its = manifest.metrics["mean_auc"], manifest.metrics["resnet18"]
    assert its["difference"] == pytest.approx(ours - its["mean_auc"], abs=2e-4)
    assert its["difference_low"] <= its["difference"] <= its["difference_high"]
    assert "| ResNet-18 |" in card and manifest.trial == "It is tiny" and "It is tiny. An engineer may" in card
    other = train(replace(tiny, seed=2, epochs=1, out=str(tmp_path / "other")), lambda text: None)
    assert main(["package", str(run), "--out", str(out), "--baseline", str(other)]) == 2
    assert "other parts" in capsys.readouterr().err


def test_runs_side_by_side(run: Path, tiny: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sharp = train(replace(tiny, r0=10.0, epochs=1, out=str(tmp_path / "sharp")), lambda text: None)
    picture, shown = tmp_path / "maps.png", load(tiny)
    name = CHEST_CLASSES[int(shown.of(read_split(run / "split.json").test).boxed.sum(axis=0).argmax())]
    assert main(["compare", str(run), str(sharp), "--figure", str(picture), "--show", name]) == 0
    assert Image.open(picture).width > 300
    text = capsys.readouterr().out
    assert "| r0 | 5 | 10 |" in text and "DICE by size of the box" in text
    table = text.split("| AUC | tiny | sharp |")[1]
    assert all(f"| {name} |" in table for name in CHEST_CLASSES)
    other = train(replace(tiny, seed=2, epochs=1, out=str(tmp_path / "other")), lambda text: None)
    assert main(["compare", str(run), str(other)]) == 2 and "other patients" in capsys.readouterr().err


def test_only_part_of_a_set_is_the_same_part(tiny: TrainConfig) -> None:
    whole = load(tiny)
    part = load(replace(tiny, cache=""), {str(whole.patients[5]), str(whole.patients[9])})
    assert np.array_equal(pictures(part), pictures(whole)[[5, 9]])
    assert np.array_equal(places(part), places(whole)[[5, 9]])
    taken = whole.take(np.array([9, 5]))
    assert np.array_equal(pictures(taken), pictures(whole)[[9, 5]])
    # regions lie on the labels
    assert places(whole).shape == (24, 14, 64, 64)
    assert np.array_equal(places(whole).any(axis=(2, 3)), whole.labels.astype(bool))


def test_folder_of_phantoms_is_a_training_set(tmp_path: Path) -> None:
    assert main(["phantoms", "breast", "--count", "2", "--seed", "5", "--rows", "512", "--out", str(tmp_path)]) == 0
    config = replace(ship_config("malignancy", 1, ""), data="folder", root=str(tmp_path))
    known = load(config)
    images, regions = pictures(known), places(known)
    assert images.shape == (8, 512, 384) and len(set(known.patients)) == 2
    assert np.array_equal(regions.any(axis=(1, 2, 3)), known.labels[:, 0].astype(bool))
    # The bright lesion lies under its region: prepared images and regions agree.
    for row in np.flatnonzero(known.labels[:, 0]):
        mask = np.kron(regions[row, 0], np.ones((8, 8), dtype=np.uint8)).astype(bool)
        image = images[row]
        assert image[mask].mean() > image[image > 0].mean()


def test_unknown_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SetError, match="no training set"):
        load(TrainConfig("malignancy", "nih64", ""))
    with pytest.raises(SetError, match=r"no truth\.json"):
        load(TrainConfig("heatmap", "folder", "", root=str(tmp_path)))


def test_regions_move_with_the_image() -> None:
    images = torch.zeros(6, 1, 64, 64)
    images[:, :, 20:30, 36:46] = 1.0
    regions = images.clone()
    ranges = replace(AUGMENTATIONS["seed001"], zoom=(0.8, 1.2), tone=0.0)
    moved, places = augment(images, regions, ranges, torch.Generator().manual_seed(4))
    assert places is not None and not torch.equal(moved, images)
    for index in range(6):
        overlap = ((moved[index] > 0.5) & (places[index] > 0.5)).sum() / (places[index] > 0.5).sum().clamp_min(1)
        assert overlap > 0.95
    same, _ = augment(images, None, AUGMENTATIONS["none"], torch.Generator())
    assert torch.equal(same, images)


def test_tone_leaves_air_black_and_stays_in_range() -> None:
    images = torch.rand(4, 1, 16, 16)
    images[:, :, :4] = 0
    changed, _ = augment(images, None, replace(AUGMENTATIONS["none"], tone=0.5), torch.Generator().manual_seed(1))
    assert float(changed[:, :, :4].abs().max()) == 0 and 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert not torch.equal(changed, images)


def test_loss_falls_with_better_maps() -> None:
    regions = torch.zeros(1, 1, 8, 8)
    regions[..., 2:4, 2:4] = 1

    def loss(logits: torch.Tensor, pooled: float) -> float:
        p = {64: torch.tensor([[pooled]])}
        return loss_of(HeatmapOutput({64: logits.sigmoid()}, {64: logits}, p), torch.ones(1, 1), regions, 1.0).item()

    assert loss(regions * 12 - 6, 0.95) < loss(torch.zeros(1, 1, 8, 8), 0.95) < loss(-regions * 12 + 6, 0.95)
    assert loss(regions * 12 - 6, 0.95) < loss(regions * 12 - 6, 0.05)


def test_command_line_says_errors_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(tmp_path / "none"), "a.dcm"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("MissingFile: ") and said.count("\n") == 1
