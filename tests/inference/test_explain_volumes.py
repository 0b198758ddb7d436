"""Maps of volumes as DICOM: valid by dciodvfy, read back by highdicom, every cell where the scan has it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from inference.explain import MapSet
from inference.explain.objects import save
from inference.explain.volume import Stack, read_stack, volume_objects, volume_of
from inference.preprocess.errors import ImageError
from tests.inference.test_explain_objects import errors

WHEN = dt.datetime(2026, 11, 21, 9, 30, 15)
NAMES = ("Nodule", "Mass")
SLICES, ROWS, COLUMNS, STEP = 6, 32, 48, 2.5
COSINES = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]  # rows run obliquely, columns towards the feet
NORMAL = np.cross(COSINES[:3], COSINES[3:])
ORIGIN = np.array([10.0, -20.0, 30.0])


def one_slice(number: int, common: dict[str, str]) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in common.items():
        setattr(ds, keyword, value)
    ds.PatientName = ds.PatientID = "P-0001"
    ds.PatientBirthDate = ds.PatientSex = ds.StudyID = ds.StudyDate = ds.StudyTime = ""
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ""
    ds.Modality, ds.BodyPartExamined, ds.InstanceNumber = "CT", "CHEST", number + 1
    ds.Rows, ds.Columns, ds.PixelSpacing, ds.SliceThickness = ROWS, COLUMNS, [0.5, 0.75], STEP
    ds.ImageOrientationPatient = COSINES
    ds.ImagePositionPatient = [round(float(v), 6) for v in ORIGIN + number * STEP * NORMAL]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = np.full((ROWS, COLUMNS), number, np.uint16).tobytes()
    return ds


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    """Six files whose names and numbers do not run as the slices lie: 3, 0, 5, 1, 4, 2."""
    names = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    common = {name: str(generate_uid()) for name in names}
    return [
        save(one_slice(number, common), tmp_path / f"{place}.dcm") for place, number in enumerate([3, 0, 5, 1, 4, 2])
    ]


@pytest.fixture
def enhanced(tmp_path: Path) -> Path:
    """The same volume as one file of six frames, the last slice first."""
    common = {name: str(generate_uid()) for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    ds = one_slice(0, common)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.NumberOfFrames = SLICES
    ds.PixelData = bytes(2 * ROWS * COLUMNS * SLICES)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, STEP
    orientation.ImageOrientationPatient = COSINES
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for number in reversed(range(SLICES)):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = [round(float(v), 6) for v in ORIGIN + number * STEP * NORMAL]
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"):
        del ds[keyword]
    return save(ds, tmp_path / "enhanced.dcm")


def maps_for(path: Path, slices: int, cells: int = 8) -> MapSet:
    matrix = np.random.default_rng(4).integers(0, 256, (len(NAMES), slices, cells, cells)).astype(np.uint8)
    return MapSet(
        sop_instance_uid=str(dcmread(path, stop_before_pixels=True).SOPInstanceUID),
        function_id="nodules-ct",
        version="0.1.0",
        weights_sha256="5" * 64,
        code_version="0.1.0",
        names=NAMES,
        matrix=matrix,
        probabilities=dict.fromkeys(NAMES, 0.9),
        present=dict.fromkeys(NAMES, True),
        thresholds=dict(zip(NAMES, (0.5, 0.75), strict=True)),
    )


def lies_at(stack: Stack, cells: int, slices: int) -> np.ndarray:
    """(M, 3): where each map slice's first cell's centre must lie, worked out by hand from the volume's outer edge."""
    edge = ORIGIN - 0.5 * STEP * NORMAL - 0.25 * np.array(COSINES[3:]) - 0.375 * np.array(COSINES[:3])
    down, right = ROWS * 0.5 / cells / 2, COLUMNS * 0.75 / cells / 2
    first = edge + down * np.array(COSINES[3:]) + right * np.array(COSINES[:3])
    return np.array([first + (m + 0.5) * SLICES * STEP / slices * NORMAL for m in range(slices)])


@pytest.mark.parametrize("kind", ["seg", "seg-binary", "pm"])
@pytest.mark.parametrize("many", [True, False], ids=["slices", "frames"])
@pytest.mark.parametrize("deep", [SLICES, 3], ids=["every slice", "every second"])
def test_a_volume_is_valid_and_lies_over_the_scan(
    kind: str, many: bool, deep: int, slices: list[Path], enhanced: Path, tmp_path: Path
) -> None:
    # a coarser map takes the slices as they lie
    files = [enhanced] if not many else slices if deep == SLICES else sorted_by_place(slices)
    stack, maps = read_stack(files), maps_for(files[0], deep)
    [(name, made)] = list(volume_objects(maps, stack, kind, WHEN))
    path = save(made, tmp_path / f"{name}.dcm")
    assert errors(path) == []
    # as the slices lie along the normal
    given = [3, 0, 5, 1, 4, 2] if many else [5, 4, 3, 2, 1, 0]
    wanted = maps.matrix[:, np.argsort(given)] if deep == SLICES else maps.matrix if many else maps.matrix[:, ::-1]
    places = lies_at(stack, 8, deep)
    if kind == "pm":
        back = hd.imread(path)
        frames, found = back.pixel_array, np.zeros(wanted.shape, np.float32)
        for frame, group in zip(frames, back.PerFrameFunctionalGroupsSequence, strict=True):
            label = group.FrameContentSequence[0].FrameLabel
            at = np.array([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])
            assert np.abs(places - at).sum(axis=1).min() < 1e-4
            found[NAMES.index(label), np.abs(places - at).sum(axis=1).argmin()] = frame
        assert np.array_equal(found, wanted / np.float32(255))
        return
    back = hd.seg.segread(path)
    for number, (label, grid) in enumerate(zip(NAMES, wanted, strict=True), 1):
        volume = back.get_volume(segment_numbers=[number], combine_segments=False, rescale_fractional=False)
        assert volume.spatial_shape == (deep, 8, 8)
        over = grid if kind == "seg" else grid >= 255 * maps.thresholds[label]
        stored = volume.array[..., 0]
        # highdicom may hand the slices out from the other end; the affine says which is which
        at = volume.map_indices_to_reference(np.array([[m, 0, 0] for m in range(deep)]))
        order = [int(np.abs(places - one).sum(axis=1).argmin()) for one in at]
        assert sorted(order) == list(range(deep)) and np.abs(at - places[order]).max() < 1e-4
        assert np.array_equal(stored, over[order])


def sorted_by_place(paths: list[Path]) -> list[Path]:
    return [paths[i] for i in np.argsort([3, 0, 5, 1, 4, 2])]


def test_the_maps_of_slices_become_one_volume(slices: list[Path]) -> None:
    stack = read_stack(slices)
    single = []
    for n, path in enumerate(slices):
        whole = maps_for(path, SLICES)
        given = {"Nodule": n / 10, "Mass": 0.1}
        present = {"Nodule": n == 2, "Mass": False}
        single.append(replace(whole, matrix=whole.matrix[:, n], probabilities=given, present=present))
    volume = volume_of(single)
    assert volume.matrix.shape == (2, SLICES, 8, 8) and len(volume.others) == SLICES - 1
    assert volume.probabilities == {"Nodule": 0.5, "Mass": 0.1} and volume.present == {"Nodule": True, "Mass": False}
    made = dict(volume_objects(volume, stack, "pm", WHEN, each=True))
    assert list(made) == ["pm-Nodule", "pm-Mass"] and made["pm-Mass"].NumberOfFrames == SLICES
    assert len({ds.SeriesInstanceUID for ds in made.values()}) == 1
    uids = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in slices}
    for ds in made.values():
        [series] = ds.ReferencedSeriesSequence
        assert {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence} == uids
    with pytest.raises(ValueError, match="one function and one size"):
        volume_of([single[0], replace(single[1], version="9")])


def test_what_is_no_stack_is_refused_by_name(slices: list[Path], tmp_path: Path) -> None:
    def spoilt(**values: object) -> list[Path]:
        ds = dcmread(slices[2])
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        return [*slices[:2], save(ds, tmp_path / "spoilt.dcm"), *slices[3:]]

    for values, words in (
        ({"ImagePositionPatient": [0, 0, 0]}, "even distances"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "not parallel"),
        ({"FrameOfReferenceUID": "1.2.3"}, "differ in FrameOfReferenceUID"),
        ({"ImagePositionPatient": None}, "no patient coordinates"),
    ):
        with pytest.raises(ImageError, match=words):
            read_stack(spoilt(**values))
    with pytest.raises(ImageError, match="no volume"):
        read_stack(slices[:1])
    with pytest.raises(ValueError, match="out of order"):
        list(volume_objects(maps_for(slices[0], 3), read_stack(slices), "seg", WHEN))
    with pytest.raises(ValueError, match="none of seg"):
        list(volume_objects(maps_for(slices[0], 6), read_stack(slices), "sc", WHEN))
