"""The input check: header claims, quality measures, words of mismatch, and the shipped package."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from scipy import ndimage

from inference.check import CATEGORIES, InputCheck
from inference.check.categories import Claim, agrees, claim_of
from inference.check.check import InputChecker, load_checker, mismatches
from inference.check.examples import HELD_OUT, TRAINING, real_path
from inference.check.quality import measure, poor
from inference.cli import main
from inference.evaluation.check import read_nrrd
from inference.package import BadManifest, load
from inference.phantoms import breast_case, chest
from inference.preprocess import Unsupported
from tests.inference.conftest import HEATMAP, SHIPPED


def header(**values: object) -> Dataset:
    ds = Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"Modality": "MG"}, "mammogram"),
        ({"Modality": "CT", "BodyPartExamined": "CHEST"}, "ct"),
        ({"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"}, "chest_frontal"),
        ({"Modality": "CR", "ViewPosition": "AP"}, "chest_frontal"),
        ({"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "LL"}, "chest_lateral"),
        ({"Modality": "CR", "BodyPartExamined": "CHEST"}, None),
        ({"Modality": "DX", "BodyPartExamined": "HAND", "ViewPosition": "PA"}, "other"),
        ({"Modality": "US"}, "other"),
        ({"Modality": "OT"}, None),
        ({}, None),
    ],
)
def test_what_a_header_claims(values: dict[str, object], wanted: str | None) -> None:
    assert claim_of(header(**values)).category == wanted


@pytest.mark.parametrize("view", ["LateralProjection", "LeftLateral", "RightLateral"])
def test_lateral_view_codes(view: str) -> None:
    code = getattr(codes.cid4010, view)
    item = header(CodeValue=code.value)
    claim = claim_of(header(Modality="DX", BodyPartExamined="CHEST", ViewCodeSequence=[item]))
    assert claim.category == "chest_lateral"


def test_a_chest_without_view_is_either_chest() -> None:
    claim = claim_of(header(Modality="CR", BodyPartExamined="CHEST"))
    assert [name for name in CATEGORIES if agrees(claim, name)] == ["chest_frontal", "chest_lateral"]
    assert all(agrees(claim_of(header(Modality="OT")), name) for name in CATEGORIES)


def test_mismatches_in_words() -> None:
    claim = Claim("mammogram", "MG", "MONOCHROME1")
    assert mismatches(claim, "ct", 0.974, True, True, None) == (
        "the header says MG; the picture looks like a CT slice (97%)",
        "the tones look inverted, what is dense is dark; the header says MONOCHROME1",
    )
    assert mismatches(claim, "ct", 0.5, False, None, None) == ()
    assert mismatches(None, "chest_frontal", 0.9, True, False, 270) == (
        "the picture looks turned by 270 degrees clockwise",
    )


def test_quality_of_spoilt_pictures() -> None:
    pixels = (chest(3, size=(640, 640)).pixels / 4095).astype(np.float32)
    rng = np.random.default_rng(5)
    assert poor(measure(pixels)) == ()
    spoilt = {
        "blurred": ndimage.gaussian_filter(pixels, 3),
        "noisy": np.clip(pixels + 0.15 * rng.standard_normal(pixels.shape), 0, 1),
        "little contrast": 0.4 + 0.15 * pixels,
        "burnt out": np.clip(pixels * 2.5, 0, 1),
        "low resolution": pixels[::4, ::4],
    }
    for words, spoiled in spoilt.items():
        said = poor(measure(spoiled.astype(np.float32)))
        assert any(text.startswith(words) for text in said), (words, said)


def test_noise_is_measured_as_it_was_added() -> None:
    """Immerkær's estimate of white noise on a smooth ramp, in parts of the ramp's contrast."""
    ramp = np.tile(np.linspace(0.2, 0.8, 512, dtype=np.float32), (512, 1))
    noisy = ramp + 0.02 * np.random.default_rng(2).standard_normal(ramp.shape).astype(np.float32)
    found = measure(noisy)
    assert found["noise"] == pytest.approx(0.02 / found["contrast"], rel=0.05)
    assert measure(np.zeros((300, 300), np.float32))["contrast"] == 0


def test_training_and_held_out_files_are_apart() -> None:
    trained = {name for files in TRAINING.values() for name in files}
    held = {name for files in HELD_OUT.values() for name in files}
    assert not trained & held and all(real_path(*name).is_file() for name in trained | held)
    with pytest.raises(FileNotFoundError):
        real_path("pydicom", "data/test_files/nothing.dcm")


def test_nrrd_is_read(tmp_path: Path) -> None:
    values = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    head = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: little\nencoding: raw\n\n"
    path = tmp_path / "v.nrrd"
    path.write_bytes(head + values.tobytes())
    assert (read_nrrd(path) == values).all()


@pytest.fixture(scope="module")
def checker() -> InputChecker:
    return load_checker()


def test_the_shipped_check_on_phantoms(checker: InputChecker, chest_file: Path, case_files: list[Path]) -> None:
    found = checker.check(chest_file)
    assert (found.category, found.claimed, found.certain) == ("chest_frontal", "chest_frontal", True)
    assert (found.inverted, found.rotation, found.mismatches) == (False, 0, ())
    assert InputCheck.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.weights_sha256 == checker.manifest.weights_sha256
    for path in case_files:
        assert checker.check(path).category == "mammogram"


def test_a_wrong_header_is_said(checker: InputChecker, chest_file: Path, tmp_path: Path) -> None:
    ds = dcmread(chest_file)
    ds.Modality = "MG"
    upright = ds.pixel_array
    ds.PixelData = np.ascontiguousarray(np.rot90(upright, -1)).tobytes()
    ds.save_as(tmp_path / "turned.dcm")
    found = checker.check(tmp_path / "turned.dcm")
    said = " | ".join(found.mismatches)
    assert "the header says MG" in said and "a frontal chest x-ray" in said
    assert "turned by 90 degrees clockwise" in said and (found.inverted, found.rotation) == (False, 90)
    ds.PixelData, ds.PhotometricInterpretation = upright.tobytes(), "MONOCHROME1"
    ds.save_as(tmp_path / "negative.dcm")
    found = checker.check(tmp_path / "negative.dcm")
    said = " | ".join(found.mismatches)
    assert "the tones look inverted" in said and "MONOCHROME1" in said
    assert (found.inverted, found.rotation, found.fine) == (True, 0, False)


def test_cut_off_lungs_are_said(checker: InputChecker) -> None:
    pixels = (chest(11, classes=(), size=(512, 512)).pixels / 4095).astype(np.float32)
    assert checker.picture(pixels).cut_off == ()
    assert any("left lung" in text for text in checker.picture(pixels[:, :400]).cut_off)


def test_unseen_phantoms(checker: InputChecker) -> None:
    pictures, wanted = [], []
    for index in range(12):
        pictures.append((chest(920_000_000 + index, size=(256, 256)).pixels / 4095).astype(np.float32))
        wanted.append("chest_frontal")
        made = breast_case(920_000_000 + index, size=(256, 208)).images[index % 4]
        pictures.append((made.pixels / 4095).astype(np.float32))
        wanted.append("mammogram")
    found, turns, inverted = checker.probabilities(pictures)
    assert [CATEGORIES[int(k)] for k in found.argmax(1)] == wanted
    assert (turns[::2].argmax(1) == 0).all() and (inverted < 0.5).all()
    turned = [np.ascontiguousarray(np.rot90(p, -1)) for p in pictures[::2]]
    assert (checker.probabilities(turned)[1].argmax(1) == 1).mean() > 0.9
    assert (checker.probabilities([1 - p for p in pictures])[2] > 0.5).mean() > 0.9


def test_real_files_of_packages_that_were_not_trained_on(checker: InputChecker) -> None:
    right = []
    for category, files in HELD_OUT.items():
        for package, name in files:
            found = checker.check(real_path(package, name))
            right.append(found.category == category)
    assert np.mean(right) >= 0.75


@pytest.mark.reference
def test_real_chests_and_a_mislabelled_one(checker: InputChecker) -> None:
    folder = Path(os.environ["CONCORD_REFERENCE_DATA"]) / "chest"
    good, negative = checker.check(folder / "cr_jpeg.dcm"), checker.check(folder / "cr_monochrome1.dcm")
    assert (good.category, good.rotation, good.inverted) == ("chest_frontal", 0, False)
    assert (negative.category, negative.inverted) == ("chest_frontal", True)
    images = np.load(folder.parent / "nih64" / "images.npz")["images"][::8]
    found, _, _ = checker.probabilities([(image / 255).astype(np.float32) for image in images])
    assert (found.argmax(1) == 0).mean() > 0.9


def test_files_that_cannot_be_checked(checker: InputChecker, capsys: pytest.CaptureFixture[str]) -> None:
    many = real_path("data_store", "data/OBXXXX1A_2frame.dcm")
    with pytest.raises(Unsupported):
        checker.check(many)
    assert main(["check", str(many), str(real_path("data_store", "data/RG3_UNCR.dcm"))]) == 1
    caught = capsys.readouterr()
    assert "2 frames" in caught.err and json.loads(caught.out.splitlines()[1])["category"] in CATEGORIES


def test_helpers_are_no_functions() -> None:
    with pytest.raises(BadManifest, match="helper"):
        load(SHIPPED / "input-check")
    with pytest.raises(BadManifest, match="no input check"):
        load_checker(HEATMAP)


def test_its_card_is_honest(checker: InputChecker) -> None:
    card = (SHIPPED / "input-check" / "card.md").read_text()
    assert "Not fit for care" in card and "No real lateral x-ray was at hand" in card
    assert f"{checker.manifest.metrics['accuracy']:.3f}" in card
    assert checker.manifest.training["command"] == "python -m inference ship input-check --seed 1"
