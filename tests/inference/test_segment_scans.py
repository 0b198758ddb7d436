"""The region finder that ships, training on segments, and detection on segments."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.cli import main
from inference.datasets import ScanSet, SetError, load
from inference.datasets.base import in_memory
from inference.datasets.files import display_values
from inference.evaluation.regions import HELD_OUT, overlap, score
from inference.networks.regions import RegionNetwork
from inference.package import FunctionPackage, MissingFile
from inference.package import load as load_package
from inference.package.build import build_package
from inference.phantoms import chest
from inference.phantoms.chest_anatomy import REGIONS
from inference.segments.detect import NoRegion, SegmentPackage
from inference.segments.finder import RegionFinder, load_finder
from inference.segments.scans import known_places, segmented
from inference.segments.table import regions_of
from inference.serving import Engine
from inference.training.config import TrainConfig
from inference.training.run import train
from tests.inference.conftest import HEATMAP, MALIGNANCY, SHIPPED


@pytest.fixture(scope="module")
def finder() -> RegionFinder:
    return load_finder()


def test_regions_of_unseen_phantoms(finder: RegionFinder) -> None:
    found = score(finder, count=16, first=HELD_OUT + 5000)
    for name, least in (("lung_right", 0.93), ("lung_left", 0.93), ("heart", 0.9)):
        assert found.plain[name].value > least, (name, found.plain[name])
        assert found.changed[name].value > least - 0.1, (name, found.changed[name])


def test_outlines_do_not_depend_on_the_scans_size(finder: RegionFinder) -> None:
    small, large = (chest(12, classes=(), size=(side, side)) for side in (256, 1024))
    a, b = (finder.find((made.pixels / 4095).astype(np.float32)) for made in (small, large))
    for name in REGIONS:
        assert overlap(a.masks[name], b.masks[name]) > 0.97
        box, wide = a.box(name, 0.0), b.box(name, 0.0)
        assert box is not None and wide is not None
        assert np.abs(np.array(wide) - 4 * np.array(box)).max() < 20


def test_its_card_and_its_figures(finder: RegionFinder) -> None:
    card = (SHIPPED / "regions-chest-phantom" / "card.md").read_text()
    assert "Not fit for care" in card and "no figure" in card
    assert finder.manifest is not None
    assert f"{finder.manifest.metrics['dice']['heart']:.3f}" in card
    assert finder.manifest.training["command"] == "python -m inference ship regions --seed 1"
    with pytest.raises(MissingFile):
        load_finder(SHIPPED / "nothing")


@pytest.mark.reference
def test_real_x_rays_have_two_lungs_and_a_heart(finder: RegionFinder) -> None:
    folder = Path(os.environ["CONCORD_REFERENCE_DATA"])
    for path in [*sorted((folder / "chest").glob("*.png")), folder / "chest" / "cr_jpeg.dcm"]:
        found = finder.find(display_values(path))
        assert found.missing == (), path
        for name in ("lung_right", "lung_left"):
            assert 0.05 < found.masks[name].mean() < 0.25, (path, name)
    images = np.load(folder / "nih64" / "images.npz")["images"][::8]
    whole = [not finder.find((image / 255).astype(np.float32)).missing for image in images]
    assert np.mean(whole) > 0.9


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    out = tmp_path_factory.mktemp("segments") / "run"
    return TrainConfig("heatmap", "phantoms", str(out), count=16, epochs=1, width=8, growth=4, depth=1, batch=16,
                       input_size=(64, 64), threads=1, seed=33, segments_of=256)  # fmt: skip


@pytest.fixture(scope="module")
def whole(config: TrainConfig) -> ScanSet:
    return load(replace(config, segments_of=0, input_size=(256, 256)))


@pytest.fixture(scope="module")
def cut(whole: ScanSet, finder: RegionFinder) -> ScanSet:
    return segmented(whole, finder, 64)


def test_a_set_becomes_its_segments(whole: ScanSet, cut: ScanSet) -> None:
    assert set(cut.patients) == set(whole.patients) and cut.classes == whole.classes
    assert set(cut.views) <= set(REGIONS) and cut.image(0).shape == (64, 64) and cut.image(0).dtype == np.uint8
    for index, patient in enumerate(whole.patients):
        own = np.flatnonzero(cut.patients == patient)
        lungs = [view for view in cut.views[own] if view != "heart"]
        assert lungs.count("lung_right") >= 2 and lungs.count("lung_left") >= 2
        # a class is in a segment only where the scan has it, and where its place is known it is in one at least
        assert (cut.labels[own].max(axis=0) <= whole.labels[index]).all()
    classes = cut.labels.any(axis=0)
    assert classes.sum() >= 5
    for row in range(len(cut)):
        region = cut.region(row)
        assert region is not None and region.shape == (14, 64, 64)
        there = cut.boxed[row] > 0
        assert (region[there].any(axis=(1, 2))).all()


def test_known_findings_are_whole_in_a_segment(whole: ScanSet, cut: ScanSet, finder: RegionFinder) -> None:
    """R4 on drawn masses and nodules: as many patches in one segment as in the scan, seen in two."""
    tried = 0
    for index, patient in enumerate(whole.patients):
        found = finder.find((whole.image(index) / np.float32(255)).astype(np.float32))
        places = known_places(whole, index, found)
        for name in ("Mass", "Nodule"):
            k = whole.classes.index(name)
            region = whole.region(index)
            if not whole.labels[index, k] or region is None:
                continue
            sides = [r for r in regions_of(name) if (found.mask(r, (64, 64)) & (region[k] > 0)).any()]
            if len(sides) != 1 or sides[0] not in places:
                continue
            own = np.flatnonzero((cut.patients == patient) & (cut.views == sides[0]))
            assert cut.labels[own, k].sum() >= 2
            tried += 1
    assert tried >= 2


def test_weak_labels_go_where_the_class_belongs(finder: RegionFinder) -> None:
    made = chest(12, classes=("Cardiomegaly", "Nodule"), size=(256, 256))
    images = np.round(made.pixels / 4095 * 255).astype(np.uint8)[None]
    scans = in_memory(images, np.ones((1, 2), np.uint8), ("Cardiomegaly", "Nodule"), ["a"])
    out = segmented(scans, finder, 64)
    heart = out.views == "heart"
    assert out.region(0) is None and (out.labels[:, 0] == heart).all() and (out.labels[:, 1] == ~heart).all()
    said: list[str] = []
    with pytest.raises(SetError, match="no scan"):
        segmented(scans, blind(), 64, say=said.append)
    assert "left out" in said[0]


def test_training_on_segments_to_a_package(config: TrainConfig, chest_file: Path, tmp_path: Path) -> None:
    run = train(config, lambda text: None)
    out = build_package(run, tmp_path / "segments", command="test")
    package = load_package(out, "cpu")
    assert isinstance(package, SegmentPackage) and package.manifest.training["segments_of"] == 256
    assert main(["predict", str(out), str(chest_file), "--device", "cpu", "--out", str(tmp_path / "f.json")]) == 0


@pytest.fixture(scope="module")
def heatmap() -> FunctionPackage:
    return load_package(HEATMAP, "cpu")


def test_detection_on_segments(heatmap: FunctionPackage, finder: RegionFinder, chest_file: Path) -> None:
    seen: list[float] = []
    found = SegmentPackage.of(heatmap, finder).run([chest_file], progress=lambda part, stage: seen.append(part))
    image = found.images[0]
    assert {row: m.shape for row, m in image.matrices.items()} == {r: (14, r, r) for r in (8, 16, 32, 64)}
    assert found.parameters["segments"] is True and found.parameters["region_finder_sha256"]
    assert seen[-1] == 1.0 and (image.rows, image.columns) == (320, 320)
    nodule, heart = (image.matrices[64][heatmap.manifest.classes.index(name)] for name in ("Nodule", "Cardiomegaly"))
    assert nodule[:3].max() == 0 and heart[:20].max() == 0  # no nodule above the shoulders, no heart in the neck
    for region in image.regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 320 and image.present[region.class_name]
    assert all(image.global_probabilities[name] <= 1 for name in heatmap.manifest.classes)


def test_scans_share_forward_passes_in_the_engine(heatmap: FunctionPackage, tmp_path: Path) -> None:
    """Several scans at once, each of its own number of segments, give what each gives alone."""
    package = SegmentPackage.of(heatmap)
    paths = [path for seed in (3, 4, 5) for path in chest(seed, size=(320, 320)).write(tmp_path / str(seed))]
    alone = [package.run([path]) for path in paths]
    with Engine(batch=8) as engine:
        asked = [engine.submit(package, [partial(package.read, path)]) for path in paths]
        for request in asked:
            assert request.done.wait(60)
    for one, request in zip(alone, asked, strict=True):
        assert request.error is None and request.findings is not None
        a, b = one.images[0], request.findings.images[0]
        assert a.sop_instance_uid == b.sop_instance_uid and a.present == b.present
        for row, matrix in a.matrices.items():
            assert np.abs(matrix.astype(int) - b.matrices[row]).max() <= 1
        assert [r.class_name for r in a.regions] == [r.class_name for r in b.regions]


def test_an_image_that_was_not_cut_is_no_input(heatmap: FunctionPackage, chest_file: Path) -> None:
    with pytest.raises(TypeError, match="not cut"):
        SegmentPackage.of(heatmap).batch([heatmap.read(chest_file)])


def blind() -> RegionFinder:
    """A finder whose network says one half everywhere, which is no region."""
    network = RegionNetwork(len(REGIONS))
    for values in network.parameters():
        torch.nn.init.zeros_(values)
    return RegionFinder(network, 128)


def test_pictures_without_lungs_are_refused(heatmap: FunctionPackage, finder: RegionFinder, chest_file: Path) -> None:
    detector = SegmentPackage.of(heatmap, blind())
    with pytest.raises(NoRegion, match=r"PA\.dcm: no lungs"):
        detector.run([chest_file])
    with pytest.raises(ValueError, match="no image"):
        detector.run([])
    with pytest.raises(ValueError, match="no heat maps"):
        SegmentPackage.of(load_package(MALIGNANCY, "cpu"), finder)


def test_outlines_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regions", "--phantoms", "2", "--out", str(tmp_path / "r.png")]) == 0
    assert (tmp_path / "r.png").stat().st_size > 10_000
    assert main(["regions"]) == 2 and "neither files" in capsys.readouterr().err
