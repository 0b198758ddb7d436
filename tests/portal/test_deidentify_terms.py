"""Lists that outlive a scan, through the door: the report's names in the next scan, what is learnt, what is taught."""

from __future__ import annotations

import io
import json
from typing import Any

import psycopg
import pydicom
import pytest
from django.http import Http404
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from portal.accounts.models import Membership, Organisation, User
from portal.core import storage
from portal.core.storage import staged_name
from portal.deidentify import terms
from portal.deidentify.models import DeidentificationReport, ListedTerm, PatientTerms
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source
from tests.factories.door import cleaned

pytestmark = pytest.mark.django_db


@pytest.fixture
def source() -> Source:
    terms._kept.clear()
    lakeside = Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")
    user = User.objects.create_user("dave", password="a long password")
    Membership.objects.create(user=user, organisation=lakeside, roles=["pacs_admin"])
    return Source.objects.create(organisation=lakeside, kind=Source.Kind.FOLDER, name="folder", user=user)


def scan(patient: str = "P1", study: str = "", **more: Any) -> Dataset:
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    ds.PatientID, ds.PatientName = patient, f"Nobody{patient}^Known"
    ds.SOPInstanceUID, ds.StudyInstanceUID = generate_uid(), study or generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def report(patient: str, text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    ds = Dataset()
    ds.PatientID, ds.PatientName = patient, f"Nobody{patient}^Known"
    ds.Modality, ds.StudyDate, ds.ContentSequence = "SR", "20210301", Sequence([item])
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (generate_uid() for _ in range(3))
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def through(source: Source, dataset: Dataset) -> Dataset:
    """The clean data set that leaves the identity zone."""
    raw = io.BytesIO()
    dataset.save_as(raw, enforce_file_format=True)
    raw.seek(0)
    receipt = cleaned(receive(source, raw).pk)
    assert receipt.state == Receipt.State.DEIDENTIFIED, receipt.reason
    with storage.archive().open(staged_name(receipt.pk)) as file:
        return pydicom.dcmread(io.BytesIO(file.read()))


def test_a_name_of_the_report_goes_from_the_next_scan_of_the_patient_alone(source: Source) -> None:
    text = "Clear lungs, compared with 3 May 2020. Discussed with her sister, Zelda Quillfeather, on 4 May 2020."
    clean = through(source, report("P1", text))
    said = clean.ContentSequence[0].TextValue
    assert "Quillfeather" not in said and said.startswith("Clear lungs, compared with ") and "%PATIENT NAME%" in said
    comments = "The quillfeather called, Crohn's disease known."
    assert through(source, scan("P1", ImageComments=comments)).ImageComments == (
        "The %PATIENT NAME% called, Crohn's disease known."
    )
    assert through(source, scan("P2", ImageComments=comments)).ImageComments == comments


def test_scan_and_report_of_a_patient_keep_their_distance(source: Source) -> None:
    one = through(source, scan("P1", StudyDate="20200110", AccessionNumber="A-77"))
    two = through(source, scan("P1", StudyDate="20210214", ImageComments="Compared with 2020-01-10."))
    said = through(source, report("P1", "Compared with the CT of January 10, 2020."))
    moved = pydicom.valuerep.DA(one.StudyDate)
    assert two.ImageComments == f"Compared with {moved:%Y-%m-%d}."
    assert (pydicom.valuerep.DA(two.StudyDate) - moved).days == 401  # 2020-01-10 to 2021-02-14
    assert said.ContentSequence[0].TextValue == f"Compared with the CT of {moved:%B} {moved.day}, {moved.year}."
    assert one.PatientID == two.PatientID == said.PatientID


def test_staff_met_with_three_patients_are_looked_for_everywhere(source: Source) -> None:
    for number in range(3):
        through(source, scan(f"P{number}", OperatorsName="Zimmerwald^Ute"))
    terms._kept.clear()
    assert ("zimmerwald", "doctor") in {(t.text, t.kind) for t in _words(terms.shared(source.organisation_id))}
    assert through(source, scan("P9", ImageComments="done by zimmerwald")).ImageComments == "done by %DOCTOR%"


def _words(lists: Any) -> set[Any]:
    from portal.deidentify.text import Term

    return {Term(word, t.kind) for t in lists.black for word in t.text.replace("^", " ").split()}


def test_terms_can_be_taught_and_taken_back_and_leave_a_trace_without_values(source: Source) -> None:
    user = source.user
    assert user is not None
    organisation = source.organisation_id
    terms.teach(user, organisation, "Blauwal", "black", "hospital")
    terms._kept.clear()
    assert through(source, scan("P1", ImageComments="sent by blauwal")).ImageComments == "sent by %HOSPITAL%"
    terms.teach(user, organisation, "BLAUWAL", "white")
    assert ListedTerm.objects.get(taught_by_id=user.pk).which == "white"
    assert terms.take_back(user, organisation, "black", ["blauwal"]) == 0
    assert [terms.take_back(user, organisation, "white", ["blauwal"]) for _ in range(2)] == [1, 0]
    with pytest.raises(ValueError):
        terms.teach(user, organisation, "x", "black", "colour")
    with pytest.raises(Http404):
        terms.teach(User.objects.create_user("mallory"), organisation, "x", "white")
    events = list(ListedTerm.pgh_event_model.objects.filter(taught_by_id=user.pk).order_by("pk").values())  # type: ignore[attr-defined]
    assert [e["pgh_label"] for e in events] == ["insert", "update"]
    assert {e["taught_by_id"] for e in events} == {user.pk}
    assert "blauwal" not in json.dumps(events, default=str).lower()


def test_nothing_kept_or_reported_can_be_read(source: Source) -> None:
    through(source, scan("P1", ImageComments="Dr. Quillfeather was here. Call (555) 210-4471."))
    row = PatientTerms.objects.get()
    assert b"quillfeather" not in bytes(row.sealed).lower()
    report = DeidentificationReport.objects.get()
    assert report.found == {"doctor: listed": 1, "phone: telephone number": 1}
    assert "uillfeather" not in json.dumps([report.actions, report.found])


@pytest.mark.parametrize("table", ["patient_terms", "listed_term"])
@pytest.mark.django_db(transaction=True)
def test_the_app_role_is_refused_on_terms(table: str) -> None:
    from django.db import connection

    from portal.core.grants import apply_grants
    from tests.portal.test_zones import connect

    apply_grants(connection)
    with connect("CONCORD_TEST_APP_URL") as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(f"SELECT * FROM identities.{table}")
