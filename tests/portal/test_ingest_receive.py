"""The one receive action: what is taken, what is set aside, what is known already."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.db import connection
from django.test import override_settings
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from portal.accounts.models import Membership, Organisation, User
from portal.core import storage
from portal.core.errors import Refused
from portal.core.models import OutboxEvent
from portal.core.storage import staged_name
from portal.deidentify.models import DeidentificationReport, VaultPatient, VaultUid
from portal.deidentify.vault import original_uid
from portal.ingest import actions, landing, retention
from portal.ingest.models import HeaderRule, LandingFile, Receipt, Source
from portal.ingest.shipped_rules import MAMMOGRAMS
from tests.factories.door import cleaned

CT = Path(get_testdata_file("CT_small.dcm"))


@pytest.fixture
def lakeside(db: Any) -> Organisation:
    return Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")


@pytest.fixture
def source(lakeside: Organisation) -> Source:
    return Source.objects.create(organisation=lakeside, kind=Source.Kind.DIMSE, name="CT 1", ae_title="CT1")


@pytest.fixture
def dave(lakeside: Organisation) -> User:
    user = User.objects.create_user("dave", password="a long password")
    Membership.objects.create(user=user, organisation=lakeside, roles=["pacs_admin"])
    return user


def changed(**values: Any) -> bytes:
    """CT_small with other values."""
    dataset = pydicom.dcmread(CT)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
        if keyword == "SOPInstanceUID":
            dataset.file_meta.MediaStorageSOPInstanceUID = value
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def send(source: Source, data: bytes) -> Receipt:
    return actions.receive(source, io.BytesIO(data))


def test_a_scan_is_durable_and_owed_to_the_next_step(source: Source) -> None:
    receipt = send(source, CT.read_bytes())
    assert (receipt.state, receipt.reason, receipt.modality) == ("received", "", "CT")
    row = LandingFile.objects.get(receipt_id=receipt.pk)
    with storage.landing().open(row.name) as file:
        assert file.read() == CT.read_bytes()
    assert OutboxEvent.objects.filter(topic="ingest.received", key=str(receipt.pk)).count() == 1
    assert not list(landing.incoming().iterdir())


def test_the_same_scan_again_is_acknowledged_and_not_stored_twice(source: Source) -> None:
    first, again = send(source, CT.read_bytes()), send(source, CT.read_bytes())
    assert (first.state, again.state) == ("received", "duplicate")
    assert LandingFile.objects.count() == 1
    assert OutboxEvent.objects.filter(topic="ingest.received").count() == 1


def test_the_same_scan_with_another_file_meta_is_known_again(source: Source) -> None:
    dataset = pydicom.dcmread(CT)
    dataset.file_meta.ImplementationVersionName = "OTHER_DOOR"
    out = io.BytesIO()
    dataset.save_as(out)
    assert out.getvalue() != CT.read_bytes()
    assert [send(source, CT.read_bytes()).state, send(source, out.getvalue()).state] == ["received", "duplicate"]


def test_the_same_uid_with_other_bytes_is_kept_aside(source: Source, dave: User) -> None:
    first, other = send(source, CT.read_bytes()), send(source, changed(PatientName="Other^One"))
    assert (other.state, other.reason) == ("quarantined", "conflict")
    assert LandingFile.objects.count() == 2
    with pytest.raises(Refused):
        actions.retry(dave, other)
    first.refresh_from_db()
    assert first.state == "received"


BAD = [
    ("not_dicom", b"GIF89a" + b"\0" * 500),
    ("not_dicom", b""),
    ("unreadable", b"\0" * 128 + b"DICM" + b"\xff" * 300),
    ("truncated", CT.read_bytes()[:-1000]),
    ("truncated", CT.read_bytes()[:6000]),
    ("pixel_mismatch", changed(Rows=512)),
    ("pixel_mismatch", changed(NumberOfFrames=3)),
    ("impossible_size", changed(Rows=0)),
    ("contradiction", changed(BitsStored=30)),
    ("missing_uids", changed(StudyInstanceUID="")),
    ("missing_uids", changed(SeriesInstanceUID="not a uid")),
]


@pytest.mark.parametrize(("reason", "data"), BAD)
def test_bad_files_are_set_aside_with_their_reason(source: Source, reason: str, data: bytes) -> None:
    receipt = send(source, data)
    assert (receipt.state, receipt.reason) == ("quarantined", reason)
    assert OutboxEvent.objects.count() == 0
    again = send(source, data)
    assert again.pk == receipt.pk
    assert LandingFile.objects.count() == 1


def test_uids_of_meta_and_data_set_must_agree(source: Source) -> None:
    dataset = pydicom.dcmread(CT)
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=False)
    assert send(source, out.getvalue()).reason == "contradiction"


def test_a_folder_file_of_a_disc_is_refused(source: Source) -> None:
    path = Path(get_testdata_file("DICOMDIR"))
    assert send(source, path.read_bytes()).reason == "forbidden_class"


def test_an_oversized_stream_leaves_a_receipt_and_no_bytes(source: Source, dave: User) -> None:
    with override_settings(MAX_INSTANCE_BYTES=10_000):
        receipt = send(source, CT.read_bytes())
    assert (receipt.state, receipt.reason) == ("quarantined", "too_large")
    assert not LandingFile.objects.exists()
    assert not list(landing.incoming().iterdir())
    with pytest.raises(Refused):
        actions.retry(dave, receipt)


@pytest.mark.django_db(transaction=True)
def test_a_race_of_two_senders_has_one_winner() -> None:
    lakeside = Organisation.objects.create(slug="lakeside", name="Lakeside Imaging")
    source = Source.objects.create(organisation=lakeside, kind=Source.Kind.UPLOAD, name="x")
    barrier, states = threading.Barrier(6), []

    def sender() -> None:
        barrier.wait()
        states.append(send(source, CT.read_bytes()).state)
        connection.close()

    threads = [threading.Thread(target=sender) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["duplicate"] * 5 + ["received"]


def test_a_received_scan_is_cleaned_once_however_often_the_task_runs(source: Source) -> None:
    before = pydicom.dcmread(CT)
    receipt = send(source, CT.read_bytes())
    for _ in range(2):
        cleaned(str(receipt.pk))
    receipt.refresh_from_db()
    assert receipt.state == "deidentified"
    assert OutboxEvent.objects.filter(topic="deidentify.done", key=str(receipt.pk)).count() == 1
    with storage.archive().open(staged_name(receipt.pk)) as file:
        clean = pydicom.dcmread(file)
    assert clean.PixelData == before.PixelData
    assert clean.SOPInstanceUID != before.SOPInstanceUID
    lakeside = receipt.organisation_id
    assert original_uid(lakeside, "instance", clean.SOPInstanceUID) == before.SOPInstanceUID
    assert original_uid(lakeside, "study", clean.StudyInstanceUID) == before.StudyInstanceUID
    report = DeidentificationReport.objects.get(receipt=receipt)
    assert report.counts["X"] > 3
    assert str(before.PatientName) not in str(report.actions)
    assert str(before.PatientID).encode() not in bytes(VaultPatient.objects.get().identity)
    assert VaultUid.objects.count() >= 3


def test_a_crash_before_the_commit_loses_nothing(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = send(source, CT.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr("portal.deidentify.actions._report", lambda *_: (_ for _ in ()).throw(OSError("power")))
        with pytest.raises(OSError, match="power"):
            cleaned(receipt.pk)
    receipt.refresh_from_db()
    assert receipt.state == "received"
    assert cleaned(receipt.pk).state == "deidentified"


def test_keep_uids_and_already_deidentified(source: Source) -> None:
    before = pydicom.dcmread(CT)
    for privacy in ("keep_uids", "deidentified"):
        Source.objects.filter(pk=source.pk).update(privacy=privacy)
        uid = generate_uid()
        receipt = cleaned(send(source, changed(SOPInstanceUID=uid)).pk)
        with storage.archive().open(staged_name(receipt.pk)) as file:
            clean = pydicom.dcmread(file)
        assert clean.SOPInstanceUID == uid
        assert clean.StudyInstanceUID == before.StudyInstanceUID
        assert (clean.PatientID == before.PatientID) == (privacy == "deidentified")


def test_two_patients_without_an_id_stay_two(source: Source) -> None:
    ids = set()
    for _ in range(2):
        data = changed(PatientID="", PatientName="", SOPInstanceUID=generate_uid(), StudyInstanceUID=generate_uid())
        receipt = cleaned(send(source, data).pk)
        with storage.archive().open(staged_name(receipt.pk)) as file:
            ids.add(str(pydicom.dcmread(file).PatientID))
    assert len(ids) == 2


def test_the_mammograms_become_one_study_of_four_views(source: Source) -> None:
    from mammograms.mammograms import CASES

    HeaderRule.objects.create(organisation=source.organisation, **MAMMOGRAMS)
    views = {}
    for name, path in CASES[0].items():
        receipt = cleaned(send(source, path.read_bytes()).pk)
        assert receipt.state == "deidentified", receipt.detail
        with storage.archive().open(staged_name(receipt.pk)) as file:
            views[name] = pydicom.dcmread(file)
    assert len({v.StudyInstanceUID for v in views.values()}) == 1
    assert len({v.SOPInstanceUID for v in views.values()}) == 4
    assert len({v.PatientID for v in views.values()}) == 1
    assert len({(v.StudyDate, v.StudyTime) for v in views.values()}) == 1
    found = {n: (v.ImageLaterality, v.ViewPosition, v.InstanceNumber) for n, v in views.items()}
    assert found == {"rcc": ("R", "CC", 1), "lcc": ("L", "CC", 2), "rmlo": ("R", "MLO", 3), "lmlo": ("L", "MLO", 4)}
    assert views["rcc"].BodyPartExamined == "BREAST"
    assert views["rcc"].PatientOrientation == ["P", "L"]
    original = pydicom.dcmread(CASES[0]["rcc"])
    assert views["rcc"].PixelData == original.PixelData
    assert receipt.deidentification.header_rule == "CBIS-DDSM mammograms"


def test_retry_and_discard(source: Source, dave: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("portal.ingest.rules.FORBIDDEN_CLASSES", {"1.2.840.10008.5.1.4.1.1.2"})
        receipt = send(source, CT.read_bytes())
    assert receipt.reason == "forbidden_class"
    actions.retry(dave, receipt)
    assert cleaned(receipt.pk).state == "deidentified"
    receipt.refresh_from_db()
    assert receipt.uid_digest
    broken = send(source, CT.read_bytes()[:-1000])
    actions.retry(dave, broken)
    assert cleaned(broken.pk).reason == "truncated"
    broken.refresh_from_db()
    actions.discard(dave, broken)
    for wanted in (True, False):
        assert retention.delete_landing_file(str(broken.pk)) is wanted
    assert not LandingFile.objects.filter(receipt_id=broken.pk).exists()


def test_originals_go_when_their_time_is_up(source: Source) -> None:
    waiting, done = send(source, changed(SOPInstanceUID=generate_uid())), send(source, CT.read_bytes())
    cleaned(done.pk)
    done.refresh_from_db()
    assert done.advance(Receipt.State.ARCHIVED)
    with override_settings(LANDING_RETENTION_DAYS=0):
        assert retention.expire() == 1
    left = LandingFile.objects.get()
    assert left.receipt_id == waiting.pk
    assert not any(str(done.pk) in p.name for p in Path(storage.landing().path("")).rglob("*.dcm"))
