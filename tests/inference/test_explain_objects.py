"""Maps as DICOM objects: valid by dciodvfy, values exactly the matrix's, placed and referred to as the source is."""

from __future__ import annotations

import datetime as dt
import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage

from inference.explain import MapSet
from inference.explain.export import objects_of
from inference.explain.objects import save
from inference.explain.pm import parametric_map
from inference.explain.sc import secondary_capture
from inference.explain.seg import segmentation
from inference.explain.source import cell_of_pixels, place_of, read_header
from inference.preprocess.errors import ImageError

WHEN = dt.datetime(2026, 11, 21, 9, 30, 15)
CLASSES = ("Effusion", "Nodule", "Pleural_Thickening")
NEAR = 1e-9


def make_cr(path: Path, chest: Path) -> Path:
    """A computed radiograph as old readers send it: no frame of reference, oblong pixels, a lossy past, an age that
    is no age, type 2 attributes missing."""
    ds = dcmread(chest)
    keep = ["PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
            "Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
            "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "WindowCenter", "WindowWidth",
            "BodyPartExamined", "ViewPosition", "StudyDate"]  # fmt: skip
    out = Dataset()
    for keyword in keep:
        out[keyword] = ds[keyword]
    out.file_meta = ds.file_meta
    out.SOPClassUID = out.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    out.Modality, out.PatientAge, out.PixelSpacing = "CR", "62", [0.5, 0.25]
    out.LossyImageCompression, out.LossyImageCompressionRatio = "01", 10
    out.LossyImageCompressionMethod = "ISO_10918_1"
    return save(out, path)


def make_bare(path: Path, chest: Path) -> Path:
    """A digital x-ray without any pixel spacing."""
    ds = dcmread(chest)
    del ds.ImagerPixelSpacing
    return save(ds, path)


def make_slice(path: Path, chest: Path) -> Path:
    """A CT slice: rows run along x, columns along −z, 2 mm by 1 mm pixels, 96 x 160 of them, 5 mm thick."""
    ds = dcmread(make_cr(path, chest))
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        del ds[keyword]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.Modality, ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "CT", "2.25.77", ""
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 0, -1]
    ds.PixelSpacing, ds.SliceThickness = [2, 1], 5
    ds.PixelData = ds.pixel_array[:96, :160].tobytes()
    ds.Rows, ds.Columns = 96, 160
    return save(ds, path)


@pytest.fixture(scope="session")
def sources(chest_file: Path, case_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {
        "DX": chest_file,
        "MG": case_files[0],
        "CR": make_cr(folder / "cr.dcm", chest_file),
        "DX without spacing": make_bare(folder / "bare.dcm", chest_file),
        "CT": make_slice(folder / "ct.dcm", chest_file),
    }


def maps_for(path: Path, names: tuple[str, ...] = CLASSES, cells: int = 64) -> MapSet:
    """A different value everywhere, all of 0 to 255 among them."""
    matrix = np.random.default_rng(3).integers(0, 256, (len(names), cells, cells)).astype(np.uint8)
    matrix[:, 0, 0], matrix[:, -1, -1] = 0, 255
    return MapSet(
        sop_instance_uid=str(dcmread(path, stop_before_pixels=True).SOPInstanceUID),
        function_id="heatmap-chest-phantom",
        version="0.1.0",
        weights_sha256="5" * 64,
        code_version="0.1.0",
        names=names,
        matrix=matrix,
        probabilities=dict(zip(names, (0.2, 0.9, 0.4), strict=False)),
        present=dict(zip(names, (False, True, True), strict=False)),
        thresholds=dict(zip(names, (0.5, 128 / 255, 0.9), strict=False)),
    )


MAKERS: dict[str, Callable[[MapSet, Dataset], Dataset]] = {
    "seg": lambda maps, header: segmentation(maps, header, WHEN),
    "seg-binary": lambda maps, header: segmentation(maps, header, WHEN, "binary"),
    "pm": lambda maps, header: parametric_map(maps, header, WHEN),
    "pm alone": lambda maps, header: parametric_map(maps, header, WHEN, maps.names[1]),
    "sc": lambda maps, header: secondary_capture(
        maps, maps.names[1], np.linspace(0, 1, header.Rows * header.Columns, dtype=np.float32)
        .reshape(header.Rows, header.Columns), header, WHEN,
    ),
}  # fmt: skip
SOURCES = ("DX", "MG", "CR", "DX without spacing", "CT")


def errors(path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert any("Segmentation" in line or "ParametricMap" in line or "SCImage" in line for line in said), said
    return [line for line in said if "Error" in line]


def nearest(grid: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The cell of each pixel, said in another way than the code does: by the distance to cell centres in the image."""

    def index(length: int, cells: int) -> np.ndarray:
        pixels, centres = np.arange(length) + 0.5, (np.arange(cells) + 0.5) * length / cells
        # a pixel half-way between two centres belongs to the later cell, which begins there
        return np.array([cells - 1 - np.abs(centres[::-1] - p).argmin() for p in pixels])

    return grid[np.ix_(index(rows, len(grid)), index(columns, grid.shape[1]))]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("source", SOURCES)
def test_dciodvfy_finds_no_error(source: str, kind: str, sources: dict[str, Path], tmp_path: Path) -> None:
    made = MAKERS[kind](maps_for(sources[source]), read_header(sources[source]))
    assert errors(save(made, tmp_path / "made.dcm")) == []


@pytest.mark.parametrize("source", ["DX", "MG", "CR", "DX without spacing"])
def test_a_segmentation_of_a_projection_has_its_pixels(source: str, sources: dict[str, Path], tmp_path: Path) -> None:
    path = sources[source]
    maps, header = maps_for(path), read_header(path)
    rows, columns = header.Rows, header.Columns
    wanted = np.stack([nearest(grid, rows, columns) for grid in maps.matrix])

    stored = hd.seg.segread(save(segmentation(maps, header, WHEN), tmp_path / "fractional.dcm"))
    assert (stored.Rows, stored.Columns, stored.MaximumFractionalValue) == (rows, columns, 255)
    assert stored.SegmentationFractionalType == "PROBABILITY"
    assert np.array_equal(dcmread(tmp_path / "fractional.dcm").pixel_array, wanted)
    read = stored.get_pixels_by_source_instance([header.SOPInstanceUID], rescale_fractional=False)
    assert np.array_equal(np.moveaxis(read[0], -1, 0), wanted)
    assert [stored.get_segment_description(n).segment_label for n in (1, 2, 3)] == \
        ["Effusion", "Nodule", "Pleural Thickening"]  # fmt: skip

    binary = hd.seg.segread(save(segmentation(maps, header, WHEN, "binary"), tmp_path / "binary.dcm"))
    over = np.stack([wanted[0] >= 128, wanted[1] >= 128, wanted[2] >= 230])  # 0.5, 128 and 0.9 of 255, rounded up
    read = binary.get_pixels_by_source_instance([header.SOPInstanceUID])
    assert np.array_equal(np.moveaxis(read[0], -1, 0), over)
    assert np.array_equal(dcmread(tmp_path / "binary.dcm").pixel_array, over)


@pytest.mark.parametrize("cells", [8, 16, 32, 64])
@pytest.mark.parametrize("source", SOURCES)
def test_a_parametric_map_holds_the_matrix(source: str, cells: int, sources: dict[str, Path], tmp_path: Path) -> None:
    path = sources[source]
    maps, header = maps_for(path, cells=cells), read_header(path)
    read = hd.pm.ParametricMap.from_dataset(dcmread(save(parametric_map(maps, header, WHEN), tmp_path / "pm.dcm")))
    plain = dcmread(tmp_path / "pm.dcm")
    values = plain.pixel_array
    assert values.dtype == np.float32
    assert np.array_equal(values, maps.matrix.astype(np.float32) / np.float32(255))
    assert np.array_equal(np.round(values * 255).astype(np.uint8), maps.matrix)
    real = read.get_frames(apply_real_world_transform=True)
    assert np.array_equal(real, values)
    labels = [f.FrameContentSequence[0].FrameLabel for f in plain.PerFrameFunctionalGroupsSequence]
    mapped = [f.RealWorldValueMappingSequence[0] for f in plain.PerFrameFunctionalGroupsSequence]
    assert labels == list(CLASSES) and mapped[0].LUTExplanation == "Probability of effusion"
    assert {(m.RealWorldValueSlope, m.RealWorldValueIntercept) for m in mapped} == {(1.0, 0.0)}
    about = mapped[0].QuantityDefinitionSequence
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in about] == ["Probability", "Pleural effusion"]


def test_one_parametric_map_for_each_class(sources: dict[str, Path]) -> None:
    maps = maps_for(sources["DX"])
    made = dict(objects_of(maps, sources["DX"], "pm", WHEN, each=True))
    assert list(made) == ["pm-Effusion", "pm-Nodule", "pm-Pleural_Thickening"]
    for index, ds in enumerate(made.values()):
        assert np.array_equal(ds.pixel_array, maps.matrix[index] / np.float32(255))
    assert len({ds.SeriesInstanceUID for ds in made.values()}) == 1
    assert len({ds.SOPInstanceUID for ds in made.values()}) == 3
    assert [ds.InstanceNumber for ds in made.values()] == [1, 2, 3]


def test_geometry_of_a_map_of_a_projection(sources: dict[str, Path]) -> None:
    # DX: 320 pixels of 1.25 mm in 64 cells, 6.25 mm each, at the detector
    pm = parametric_map(maps_for(sources["DX"]), read_header(sources["DX"]), WHEN)
    shared = pm.SharedFunctionalGroupsSequence[0]
    assert [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing] == pytest.approx([6.25, 6.25], abs=NEAR)
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]  # L\F
    assert "at the detector, not corrected" in pm.ImageComments and pm.ImageComments.startswith("Research use only")
    # the source's frame of reference has no positions and is shared by other views, so positions found their own
    assert pm.FrameOfReferenceUID != read_header(sources["DX"]).FrameOfReferenceUID
    # CR: 0.5 mm down, 0.25 mm across
    pm = parametric_map(maps_for(sources["CR"]), read_header(sources["CR"]), WHEN)
    spacing = pm.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert [float(v) for v in spacing] == pytest.approx([2.5, 1.25], abs=NEAR)
    # 640 x 520 of 0.4484 mm: 10 and 8.125 pixels a cell
    header = read_header(sources["MG"])
    pm = parametric_map(maps_for(sources["MG"]), header, WHEN)
    spacing = pm.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert [float(v) for v in spacing] == pytest.approx([4.484, 0.4484 * 8.125], rel=1e-6)
    assert pm.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0].FrameLaterality == header.ImageLaterality
    # no spacing: none is made up, and it is said
    pm = parametric_map(maps_for(sources["DX without spacing"]), read_header(sources["DX without spacing"]), WHEN)
    assert "PixelSpacing" not in pm.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert "no pixel spacing" in pm.ImageComments


@pytest.mark.parametrize("kind", ["seg", "pm"])
def test_a_map_of_a_slice_lies_over_it_in_the_patient(kind: str, sources: dict[str, Path]) -> None:
    maps, header = maps_for(sources["CT"]), read_header(sources["CT"])
    made = MAKERS[kind](maps, header)
    assert (made.Rows, made.Columns, made.FrameOfReferenceUID) == (64, 64, "2.25.77")
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing = [float(v) for v in measures.PixelSpacing]
    assert spacing == pytest.approx([3.0, 2.5]) and measures.SliceThickness == 5  # 96·2/64, 160·1/64
    frame = made.PerFrameFunctionalGroupsSequence[0]
    first = np.array([float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient])
    # both cover the same rectangle: corners of the image and of the grid, half a pixel outside the first centre
    x, z = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
    image_corner = np.array([10, 20, 30]) - x * 0.5 - z * 1.0
    assert first - x * spacing[1] / 2 - z * spacing[0] / 2 == pytest.approx(image_corner)
    last = first + x * spacing[1] * 63.5 + z * spacing[0] * 63.5
    assert last == pytest.approx(image_corner + x * 160 + z * 192)
    stored = dcmread(io.BytesIO(_bytes(made)))
    wanted = maps.matrix if kind == "seg" else maps.matrix / np.float32(255)
    assert np.array_equal(stored.pixel_array, wanted)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("source", SOURCES)
def test_objects_refer_to_the_source_and_carry_its_patient(source: str, kind: str, sources: dict[str, Path]) -> None:
    header = read_header(sources[source])
    made = MAKERS[kind](maps_for(sources[source]), header)
    for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
                    "StudyID", "StudyDate", "StudyTime"):  # fmt: skip
        assert str(made[keyword].value or "") == str(header[keyword].value or ""), keyword
    assert made.SeriesInstanceUID != header.SeriesInstanceUID
    if kind == "sc":
        references = list(made.SourceImageSequence)
    else:
        series = made.ReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == header.SeriesInstanceUID
        assert [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence] == [header.SOPInstanceUID]
        references = [f.DerivationImageSequence[0].SourceImageSequence[0]
                      for f in made.PerFrameFunctionalGroupsSequence]  # fmt: skip
    assert {r.ReferencedSOPInstanceUID for r in references} == {header.SOPInstanceUID}
    assert {r.ReferencedSOPClassUID for r in references} == {header.SOPClassUID}
    same = kind.startswith("seg") and source != "CT"  # pixel for pixel, or resampled
    assert {r.SpatialLocationsPreserved for r in references} == {"YES" if same else "NO"}
    if kind.startswith("seg") and "FrameOfReferenceUID" in header:
        assert made.FrameOfReferenceUID == header.FrameOfReferenceUID
    assert made.LossyImageCompression == header.get("LossyImageCompression", "00")
    assert made.Manufacturer == "Concord" and made.DeviceSerialNumber == "5" * 64
    assert "research use only" in made.SeriesDescription


def test_a_secondary_capture_shows_and_measures_the_scan(sources: dict[str, Path]) -> None:
    maps, header = maps_for(sources["CR"]), read_header(sources["CR"])
    scan = np.full((320, 320), 0.5, np.float32)
    blank = replace(maps, matrix=np.zeros_like(maps.matrix))
    sc = secondary_capture(blank, "Nodule", scan, header, WHEN)
    pixels = dcmread(io.BytesIO(_bytes(sc))).pixel_array
    # nothing is found: the scan is seen as it is, 0.5 of 255
    box = sc.DerivationDescription.partition("columns ")[2]
    columns, rows = [[int(n) for n in part.split(" to ")] for part in box.rstrip(".").split(", rows ")]
    inside = pixels[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
    assert inside.shape == (768, 768, 3) and set(np.unique(inside)) == {128}
    assert [float(v) for v in sc.PixelSpacing] == pytest.approx([0.5 * 320 / 768, 0.25 * 320 / 768])
    assert sc.BurnedInAnnotation == "NO" and sc.ImageComments == "Research use only. Nodule 0.90, present"
    bare = sources["DX without spacing"]
    assert "PixelSpacing" not in secondary_capture(maps_for(bare), "Nodule", scan, read_header(bare), WHEN)
    made = dict(objects_of(maps_for(sources["DX"]), sources["DX"], "sc", WHEN))
    assert list(made) == ["sc-Nodule", "sc-Pleural_Thickening"]  # the present ones, the most probable first
    assert len({ds.SeriesInstanceUID for ds in made.values()}) == 1


@pytest.mark.parametrize("kind", MAKERS)
def test_the_same_export_is_the_same_object(kind: str, sources: dict[str, Path]) -> None:
    maps, header = maps_for(sources["DX"]), read_header(sources["DX"])
    first, second = MAKERS[kind](maps, header), MAKERS[kind](maps, header)
    assert _bytes(first) == _bytes(second)
    other = replace(maps, matrix=np.where(maps.matrix == 7, 8, maps.matrix).astype(np.uint8))
    assert MAKERS[kind](other, header).SOPInstanceUID != first.SOPInstanceUID
    assert len({str(MAKERS[k](maps, header).SOPInstanceUID) for k in MAKERS}) == len(MAKERS)


def test_pixels_and_cells_share_the_length() -> None:
    assert cell_of_pixels(4, 2).tolist() == [0, 0, 1, 1]
    assert cell_of_pixels(5, 2).tolist() == [0, 0, 1, 1, 1]  # the middle pixel's centre is where cell 1 begins
    assert cell_of_pixels(3, 6).tolist() == [1, 3, 5]
    for length, cells in ((320, 64), (520, 64), (63, 64), (2294, 64), (1, 8)):
        found = cell_of_pixels(length, cells)
        assert found.tolist() == [int((p + 0.5) / length * cells) for p in range(length)]


def test_what_is_no_source_is_refused_by_name(sources: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"text\.dcm: not a readable DICOM file"):
        (tmp_path / "text.dcm").write_text("no image")
        read_header(tmp_path / "text.dcm")
    ds = dcmread(sources["DX"])
    ds.NumberOfFrames = 3
    with pytest.raises(ImageError, match="several frames"):
        read_header(save(ds, tmp_path / "many.dcm"))
    with pytest.raises(ValueError, match="maps are of another image"):
        list(objects_of(maps_for(sources["DX"]), sources["MG"], "seg", WHEN))
    with pytest.raises(ValueError, match="none of seg"):
        list(objects_of(maps_for(sources["DX"]), sources["DX"], "gif", WHEN))
    with pytest.raises(ValueError, match="'Gout' is none of"):
        list(objects_of(maps_for(sources["DX"]), sources["DX"], "pm", WHEN, classes=["Gout"]))


def test_the_header_is_left_as_it_is(sources: dict[str, Path]) -> None:
    header = read_header(sources["DX"])
    before = header.to_json()
    for make in MAKERS.values():
        make(maps_for(sources["DX"]), header)
    assert header.to_json() == before


def test_odd_spacings_are_not_believed(sources: dict[str, Path]) -> None:
    header = read_header(sources["DX"])
    assert place_of(header).measured == "detector"
    header.PixelSpacing = header.ImagerPixelSpacing  # repeated, so not corrected
    assert place_of(header).measured == "detector"
    header.PixelSpacing = [1, 1]
    assert place_of(header).measured == "patient"
    header.PixelSpacing = [0, 0]
    assert place_of(header).measured == "detector"


@pytest.mark.reference
@pytest.mark.parametrize("name", ["cr_jpeg.dcm", "cr_monochrome1.dcm"])
@pytest.mark.parametrize("kind", ["seg", "seg-binary", "pm", "sc"])
def test_computed_radiographs_from_the_field(name: str, kind: str, reference_data: Path, tmp_path: Path) -> None:
    path = reference_data / "chest" / name
    for stem, ds in objects_of(maps_for(path), path, kind, WHEN):
        assert errors(save(ds, tmp_path / f"{stem}.dcm")) == []


def _bytes(ds: Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()
