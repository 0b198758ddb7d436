"""Layers of other systems are kept from readers as the model's output is, in every mode, and shown when it is shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from portal.accounts.models import User
from portal.archive import rules
from portal.archive.foreign import KINDS
from portal.archive.models import Instance, Study
from portal.export.returns.contents import headers, images_of
from portal.programmes.models import Assignment, Case, Protocol
from tests.factories import foreign
from tests.factories.archive import plain_static, stored
from tests.factories.reading import Cast, answers, cast, open_case, submit

__all__ = ["cast", "plain_static"]


@pytest.mark.parametrize("sop_class", sorted(KINDS))
def test_all_that_can_be_a_layer_counts_as_an_opinion(sop_class: str) -> None:
    """So that no kind is offered which blinding does not know."""
    assert rules.opinion(sop_class, foreign.MAKER)


def client(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


def told(user: User, case: Case, assignment: Assignment | None = None) -> dict[str, set[str]]:
    """Door → the layers that it offers or gives: the list, the two bundles, each layer itself, the scan's pages."""
    who, uid = client(user), case.study.study_uid
    doors: dict[str, Any] = {
        "list": who.get(f"/api/v1/studies/{uid}/layers/"),
        "scan": who.get(f"/api/v1/studies/{uid}/bundle/"),
    }
    if assignment is not None:
        doors["case"] = who.get(f"/api/v1/assignments/{assignment.pk}/")
    found = {name: {one["kind"] for one in door.json()["layers"]} for name, door in doors.items()}
    found["each"], found["page"] = set(), set()
    for row in Instance.objects.filter(study=case.study, opinion=True):
        kind = KINDS[row.sop_class]
        if who.get(f"/api/v1/studies/{uid}/layers/{row.sop_uid}/").status_code == 200:
            found["each"].add(kind)
        if row.sop_uid in who.get(f"/scans/{uid}/layers/").content.decode():
            found["page"].add(kind)
    return found


@pytest.fixture
def case(cast: Cast) -> Case:
    """A mammography case with another maker's masks and a report."""
    case = open_case(cast)
    first = Instance.objects.filter(study=case.study).order_by("pk")[0]
    (source,) = headers(images_of(case.study).filter(pk=first.pk))
    masks = foreign.masks([whole(source)], foreign.body(int(source.Rows))[:, : int(source.Columns)])
    report = dcmread(str(get_testdata_file("test-SR.dcm")))
    report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPInstanceUID = (
        case.study.study_uid,
        generate_uid(),
        generate_uid(),
    )
    report.file_meta.MediaStorageSOPInstanceUID, report.PatientID = report.SOPInstanceUID, source.PatientID
    for ds in (masks, report):
        stored(ds, cast.lakeside)
    Study.objects.filter(pk=case.study_id).update(state="settled")
    return Case.objects.get(pk=case.pk)


def whole(ds: Dataset) -> Dataset:
    """With what highdicom wants of its sources."""
    for keyword in (
        "PatientBirthDate",
        "StudyID",
        "ReferringPhysicianName",
        "AccessionNumber",
        "PatientSex",
        "StudyTime",
    ):
        if keyword not in ds:
            setattr(ds, keyword, "")
    return ds


BOTH = {"report", "segmentation"}


@pytest.mark.django_db(transaction=True)
def test_a_blinded_reader_gets_no_layer_through_any_door(cast: Cast, case: Case) -> None:
    mine = case.assignments.get()
    erin = told(cast.erin, case)
    assert erin == {"list": BOTH, "scan": BOTH, "each": BOTH, "page": BOTH}
    assert set(map(frozenset, told(cast.alice, case, mine).values())) == {frozenset()}
    submit(cast.alice, mine, answers(True))  # neither afterwards: she may read others of this kind
    assert set(map(frozenset, told(cast.alice, case, mine).values())) == {frozenset()}


@pytest.mark.django_db(transaction=True)
def test_on_demand_they_come_with_the_models_output(cast: Cast, case: Case) -> None:
    Protocol.objects.filter(pk=case.protocol_id).update(mode="on_demand")
    mine, alice = case.assignments.get(), client(cast.alice)
    assert alice.get(f"/read/{mine.pk}/").status_code == 200  # opening it takes it
    assert set(map(frozenset, told(cast.alice, case, mine).values())) == {frozenset()}
    assert alice.post(f"/api/v1/assignments/{mine.pk}/reveal/").status_code == 200
    assert told(cast.alice, case, mine) == {"list": BOTH, "scan": BOTH, "case": BOTH, "each": BOTH, "page": BOTH}
    assert set(map(frozenset, told(cast.bob, case).values())) == {frozenset()}
