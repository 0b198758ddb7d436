"""Text burnt into images: read, judged, covered; what is clinical stays, and so does every other pixel."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from inference.preprocess import fiducials, read_image
from portal.deidentify.files import write_instance
from portal.deidentify.headers import gather
from portal.deidentify.pixels import door as pixels
from portal.deidentify.pixels import instance, terms
from portal.deidentify.pixels.cover import NotCovered
from portal.deidentify.pixels.match import Judged, judge_line
from portal.deidentify.pixels.reader import Line, read_picture
from portal.deidentify.text import Lists, judge
from portal.ingest.inspect import opened
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare

NAME, BORN, DAYS = "Quillfeather^Rosa", "19540312", -400


def canvas(rows: int = 400, columns: int = 640, value: int = 30, dtype: str = "u1") -> NDArray[np.generic]:
    noise = np.random.default_rng(4).integers(0, 4, (rows, columns))
    return (noise + value).astype(dtype)


def burn(
    plane: NDArray[np.generic], text: str, at: tuple[int, int], value: int, size: int = 22, turned: int = 0
) -> None:
    """Write a line into a plane (rows, columns) or (rows, columns, 3) in place, its ink's corner at `at` (y, x)."""
    ink = np.rot90(fonts.ink(text, "DejaVuSans.ttf", size), turned // 90) > 0.5
    plane[at[0] : at[0] + ink.shape[0], at[1] : at[1] + ink.shape[1]][ink] = value


def identified(array: NDArray[np.generic], bits: int = 8, sop_class: str = SecondaryCaptureImageStorage) -> Dataset:
    ds = bare(sop_class, "OT", array, bits)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.StudyDate = NAME, "77120934", BORN, "20240229"
    return ds


def plates() -> NDArray[np.generic]:
    plane = canvas()
    burn(plane, "QUILLFEATHER, ROSA", (20, 20), 250)
    burn(plane, "R-MLO", (20, 520), 250)
    burn(plane, "29.02.2024", (340, 20), 250)
    burn(plane, "kVp 28", (340, 480), 250)
    return plane


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[object]:
    def run(ds: Dataset, days: int = DAYS) -> tuple[Dataset, pixels.Looked]:
        path = tmp_path / "in.dcm"
        ds.save_as(path, enforce_file_format=True)
        with opened(path) as found:
            looked = pixels.judged(found, pixels.seen(found, "full"), gather(found.dataset))
            assert looked is not None
            out = io.BytesIO()
            with pixels.cleaned(found, looked, days) as copy:
                write_instance(out, found.dataset, copy)
        out.seek(0)
        return dcmread(out), looked

    yield run


def words(looked: pixels.Looked, covered: bool) -> set[str]:
    return {one.line.text for one in looked.judged if one.covered == covered and one.what != "noise"}


def test_names_and_dates_go_and_markers_stay(clean) -> None:  # type: ignore[no-untyped-def]
    before = plates()
    after, looked = clean(identified(before))
    assert {one.kind for one in looked.judged if one.covered} == {"name", "date"}
    assert words(looked, False) == {"R-MLO", "kVp 28"}
    shown = pixel_array(after)
    boxes = np.zeros(shown.shape, bool)
    for x0, y0, x1, y1 in fiducials.boxes(after):
        boxes[y0:y1, x0:x1] = True
    assert (shown == before)[~boxes].all() and not (shown == 250)[boxes].any()
    assert boxes.mean() < 0.08  # no more than the two lines
    assert after.BurnedInAnnotation == "NO" and "2 regions" in after.DerivationDescription
    # read again, nothing of the patient is there, and the date is the header's, moved by as much
    again = read_picture(shown)
    texts = " ".join(line.text for line in again).upper()
    assert "QUILL" not in texts and "NAME" in texts and "25.01.2023" in texts


def test_what_has_no_identity_in_it_is_the_same_file(clean) -> None:  # type: ignore[no-untyped-def]
    plane = canvas()
    burn(plane, "L CC", (20, 520), 250)
    ds = identified(plane)
    after, looked = clean(ds)
    assert after.PixelData == ds.PixelData and not fiducials.boxes(after)
    assert words(looked, True) == set() and "DerivationDescription" not in after


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("colour", [False, True])
def test_compressed_images_stay_lossless(clean, syntax: str, colour: bool) -> None:  # type: ignore[no-untyped-def]
    before = plates()
    if colour:
        before = np.stack([before, before // 2, before], 2)
    ds = identified(before)
    ds.compress(syntax, generate_instance_uid=False)
    ds.LossyImageCompression = "00"
    after, _ = clean(ds)
    assert after.file_meta.TransferSyntaxUID == syntax and after.LossyImageCompression == "00"
    hidden = fiducials.mask(after, before.shape)
    assert hidden is not None
    shown = pixel_array(after)
    assert (shown == before)[~hidden].all() and not (shown.reshape(400, 640, -1)[..., 0] == 250)[hidden].any()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_sixteen_bits_signed_in_every_byte_order(clean, syntax: str) -> None:  # type: ignore[no-untyped-def]
    before = canvas(dtype="i2").astype("i2") * 10 - 1000
    burn(before, "QUILLFEATHER ROSA", (40, 30), 3000, 24)
    ds = identified(before, 16)
    ds.PixelRepresentation = 1
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = before.astype(">i2").tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
        out = io.BytesIO()
        ds.save_as(out, enforce_file_format=True, little_endian=False, implicit_vr=False)
        out.seek(0)
        ds = dcmread(out)
    else:
        ds.file_meta.TransferSyntaxUID = syntax
    after, _ = clean(ds)
    hidden = fiducials.mask(after, before.shape)
    assert hidden is not None and after.file_meta.TransferSyntaxUID == syntax
    shown = pixel_array(after)
    assert (shown == before)[~hidden].all() and not (shown == 3000).any()


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("inverted", [False, True])
def test_turned_and_inverted(clean, turned: int, inverted: bool) -> None:  # type: ignore[no-untyped-def]
    before = canvas(500, 500)
    burn(before, "Rosa Quillfeather", (90, 90), 240, 20, turned)
    ds = identified(255 - before if inverted else before)
    if inverted:
        ds.PhotometricInterpretation = "MONOCHROME1"
    after, looked = clean(ds)
    assert [one.kind for one in looked.judged if one.covered] == ["name"]
    assert not (pixel_array(after) == (15 if inverted else 240)).any()


def test_a_loop_is_covered_on_all_frames_and_read_where_it_changes(clean) -> None:  # type: ignore[no-untyped-def]
    frames = np.stack([canvas() for _ in range(9)])
    for frame in frames:
        burn(frame, "77120934", (20, 20), 250)
    for frame in frames[4:6]:  # appears in between, where nothing moves
        burn(frame, "Dr Feather Quill", (340, 300), 250)
    ds = identified(frames, sop_class=UltrasoundMultiFrameImageStorage)
    after, looked = clean(ds)
    assert {one.kind for one in looked.judged if one.covered} >= {"id", "doctor"} or len(looked.covered) == 2
    shown = pixel_array(after)
    assert not (shown == 250).any()
    assert len(looked.read.looked) < 9


def test_frames_with_changes_are_chosen() -> None:
    still = np.zeros((100, 10, 10), np.float32)
    moving = np.random.default_rng(1).normal(100, 20, (100, 10, 10)).astype(np.float32)
    blocks = np.where(np.arange(10)[None, None, :] < 5, still, moving)
    blocks[40:, 0, 0] = 200  # one thing appears where nothing moves
    chosen, left = instance.choose(blocks)
    assert sorted(chosen) == [0, 40, 99] and left == 0
    assert chosen[0] is None and chosen[99] is None  # all of them
    assert np.argwhere(chosen[40]).tolist() == [[0, 0]]
    everywhere, left = instance.choose(np.cumsum(np.ones((3, 2, 2), np.float32) * 50, axis=0))
    assert set(everywhere) >= {0, 2}


def test_palette_colour(clean) -> None:  # type: ignore[no-untyped-def]
    before = plates()
    ds = identified(before)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    ramp = (np.arange(256) * 257).astype("<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", ramp)
    after, looked = clean(ds)
    assert {one.kind for one in looked.judged if one.covered} == {"name", "date"}
    hidden = fiducials.mask(after, before.shape)
    assert hidden is not None and (pixel_array(after) == before)[~hidden].all()


def test_an_image_that_cannot_be_written_anew_is_refused(clean) -> None:  # type: ignore[no-untyped-def]
    plane = np.zeros((400, 640), np.uint8)
    burn(plane, "QUILLFEATHER ROSA", (40, 30), 1, 30)
    ds = identified(plane)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.PixelData = np.packbits(plane.reshape(-1), bitorder="little").tobytes()
    with pytest.raises(NotCovered):
        clean(ds)


def test_models_see_nothing_where_a_fiducial_lies(clean, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    after, _ = clean(identified(plates()))
    path = tmp_path / "clean.dcm"
    after.save_as(path)
    seen = read_image(path).pixels
    hidden = fiducials.mask(after, seen.shape)
    assert hidden is not None and hidden.any() and (seen[hidden] == 0).all() and (seen[~hidden] > 0).any()


def said(text: str, lists: Lists | None = None, confidence: float = 0.98) -> Judged:
    return judge_line(Line(0, (5, 5, 90, 20), text, confidence), (400, 640), lists or Lists(), judge)


@pytest.mark.parametrize(
    "text", ["L", "R", "R-MLO", "LCC", "R CC", "LML0", "LEFT", "RT LAT", "(L)", "Lt", "RIGHT", "L MLO"]
)
def test_markers_of_side_are_known(text: str) -> None:
    assert said(text).what == "laterality"


@pytest.mark.parametrize(
    "text",
    [
        "kVp 28", "AP UPRIGHT", "PORTABLE", "28kVp85mAs", "120kV", "T2WTSE", "Se 3 lm 24", "F0V 350 mm",
        "MI 1.2 TIS 0.4", "Asc Ao Diam 3.3 cm",
        "CHESTPA", "WL40 WW 400", "TR2500 TE85", "WW2000", "512x512", "Gain 60 dB", "Zoom 100%", "5.0 mm",
    ],
)  # fmt: skip
def test_technique_is_known_misread_too(text: str) -> None:
    assert said(text).what == "technical"


@pytest.mark.parametrize(
    "text", ["2017-01-2614:33", "Jl 23, 2023 09:12:55", "77120934", "12.03.54", "14:33:10", "AC3490", "Im 24 AC 3490AC"]
)
def test_moments_and_numbers_are_never_technique(text: str) -> None:
    assert not terms.technical(text)


@pytest.mark.parametrize("text", ["QUILLFEATHER ROSA", "Qu1llfeather", "QUILLFEATHEP,R0SA", "77120934", "7712O934"])
def test_this_patients_values_go_however_misread(text: str) -> None:
    lists = Lists.of([("Quillfeather Rosa", "name"), ("77120934", "id")])
    assert said(text, lists).what in {"identifier", "unknown"}


def test_what_nobody_knows_is_covered_and_asked_about() -> None:
    one = said("Xqvzzt Brmblk")
    assert one.covered and one.uncertain


def test_initials_of_a_person_of_this_scan_go_and_are_asked_about() -> None:
    assert said("AC").what == "technical"
    one = said("AC", Lists.of([("AC", "doctor")]))
    assert one.kind == "doctor" and one.covered and one.uncertain
    assert said("PA", Lists.of([("Palmer P", "name")])).what == "technical"
    assert said("LT", Lists.of([("LT", "doctor")])).what == "laterality"


@pytest.mark.parametrize("text", ["DR B", "Dr Boez", "599\u03bc091559"])
def test_what_could_be_read_in_part_only_goes(text: str) -> None:
    assert said(text, confidence=0.9).covered


@pytest.mark.parametrize("text", ["DR 60", "DR60", "20dB / DR60", "Dyn R 58"])
def test_the_dynamic_range_is_no_doctor(text: str) -> None:
    assert said(text).what == "technical"


def test_a_name_that_is_technique_too_goes_with_its_patient() -> None:
    assert said("AXIAL").what == "technical"
    assert said("Axial", Lists.of([("Axial Maria", "name")])).covered


@pytest.mark.parametrize(
    "text", ["04/25/201514:33", "Ap 13, 2021", "Ju1 23, 2023 09:12:55", "3.7.1961", "14Now 2314:33", "05 0ct 17"]
)
def test_misread_dates_go(text: str) -> None:
    one = said(text)
    assert one.covered and one.kind == "date"


@pytest.mark.parametrize("text", ["Tech: G. Killer", "Dr. Stone", "Op: Fields"])
def test_who_stands_behind_a_title_goes_though_the_name_is_a_word(text: str) -> None:
    assert said(text).covered


@pytest.mark.parametrize("text", ["Bouvier Imaging", "St. Mary Hospital", "Radiology Centre"])
def test_houses_go(text: str) -> None:
    assert said(text).covered
