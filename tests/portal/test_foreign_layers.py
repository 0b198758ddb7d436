"""Reports, segmentations and presentation states of others in one form: against what went in, and other readers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from inference.outlines import rings
from portal.archive.foreign import Unreadable, drawn, gsps, seg, sr
from portal.archive.models import Instance, Study
from portal.export import gsps as our_gsps
from portal.export import masks
from portal.export.returns.contents import headers, images_of
from portal.export.shapes import Shape
from portal.export.sr import model
from portal.programmes.actions import make_cases
from tests.factories.archive import image, plain_static, stored
from tests.factories.reading import Cast, cast, mammography

__all__ = ["cast", "plain_static"]
NOW = datetime(2026, 1, 2, 3, 4, 5)
BOX = ((3.0, 4.0), (10.0, 12.0))


def picture(**values: Any) -> Dataset:
    ds = image("MG", PatientBirthDate="", StudyID="1", ReferringPhysicianName="", **values)
    ds.Rows, ds.Columns = 40, 32
    return ds


def shapes(uid: str) -> list[Shape]:
    return [
        Shape(uid, 1, "rectangle", BOX, "Mass", "READER 1", "a", "Mass", 80.0),
        Shape(uid, 1, "ellipse", ((12.0, 20.0), (28.0, 30.0)), "Mass", "READER 1", "b", ""),
    ]


# --- reports ---------------------------------------------------------------------------------------
def test_a_measurement_report_as_highdicom_reads_it(tmp_path: Path) -> None:
    ds = picture()
    uid = str(ds.SOPInstanceUID)
    says = model.ModelSays(
        "other", "1", "0" * 64, {"score": 0.7}, True, [model.ImageSays(uid, {"Mass": 0.8}, {"Mass": True}, {})],
        [Shape(uid, 1, "rectangle", BOX, "Mass", "MODEL", "1", "", 0.83)], "2.25.5", "2.25.6", NOW,
    )  # fmt: skip
    report = model.build([ds], "MG", says)
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    layer = sr.read(dcmread(tmp_path / "sr.dcm"))
    theirs = hd.sr.srread(tmp_path / "sr.dcm").content
    (place,) = theirs.get_planar_roi_measurement_groups()
    (found,) = [item for item in layer.items if item.kind == "polygon"]
    np.testing.assert_allclose(np.array(found.rings[0]) + 0.5, place.roi.value, atol=1e-3)
    assert found.rings[0] == [[3, 4], [10, 4], [10, 12], [3, 12], [3, 4]] and found.sop_uid == uid
    assert (found.label, found.tracking_id, found.tracking_uid) == (
        place.finding_type.meaning, place.tracking_identifier, place.tracking_uid,
    )  # fmt: skip
    assert [(m["name"], m["value"], m["unit"]) for m in found.measurements] == [("Probability", 0.83, "1")]
    groups = {g.tracking_identifier: g for g in theirs.get_image_measurement_groups()}
    said = {item.tracking_id: item for item in layer.items if item.kind == "statement"}
    assert set(groups) <= set(said)
    assert said["Mass"].sop_uid == uid and said["Mass"].measurements[0]["value"] == 0.8
    assert {e["name"]: e["value"] for e in said["Case"].evaluations} == {"Called by the function": "Yes"}


def node(kind: str, name: Any, *children: Dataset, **values: Any) -> Dataset:
    item = Dataset()
    item.ValueType, item.RelationshipType = kind, values.pop("relation", "CONTAINS")
    if name is not None:
        item.ConceptNameCodeSequence = Sequence([hd.sr.CodedConcept.from_code(name)])
    for keyword, value in values.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = Sequence(children)
    return item


def test_a_report_of_another_template_that_names_its_image_by_its_place_in_the_tree() -> None:
    """As Mammography CAD does (PS3.16 TID 4000): an image library, and places that refer to it by number."""
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2", "1.2.3"
    library = node("CONTAINER", codes.DCM.ImageLibrary, node("IMAGE", None, ReferencedSOPSequence=Sequence([source])))
    named = Dataset()
    named.RelationshipType, named.ReferencedContentItemIdentifier = "SELECTED FROM", [1, 1, 1]
    centre = node("SCOORD", codes.DCM.Center, named, GraphicType="CIRCLE", GraphicData=[10.5, 8.5, 14.5, 8.5])
    report = node("CONTAINER", codes.DCM.ChestCADReport, library, node("CONTAINER", codes.SCT.Nodule, centre))
    layer = sr.read(report)
    (item,) = [item for item in layer.items if item.kind == "polygon"]
    ring = np.array(item.rings[0])
    assert item.sop_uid == "1.2.3" and item.label == "Nodule" and len(ring) == 73
    np.testing.assert_allclose(np.hypot(*(ring - [10, 8]).T), 4, atol=2e-3)
    named.ReferencedContentItemIdentifier = [1, 9, 9]
    with pytest.raises(Unreadable):
        sr.read(report)


@pytest.mark.parametrize("name", ["reportsi.dcm", "test-SR.dcm", "reportsi_with_empty_number_tags.dcm"])
def test_reports_of_pydicoms_files_have_something_to_say(name: str) -> None:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    layer = sr.read(dcmread(path))
    assert layer.items and all(item.kind == "statement" for item in layer.items)


# --- presentation states ---------------------------------------------------------------------------
def test_graphics_words_and_windows_of_a_presentation_state() -> None:
    ds = picture()
    uid = str(ds.SOPInstanceUID)
    overlay = our_gsps.Overlay(
        shapes(uid), {uid: our_gsps.Window(500, 900)}, "u", "s", NOW, "Reading", "d", "1", "s"
    )  # fmt: skip
    (state,) = our_gsps.build([ds], overlay)
    layer = gsps.read(state)
    box, ellipse, words = layer.items
    assert box.rings == [[[3, 4], [10, 4], [10, 12], [3, 12], [3, 4]]] and box.layer == "READER 1"
    ring = np.array(ellipse.rings[0])
    np.testing.assert_allclose(((ring - [20, 25]) ** 2 / [64, 25]).sum(axis=1), 1, atol=2e-3)
    assert (words.kind, words.text, words.sop_uid) == ("text", "Mass", uid)
    assert layer.windows == {uid: {"centre": 500, "width": 900}} and layer.left_out == {}
    state.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicAnnotationUnits = "DISPLAY"
    assert gsps.read(state).left_out == {"graphics that lie on the screen, not on the image": 1}


# --- segmentations ---------------------------------------------------------------------------------
def test_the_masks_of_a_segmentation_as_outlines() -> None:
    ds = picture()
    uid = str(ds.SOPInstanceUID)
    (made,) = masks.build([ds], masks.Marked(shapes(uid), "u", "s", NOW, "1"))
    layer = seg.read(made, {uid: (40, 32)})
    assert [item.label for item in layer.items] == ["Mass, reader 1"] * 2
    pixels = made.pixel_array
    for item, mask in zip(layer.items, pixels, strict=True):
        assert item.sop_uid == uid and item.measurements[0]["value"] == mask.sum()
        y, x = np.mgrid[:40, :32]
        centres = np.stack([x.ravel(), y.ravel()], axis=1)
        inside = np.logical_xor.reduce([Outline(ring).contains_points(centres) for ring in item.rings])
        assert np.array_equal(inside.reshape(40, 32), mask > 0)
    assert seg.read(made, {uid: (80, 64)}).left_out == {"masks on another grid, or of an image that is not here": 2}


def test_a_hole_is_a_ring_of_its_own() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:30, 5:30] = True
    mask[12:20, 12:20] = False
    assert len(rings(mask, seg.TOLERANCE)) == 2
    assert rings(np.zeros((4, 4), bool), seg.TOLERANCE) == []


def test_pydicoms_segmentation() -> None:
    path = get_testdata_file("liver_1frame.dcm")
    assert isinstance(path, str)
    ds = dcmread(path)
    group = ds.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    layer = seg.read(ds, {str(group.ReferencedSOPInstanceUID): (512, 512)})
    (item,) = layer.items
    assert "liver" in item.label.lower() and item.measurements[0]["value"] == ds.pixel_array.sum() > 1000


@given(st.sampled_from(["POINT", "POLYLINE", "CIRCLE", "ELLIPSE", "SPIRAL", ""]),
       st.lists(st.floats(), max_size=9))  # fmt: skip
def test_odd_graphics_are_refused_and_never_crash(graphic: str, data: list[float]) -> None:
    try:
        _, points = drawn(graphic, data)
    except Unreadable:
        return
    assert all(np.isfinite(points).ravel())


# --- in the portal ---------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_layers_are_listed_and_shown_but_never_to_a_blinded_reader(cast: Cast) -> None:
    study = mammography(cast)
    uid = str(study.instances.order_by("pk")[0].sop_uid)
    source = headers(images_of(study).filter(sop_uid=uid))
    overlay = our_gsps.Overlay(shapes(uid), {}, "u", "s", NOW, "Reading elsewhere", "d", "1", "s")
    (state,), (made,) = (
        our_gsps.build(source, overlay),
        masks.build(source, masks.Marked(shapes(uid), "u2", "s2", NOW, "1")),
    )
    for ds in (state, made):
        stored(ds, cast.lakeside)
    broken = stored(dcmread(str(get_testdata_file("test-SR.dcm"))), cast.lakeside)
    Study.objects.filter(pk=study.pk).update(state="settled")
    erin = Client()
    erin.force_login(cast.erin)
    listed = erin.get(f"/api/v1/studies/{study.study_uid}/layers/").json()["layers"]
    assert {(one["kind"], one["title"]) for one in listed} >= {("presentation", "CONCORD"), ("segmentation", "MARKS")}
    for one in listed:
        body = erin.get(one["url"]).json()
        assert body["kind"] == one["kind"] and body["items"]
        page = erin.get(f"/scans/{study.study_uid}/layers/{one['sop_uid']}/")
        assert page.status_code == 200
    assert "MARKS" in erin.get(f"/scans/{study.study_uid}/layers/").content.decode()
    assert erin.get(f"/api/v1/studies/{broken.study_uid}/layers/").json()["layers"][0]["kind"] == "report"
    # a segmentation is no image that is read
    bundle = erin.get(f"/api/v1/studies/{study.study_uid}/bundle/")
    if bundle.status_code == 200:
        assert made.SOPInstanceUID not in {i["sop_uid"] for i in bundle.json()["images"]}
    # Alice is to read it blinded
    make_cases(study.pk)
    alice = Client()
    alice.force_login(cast.alice)
    assert alice.get(f"/api/v1/studies/{study.study_uid}/layers/").json() == {"layers": []}
    assert alice.get(listed[0]["url"]).status_code == 404
    mallory = Client()
    mallory.force_login(cast.mallory)
    assert mallory.get(f"/api/v1/studies/{study.study_uid}/layers/").status_code == 404
    # what cannot be read is said
    row = Instance.objects.get(sop_uid=str(made.SOPInstanceUID))
    Instance.objects.filter(pk=row.pk).update(name="gone.dcm")
    gone = erin.get(f"/api/v1/studies/{study.study_uid}/layers/{row.sop_uid}/")
    assert (gone.status_code, gone.json()["error"]["code"]) == (422, "unreadable_layer")
