"""A function that was trained on segments, in the portal: registered, run on whole scans, merged (seed 002)."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from django.conf import LazySettings

from inference.package import load
from inference.phantoms import chest
from inference.segments import detect
from inference.segments.detect import SegmentPackage
from portal.functions.actions import move
from portal.functions.register import register_package
from portal.infer import actions, execute, tasks
from portal.infer.models import ImageResult, Matrix, Run
from tests.factories import archive as make
from tests.inference.test_segment_scans import blind

pytestmark = pytest.mark.django_db(transaction=True)
SHIPPED = Path(__file__).parents[2] / "inference" / "shipped" / "heatmap-chest-phantom"


@pytest.fixture
def folder(tmp_path: Path, settings: LazySettings) -> Path:
    """The chest function, said to be trained on segments."""
    settings.PACKAGES_ROOT = tmp_path / "packages"
    folder = shutil.copytree(SHIPPED, settings.PACKAGES_ROOT / SHIPPED.name)
    manifest = folder / "function.toml"
    text = manifest.read_text()
    assert "segments_of = 0" in text
    manifest.write_text(text.replace("segments_of = 0", "segments_of = 320"))
    version = register_package(folder)
    move(version, "commissioning")
    move(version, "in_service")
    return folder


def test_a_scan_is_cut_analysed_and_one_again(folder: Path, tmp_path: Path) -> None:
    [path] = chest(4, size=(320, 320)).write(tmp_path / "scan")
    study = make.settled([path.read_bytes()], make.organisation())
    [run] = actions.plan_runs(study.pk)
    actions.prepare_run(run.pk)  # nothing to prepare without a network, and the run goes on
    run.refresh_from_db()
    assert run.ready
    tasks.execute_run(str(run.pk))
    run.refresh_from_db()
    assert (run.state, run.error) == (Run.State.DONE, "")
    assert run.provenance["parameters"]["segments"] is True
    assert run.provenance["parameters"]["region_finder"].startswith("regions-chest-phantom")

    package = load(folder, "cpu")
    assert isinstance(package, SegmentPackage)
    [image] = package.run([path]).images
    stored = ImageResult.objects.get(run=run)
    assert stored.present == image.present
    assert [region["class_name"] for region in stored.regions] == [region.class_name for region in image.regions]
    for row, expected in image.matrices.items():
        kept = Matrix.objects.get(image=stored, row=row)
        values = np.frombuffer(gzip.decompress(kept.data), np.uint8).reshape(kept.shape)
        assert np.abs(values.astype(int) - expected).max() <= 1
    nodule = image.matrices[64][package.manifest.classes.index("Nodule")]
    assert nodule[:3].max() == 0  # above the shoulders is no lung


def test_a_picture_without_lungs_is_an_error_with_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "load_finder", blind)
    study = make.settled([make.image("DX", BodyPartExamined="CHEST", Rows=160, Columns=128)], make.organisation())
    [run] = actions.plan_runs(study.pk)
    ended = execute.execute_run(run.pk)
    assert (ended.state, ended.error_code) == (Run.State.FAILED, "unreadable_image")
    assert "no lungs" in ended.error and "/" not in ended.error
