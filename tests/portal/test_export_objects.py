"""Marks, windows and masks of real readings as GSPS and SEG: valid, read back by others, equal to what went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from django.utils import timezone
from PIL import Image, ImageDraw
from pydicom.uid import generate_uid

from portal.archive.models import Study
from portal.core.errors import Refused
from portal.export import gsps, masks
from portal.export.models import Return
from portal.export.returns import contents
from portal.export.returns.contents import headers, images_of
from portal.export.shapes import of_mark
from portal.programmes.actions import make_cases
from portal.programmes.models import Case
from portal.read.models import Reading
from tests.factories.archive import image, stored
from tests.factories.objects import by_dcmjs, valid
from tests.factories.reading import Cast, answers, cast, submit
from tests.factories.returns import arrived, destination, settled_case

__all__ = ["cast"]
pytestmark = pytest.mark.django_db(transaction=True)


def mark(sop_uid: str, tool: str, points: list[list[float]], key: str, label: str = "mass", **more: Any) -> dict:
    return {"id": key, "tool": tool, "frame": 1, "sop_uid": sop_uid, "points_px": points, "label": label, **more}


def made(case: Case, kind: str, where: Any) -> list[pydicom.Dataset]:
    row = Return(organisation=case.organisation, destination=where, case=case, format=kind)
    content = contents.content_of(row)
    return contents.objects(row, content)


@pytest.fixture
def study(cast: Cast, tmp_path: Path) -> Study:
    return arrived(cast, tmp_path / "in")[1]


def uids_of(study: Study) -> list[str]:
    return list(study.instances.order_by("series__number", "number", "sop_uid").values_list("sop_uid", flat=True))


def drawn_on(uids: list[str]) -> list[dict]:
    return [
        mark(uids[0], "rectangle", [[20, 30], [60, 90]], "a"),
        mark(uids[0], "ellipse", [[100, 40], [140, 60]], "b", "distortion"),
        mark(uids[2], "freehand", [[30.5, 40.25], [60, 52], [40.5, 80.25]], "c"),
        mark(uids[2], "length", [[10, 10], [40, 50]], "d", measurements={"length_mm": 5.0}),
    ]


def test_a_presentation_state_holds_the_marks_layer_by_layer(cast: Cast, study: Study, tmp_path: Path) -> None:
    uids = uids_of(study)
    case = settled_case(cast, study, drawn_on(uids))
    states = made(case, "gsps", destination(cast, 104))
    assert len(states) == 1  # both images are of one series and size
    found: dict[tuple[str, str], list[Any]] = {}
    for n, state in enumerate(states):
        path = valid(state, tmp_path / f"{n}.dcm")
        read = pydicom.dcmread(path)
        assert read.SOPClassUID == pydicom.uid.GrayscaleSoftcopyPresentationStateStorage
        assert (read.PatientID, read.StudyInstanceUID) == (study.patient.pseudonym, study.study_uid)
        theirs = by_dcmjs(path)
        layers = theirs["GraphicLayerSequence"]
        assert [one["GraphicLayer"] for one in layers] == [one.GraphicLayer for one in read.GraphicLayerSequence]
        for item in read.GraphicAnnotationSequence:
            uid = item.ReferencedImageSequence[0].ReferencedSOPInstanceUID
            for graphic in item.GraphicObjectSequence:
                points = np.array(graphic.GraphicData).reshape(-1, 2)
                found.setdefault((uid, item.GraphicLayer), []).append((graphic.GraphicType, points))
    reader_first = dict(found[uids[0], "READER 1"])
    # PIXEL units: the first pixel's corner is 0\0 and its centre 0.5\0.5 (PS3.3 C.10.5.1.2)
    box = [[20.5, 30.5], [60.5, 30.5], [60.5, 90.5], [20.5, 90.5], [20.5, 30.5]]
    assert reader_first["POLYLINE"].tolist() == box
    # major axis left to right, minor axis top to bottom
    assert reader_first["ELLIPSE"].tolist() == [[100.5, 50.5], [140.5, 50.5], [120.5, 40.5], [120.5, 60.5]]
    free, length = (points for _, points in found[uids[2], "READER 1"])
    assert free.tolist() == [[31, 40.75], [60.5, 52.5], [41, 80.75], [31, 40.75]]
    assert length.tolist() == [[10.5, 10.5], [40.5, 50.5]]
    assert {(kind, len(points)) for kind, points in found[uids[0], "TRUTH"]} == {("POLYLINE", 5)}
    assert found[uids[0], "TRUTH"][0][1].tolist() == box


def test_the_window_under_which_an_image_was_read_goes_with_it(cast: Cast, study: Study, tmp_path: Path) -> None:
    uids = uids_of(study)
    case = settled_case(cast, study, [])
    where = destination(cast, 104)
    assert made(case, "gsps", where) == []  # nothing drawn, every image as it came
    shown = {uids[1]: {"centre": 1800.5, "width": 900, "inverted": True}}
    Reading.objects.filter(case=case).update(display=shown)
    (state,) = made(case, "gsps", where)
    read = by_dcmjs(valid(state, tmp_path / "state.dcm"))
    window = read["SoftcopyVOILUTSequence"]
    window = window[0] if isinstance(window, list) else window
    assert float(np.ravel(window["WindowCenter"])[0]) == 1800.5 and float(np.ravel(window["WindowWidth"])[0]) == 900
    assert read["PresentationLUTShape"] == "INVERSE"
    refers = window["ReferencedImageSequence"]
    refers = refers[0] if isinstance(refers, list) else refers
    assert refers["ReferencedSOPInstanceUID"] == uids[1]


def test_a_submission_keeps_the_windows_and_refuses_wrong_ones(cast: Cast, study: Study) -> None:
    make_cases(study.pk)
    slot = Case.objects.get(study=study).assignments.get()
    uid = uids_of(study)[0]
    wrong: list[Any] = [
        [], {"1.2.3": {"centre": 1, "width": 1}}, {uid: {"centre": 1, "width": 0}}, {uid: {"centre": "x", "width": 1}},
        {uid: {"centre": 1, "width": 1, "inverted": "no"}}, {uid: {"centre": 1, "width": 1, "more": 1}}, {uid: 7},
    ]  # fmt: skip
    for display in wrong[1:]:
        with pytest.raises(Refused) as refused:
            submit(cast.alice, slot, answers(True, 80), display=display)
        assert "display" in refused.value.extra["fields"], display
    good = {uid: {"centre": 40, "width": 400.5, "inverted": False}}
    assert submit(cast.alice, slot, answers(True, 80), display=good).display == good


def test_a_segmentation_holds_what_the_marks_enclose(cast: Cast, study: Study, tmp_path: Path) -> None:
    uids = uids_of(study)
    case = settled_case(cast, study, drawn_on(uids))
    objects = made(case, "seg", destination(cast, 104))
    assert len(objects) == 2
    masks: dict[str, Any] = {}
    for n, seg in enumerate(objects):
        path = valid(seg, tmp_path / f"{n}.dcm")
        assert by_dcmjs(path)["SegmentationType"] == "BINARY"
        read = hd.seg.segread(path)
        (source,) = {uid for _, _, uid in read.get_source_image_uids()}
        pixels = read.get_pixels_by_source_instance([source], ignore_spatial_locations=True)
        for number in read.segment_numbers:
            about = read.get_segment_description(number)
            assert about.segmented_property_type.meaning in {"Mass", "Architectural distortion"}
            assert about.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.MANUAL
            masks[about.tracking_id] = (source, pixels[0, ..., number - 1])
    assert set(masks) == {"Reader 1 a", "Reader 1 b", "Reader 1 c"}  # a length encloses nothing
    source, box = masks["Reader 1 a"]
    assert source == uids[0] and box.shape == (256, 208) and box.sum() == 41 * 61 and box[30:91, 20:61].all()
    ellipse = masks["Reader 1 b"][1]
    y, x = np.mgrid[:256, :208]
    assert (ellipse != (((x - 120) / 20) ** 2 + ((y - 50) / 10) ** 2 <= 1)).sum() < 12
    drawing = Image.new("1", (208, 256))
    ImageDraw.Draw(drawing).polygon([(30.5, 40.25), (60, 52), (40.5, 80.25)], fill=1)
    assert masks["Reader 1 c"][1].sum() == pytest.approx(np.asarray(drawing).sum(), rel=0.1)


def slices(cast: Cast, count: int = 4) -> Study:
    """CT slices of one series, 2.5 mm apart, settled."""
    uid, series, frame = generate_uid(), generate_uid(), generate_uid()
    for n in range(count):
        receipt = stored(
            image(
                "CT", study=uid, series=series, seed=n, InstanceNumber=n + 1, FrameOfReferenceUID=frame,
                ImagePositionPatient=[-10.0, -20.0, 2.5 * n], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[0.7, 0.7], SliceThickness=2.5, RescaleSlope=1, RescaleIntercept=-1024,
                RescaleType="HU", PositionReferenceIndicator="", Laterality="",
            ),
            cast.lakeside,
        )  # fmt: skip
    study = Study.objects.get(study_uid=receipt.study_uid)
    Study.objects.filter(pk=study.pk).update(state="settled")
    return Study.objects.get(pk=study.pk)


def test_slices_of_one_series_share_one_object(cast: Cast, tmp_path: Path) -> None:
    study = slices(cast)
    uids = uids_of(study)
    marks = [mark(uids[1], "rectangle", [[4, 5], [10, 12]], "a"), mark(uids[2], "rectangle", [[4, 5], [11, 12]], "b")]
    shapes = [of_mark(one, {"mass": "Mass"}, "READER 1") for one in marks]
    now = timezone.now()
    (seg,) = masks.build(headers(images_of(study)), masks.Marked(shapes, "u", "s", now, "1"))
    read = hd.seg.segread(valid(seg, tmp_path / "seg.dcm"))
    pixels = read.get_pixels_by_source_instance([uids[1], uids[2]])
    assert pixels[0, ..., 0].sum() == 7 * 8 and pixels[1, ..., 1].sum() == 8 * 8
    assert pixels[0, ..., 1].sum() == pixels[1, ..., 0].sum() == 0
    assert read.FrameOfReferenceUID == headers(images_of(study))[0].FrameOfReferenceUID
    window = {uid: gsps.Window(40, 400) for uid in uids}
    overlay = gsps.Overlay(shapes, window, "u", "s", now, "Concord reading", "Concord", "1", "x")
    (state,) = gsps.build(headers(images_of(study)), overlay)
    shown = pydicom.dcmread(valid(state, tmp_path / "gsps.dcm"))
    assert shown.RescaleIntercept == -1024 and shown.SoftcopyVOILUTSequence[0].WindowCenter == 40
    assert len(shown.ReferencedSeriesSequence[0].ReferencedImageSequence) == 4
