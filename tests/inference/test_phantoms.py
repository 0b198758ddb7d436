"""Phantoms: the same for the same seed, valid DICOM, truth that fits the picture."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from inference.phantoms import CHEST_CLASSES, BreastCase, ChestImage, ImageTruth, breast_case, chest
from inference.training.config import CHEST_CLASSES as TRAINED_CLASSES


def test_same_seed_same_bytes(small_case: BreastCase, case_files: list[Path], tmp_path: Path) -> None:
    again = breast_case(41, malignant=True, size=(640, 520)).write(tmp_path)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in case_files]
    assert (tmp_path / "truth.json").read_text() == (case_files[0].parent / "truth.json").read_text()
    other = breast_case(42, malignant=True, size=(640, 520))
    assert not np.array_equal(other.images[0].pixels, small_case.images[0].pixels)


def test_same_anatomy_at_every_size() -> None:
    small, large = chest(5, classes=["Mass"], size=(256, 256)), chest(5, classes=["Mass"], size=(512, 512))
    assert np.array(large.truth.lesions[0].box) / 2 == pytest.approx(np.array(small.truth.lesions[0].box), abs=2)
    shrunk = large.pixels.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.pixels.ravel())[0, 1] > 0.98


def test_chest_classes_are_those_of_the_network() -> None:
    assert CHEST_CLASSES == TRAINED_CLASSES and len(CHEST_CLASSES) == 14


@pytest.mark.parametrize("name", CHEST_CLASSES)
def test_each_finding_changes_the_picture_where_its_mask_is(name: str) -> None:
    found, healthy = chest(3, classes=[name], size=(256, 256)), chest(3, classes=[], size=(256, 256))
    lesion = found.truth.lesions[0]
    assert found.truth.classes == (name,) and lesion.kind == name and healthy.truth.lesions == ()
    change = np.abs(found.pixels.astype(int) - healthy.pixels.astype(int))
    inside, outside = change[lesion.mask].mean(), change[~lesion.mask].mean()
    assert inside > 3 * outside
    x0, y0, x1, y1 = lesion.box
    ys, xs = np.nonzero(lesion.mask)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x0, y0, x1, y1)


def test_malignant_lesion_is_in_both_views_of_one_side(small_case: BreastCase) -> None:
    malignant = [image.name for image in small_case.images if image.truth.malignant]
    side = small_case.malignant_side
    assert malignant == [f"{side}-CC", f"{side}-MLO"]


@pytest.mark.parametrize("seed", range(6))
def test_lesions_are_brighter_than_their_neighbourhood_and_inside_the_breast(seed: int) -> None:
    case = breast_case(seed, malignant=True, size=(512, 416), density="A")
    for image in case.images:
        for lesion in image.truth.lesions:
            assert image.pixels[lesion.mask].mean() > 900  # air lies below 250
            if "mass" in lesion.kind:
                x0, y0, x1, y1 = (int(v) for v in lesion.box)
                around = image.pixels[max(0, y0 - 8) : y1 + 8, max(0, x0 - 8) : x1 + 8]
                assert image.pixels[lesion.mask].mean() > np.median(around)


def test_no_malignant_lesion_in_a_benign_case() -> None:
    for seed in range(5):
        case = breast_case(seed, malignant=False, size=(256, 208))
        assert case.malignant_side is None
        assert not any(image.truth.malignant for image in case.images)


def test_density_shows() -> None:
    means = []
    for density in "ABCD":
        pixels = breast_case(9, malignant=False, density=density, size=(256, 208)).images[1].pixels
        means.append(pixels[pixels > 900].mean())
    assert means == sorted(means)


def test_prior_is_the_same_person_with_a_smaller_lesion() -> None:
    case = breast_case(41, malignant=True, size=(512, 416), prior=True)
    prior = case.prior
    assert prior is not None and prior.identity.patient_id == case.identity.patient_id
    assert prior.identity.study_date < case.identity.study_date
    assert prior.identity.study_uid != case.identity.study_uid

    def area(c: BreastCase) -> int:
        return sum(int(s.mask.sum()) for i in c.images for s in i.truth.lesions if s.malignant)

    assert 0 < area(prior) < area(case)


def test_tags_of_a_mammogram(case_files: list[Path]) -> None:
    by_name = {path.stem: dcmread(path) for path in case_files}
    assert sorted(by_name) == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
    assert len({ds.StudyInstanceUID for ds in by_name.values()}) == 1
    assert len({ds.SOPInstanceUID for ds in by_name.values()}) == 4
    orientation = {name: list(ds.PatientOrientation) for name, ds in by_name.items()}
    assert orientation == {"R-CC": ["P", "L"], "L-CC": ["A", "R"], "R-MLO": ["P", "FL"], "L-MLO": ["A", "FR"]}
    for name, ds in by_name.items():
        assert f"{ds.ImageLaterality}-{ds.ViewPosition}" == name
        assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"
        assert ds.PresentationIntentType == "FOR PRESENTATION" and ds.PhotometricInterpretation == "MONOCHROME2"
        assert (ds.BitsAllocated, ds.BitsStored, ds.Rows, ds.Columns) == (16, 12, 640, 520)
        assert ds.pixel_array.max() < 4096
        # The chest wall lies at the left edge of left breasts and at the right edge of right ones.
        wall, air = ds.pixel_array[:, :20], ds.pixel_array[:, -20:]
        assert (wall.mean() > air.mean()) == (ds.ImageLaterality == "L")


def test_identities_are_there_to_be_removed(case_files: list[Path]) -> None:
    ds = dcmread(case_files[0])
    name = str(ds.PatientName)
    nested = ds.RequestAttributesSequence[0].ReferencedPatientSequence[0]
    assert str(nested.PatientName) == name
    assert name in ds.private_block(0x0099, "CONCORD PHANTOM")[0x01].value
    assert ds.PatientID and ds.PatientBirthDate and ds.AccessionNumber and ds.InstitutionName


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(case_files: list[Path], chest_file: Path) -> None:
    for path in (case_files[0], case_files[3], chest_file):
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_truth_survives_its_file(small_chest: ChestImage, chest_file: Path) -> None:
    raw = json.loads((chest_file.parent / "truth.json").read_text())
    truth = ImageTruth.from_dict(raw["images"][0])
    assert truth.classes == small_chest.truth.classes
    for read, known in zip(truth.lesions, small_chest.truth.lesions, strict=True):
        overlap = (read.mask & known.mask).sum() / (read.mask | known.mask).sum()
        assert overlap > 0.85


@pytest.mark.parametrize("call", [
    lambda: chest(1, classes=["Measles"], size=(128, 128)),
    lambda: chest(1, size=(10, 10)),
    lambda: breast_case(1, size=(10, 10)),
    lambda: breast_case(1, density="E", size=(128, 128)),
])  # fmt: skip
def test_impossible_wishes_are_refused(call) -> None:
    with pytest.raises(ValueError):
        call()
