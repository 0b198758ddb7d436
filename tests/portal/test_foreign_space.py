"""Places in patient coordinates of another system's report, on the slices that they lie in."""

from __future__ import annotations

import io
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from django.test import Client
from highdicom.spatial import PixelToReferenceTransformer
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    FindingSite,
    GraphicTypeValues3D,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    TrackingIdentifier,
)
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from portal.archive.models import Study
from tests.factories import archive as make
from tests.factories import ct
from tests.factories.archive import plain_static

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db
PIXELS = np.array([[30.0, 40.0], [50.0, 40.0], [50.0, 70.0], [30.0, 70.0], [30.0, 40.0]])  # column, row


@pytest.fixture
def slices() -> list[Dataset]:
    """Oblique slices, so that nothing falls out by chance."""
    found = [dcmread(io.BytesIO(content)) for content in ct.series(7, 128)]
    turn = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8]])  # rows and columns, orthonormal
    for n, ds in enumerate(found):
        ds.ImageOrientationPatient = turn.ravel().tolist()
        ds.ImagePositionPatient = (np.array([10.0, -20.0, 5.0]) + np.cross(*turn) * n * 5.0).tolist()
        ds.PixelSpacing = [0.7, 1.3]
        ds.StudyID, ds.ReferringPhysicianName = "1", ""
    return found


def in_space(ds: Dataset, pixels: Any) -> np.ndarray:
    """By highdicom: patient coordinates of (column, row)."""
    to = PixelToReferenceTransformer(
        image_position=ds.ImagePositionPatient, image_orientation=ds.ImageOrientationPatient,
        pixel_spacing=ds.PixelSpacing,
    )  # fmt: skip
    return to(np.asarray(pixels, dtype=int))


def report(slices: list[Dataset], kind: GraphicTypeValues3D, points: Any, frame_uid: str) -> Dataset:
    observer = ObserverContext(codes.DCM.Person, PersonObserverIdentifyingAttributes("Other^Maker"))
    region = hd.sr.ImageRegion3D(graphic_type=kind, graphic_data=np.asarray(points), frame_of_reference_uid=frame_uid)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(generate_uid(), "Lesion 1"), referenced_region=region,
        finding_type=codes.SCT.Nodule, finding_sites=[FindingSite(codes.SCT.Lung)],
        measurements=[Measurement(codes.SCT.Diameter, 12.5, codes.UCUM.Millimeter)],
    )  # fmt: skip
    content = MeasurementReport(
        ObservationContext(observer_person_context=observer), CodedConcept("1", "99X", "CT"), [group]
    )
    return Comprehensive3DSR(
        evidence=slices, content=content[0], series_instance_uid=generate_uid(), series_number=9,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Other",
    )  # fmt: skip


def layer_of(slices: list[Dataset], kind: GraphicTypeValues3D, points: Any, frame_uid: str = "") -> Any:
    org = make.organisation()
    make.user("dave", org, "pacs_admin")
    sr = report(slices, kind, points, frame_uid or slices[0].FrameOfReferenceUID)
    for ds in (*slices, sr):
        make.stored(ds, org)
    study = Study.objects.get()
    client = Client()
    from portal.accounts.models import User

    client.force_login(User.objects.get(username="dave"))
    answer = client.get(f"/api/v1/studies/{study.study_uid}/layers/{sr.SOPInstanceUID}/")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_an_outline_lies_on_its_slice(slices: list[Dataset]) -> None:
    made = layer_of(slices, GraphicTypeValues3D.POLYGON, in_space(slices[3], PIXELS))
    [item] = [one for one in made["items"] if one["sop_uid"]]
    assert (item["kind"], item["sop_uid"], item["label"]) == ("polygon", slices[3].SOPInstanceUID, "Nodule")
    np.testing.assert_allclose(item["rings"][0], PIXELS, atol=2e-3)
    assert item["measurements"] == [{"name": "Diameter", "value": 12.5, "unit": "mm"}]
    assert made["left_out"] == {}


def test_a_point_between_two_slices_lies_on_the_nearer_one(slices: list[Dataset]) -> None:
    low, high = in_space(slices[2], [[60, 20]]), in_space(slices[3], [[60, 20]])
    made = layer_of(slices, GraphicTypeValues3D.POINT, (0.7 * low + 0.3 * high))
    [item] = [one for one in made["items"] if one["sop_uid"]]
    assert (item["kind"], item["sop_uid"]) == ("point", slices[2].SOPInstanceUID)
    np.testing.assert_allclose(item["rings"][0], [[60, 20]], atol=2e-3)


def test_an_ellipse(slices: list[Dataset]) -> None:
    axes = in_space(slices[1], [[20, 64], [100, 64], [60, 44], [60, 84]])
    made = layer_of(slices, GraphicTypeValues3D.ELLIPSE, axes)
    [item] = [one for one in made["items"] if one["sop_uid"]]
    ring = (np.array(item["rings"][0]) - [60, 64]) / [40, 20]
    assert item["sop_uid"] == slices[1].SOPInstanceUID
    np.testing.assert_allclose(np.hypot(*ring.T), 1, atol=2e-3)


@pytest.mark.parametrize("why", ["another frame of reference", "across slices", "far away", "beside the image"])
def test_what_lies_in_no_image_is_counted(slices: list[Dataset], why: str) -> None:
    points, frame_uid = in_space(slices[3], PIXELS).astype(float), ""
    if why == "another frame of reference":
        frame_uid = generate_uid()
    elif why == "across slices":
        points[2:4] = in_space(slices[4], PIXELS[2:4])
    elif why == "far away":
        points += np.cross(*np.reshape(slices[0].ImageOrientationPatient, (2, 3))) * 500
    else:
        points = in_space(slices[3], PIXELS + 4000)
    kind = GraphicTypeValues3D.POLYLINE if why == "across slices" else GraphicTypeValues3D.POLYGON
    made = layer_of(slices, kind, points, frame_uid)
    assert not [one for one in made["items"] if one["sop_uid"]]
    assert made["left_out"] == {"places in patient coordinates that lie in no image": 1}
