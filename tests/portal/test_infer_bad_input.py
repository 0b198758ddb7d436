"""Bad images and packages through the gpu worker's task: named on their own run, the scan beside them is read."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from inference.phantoms import chest
from portal.accounts.models import Organisation
from portal.core.models import OutboxEvent
from portal.functions.models import FunctionVersion
from portal.infer import actions, inputs, serving, tasks
from portal.infer.models import Matrix, Run
from tests.factories import archive as make

pytestmark = pytest.mark.django_db(transaction=True)
HEATMAP = "heatmap-chest-phantom"


@pytest.fixture
def lakeside() -> Organisation:
    call_command("concord_register_packages")
    inputs.SHELF.trim(0)
    return make.organisation()


def x_ray(pixels: np.ndarray, **values: Any) -> Dataset:
    values = {"Rows": pixels.shape[0], "Columns": pixels.shape[1], "BodyPartExamined": "CHEST", **values}
    return make.image("DX", PixelData=pixels.tobytes(), **values)


def picture(seed: int = 3) -> np.ndarray:
    return chest(seed, size=(256, 256)).pixels.astype(np.uint16)


def queued(org: Organisation, *images: Dataset) -> Run:
    """Through settling, planning and preparing, as the queues do it."""
    study = make.settled(list(images), org)
    [run] = actions.plan_runs(study.pk)
    tasks.prepare_run(str(run.pk))
    return run


def served(*runs: Run) -> list[Run]:
    """What the gpu worker makes of runs that wait together."""
    row = OutboxEvent.objects.get(task="portal.infer.tasks.execute_run", key=str(runs[0].pk))
    tasks.execute_run(row.key, outbox_id=row.pk)
    return [Run.objects.get(pk=run.pk) for run in runs]


def not_finite() -> Dataset:
    values = picture().astype(np.float32)
    values[5, 5] = np.nan
    ds = x_ray(values, BitsAllocated=32, BitsStored=None, HighBit=None, PixelRepresentation=None)
    ds.FloatPixelData = ds.PixelData
    del ds.PixelData
    return ds


def endless() -> Dataset:
    return x_ray(picture(), RescaleSlope="1e30", RescaleIntercept="1e39")


def one_pixel() -> Dataset:
    return x_ray(np.ones((1, 1), np.uint16))


def huge() -> Dataset:
    """20,000² black pixels as 6 MB: PackBits runs of 128 and 32 (PS3.5 annex G)."""
    row = b"\x81\x00" * 156 + b"\xe1\x00"
    stream = np.array([1, 64, *[0] * 14], "<u4").tobytes() + row * 20_000
    ds = make.image("DX", Rows=20_000, Columns=20_000, BitsAllocated=8, BitsStored=8, HighBit=7,
                    BodyPartExamined="CHEST", PixelData=encapsulate([stream]))  # fmt: skip
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = RLELossless
    return ds


def flat() -> Dataset:
    return x_ray(np.full((64, 64), 7, np.uint16))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (not_finite, "not finite"),
        (endless, "not finite"),
        (one_pixel, "each side must have"),
        (huge, "over the limit"),
        (flat, "all pixels are the same"),
    ],
)
def test_a_bad_image_is_named_and_the_scan_beside_it_is_read(
    lakeside: Organisation, bad: Callable[[], Dataset], says: str
) -> None:
    spoilt, good = queued(lakeside, bad()), queued(lakeside, x_ray(picture()))
    first, second = served(spoilt, good)
    assert (first.state, first.error_code) == ("failed", "unreadable_image") and says in first.error, first.error
    assert second.state == "done" and second.images.count() == 1
    [after] = served(queued(lakeside, x_ray(picture(4))))
    assert after.state == "done"


def test_a_bad_image_beside_a_good_one_of_its_study_is_a_warning(lakeside: Organisation) -> None:
    good, bad = x_ray(picture()), one_pixel()
    bad.StudyInstanceUID, bad.SeriesInstanceUID = good.StudyInstanceUID, good.SeriesInstanceUID
    [run] = served(queued(lakeside, good, bad))
    assert run.state == "done" and run.images.count() == 1
    assert any("each side must have" in text for text in run.result.warnings)


def test_colour_is_read_as_luminance_and_said(lakeside: Organisation) -> None:
    grey = (picture() >> 4).astype(np.uint8)
    rgb = x_ray(np.repeat(grey[..., None], 3, axis=2), SamplesPerPixel=3, PhotometricInterpretation="RGB",
                PlanarConfiguration=0, BitsAllocated=8, BitsStored=8, HighBit=7)  # fmt: skip
    [run] = served(queued(lakeside, rgb))
    assert run.state == "done" and any("luminance" in text for text in run.result.warnings)


def said(run: Run) -> dict[int, bytes]:
    rows = Matrix.objects.filter(image__run=run).values_list("row", "data")
    return {row: gzip.decompress(bytes(data)) for row, data in rows}


def test_monochrome1_says_the_same_as_its_twin(lakeside: Organisation) -> None:
    """The same film, stored the other way round (PS3.3 C.7.6.3.1.2): value and window mirrored in 0 … 4095."""
    pixels = picture()
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    twin = x_ray(4095 - pixels, PhotometricInterpretation="MONOCHROME1", **window)
    first, second = served(queued(lakeside, x_ray(pixels, **window)), queued(lakeside, twin))
    assert first.state == second.state == "done"
    a, b = said(first), said(second)
    assert set(a) == {8, 16, 32, 64} == set(b)
    for row, data in a.items():
        apart = np.abs(np.frombuffer(data, np.uint8).astype(int) - np.frombuffer(b[row], np.uint8))
        assert apart.max() <= 1  # the mirrored window rounds the other way
    one, other = first.images.get(), second.images.get()
    assert one.present == other.present
    assert one.global_probabilities == pytest.approx(other.global_probabilities, abs=1e-3)


def spoil(folder: Path, how: str) -> None:
    weights, manifest = folder / "weights.safetensors", folder / "function.toml"
    content, text = weights.read_bytes(), manifest.read_text()
    if how == "flipped":
        weights.write_bytes(content[:5000] + bytes([content[5000] ^ 4]) + content[5001:])
    elif how == "garbage":  # and registered with it
        weights.write_bytes(b"\xff" * 4096)
        old, new = (hashlib.sha256(data).hexdigest() for data in (content, weights.read_bytes()))
        manifest.write_text(text.replace(old, new))
        FunctionVersion.objects.filter(package=folder.name).update(weights_sha256=new)
    elif how == "no classes":
        manifest.write_text("\n".join(line for line in text.splitlines() if not line.startswith("classes")))
    else:
        FunctionVersion.objects.filter(package=folder.name).update(weights_sha256="f" * 64)


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("flipped", "wrong_hash", "weights.safetensors has SHA-256"),
        ("garbage", "bad_package", "do not fit the network"),
        ("no classes", "bad_package", "lacks the entry 'classes'"),
        ("another", "wrong_hash", "not those that were registered"),
    ],
)
def test_a_bad_package_is_named_and_the_other_function_goes_on(
    lakeside: Organisation, settings: Any, tmp_path: Path, how: str, code: str, says: str
) -> None:
    shutil.copytree(django_settings.PACKAGES_ROOT, tmp_path / "packages")
    settings.PACKAGES_ROOT = tmp_path / "packages"
    serving.packages.cache_clear()
    spoil(settings.PACKAGES_ROOT / HEATMAP, how)
    broken = queued(lakeside, x_ray(picture()))
    other = queued(lakeside, *make.case_of_four(Rows=160, Columns=128))
    first, second = served(broken, other)
    assert (first.state, first.error_code, second.state) == ("failed", code, "done"), first.error
    assert says in first.error and "/" not in first.error
    serving.packages.cache_clear()
