"""Reports come in: HL7 v2 and JSON by the door, PDF and CDA as DICOM documents; cleaned, filed with the scan, shown."""

from __future__ import annotations

import io
import json
from typing import Any

import hl7
import numpy as np
import psycopg
import pydicom
import pytest
from django.db import connection
from django.test import Client
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from portal.accounts.models import Role, User
from portal.archive.actions import store_receipt
from portal.archive.models import Instance, Study
from portal.core import storage
from portal.core.grants import apply_grants
from portal.core.models import OutboxEvent
from portal.core.storage import staged_name
from portal.deidentify import terms
from portal.deidentify.models import (
    DeidentificationReport,
    ListedTerm,
    PatientTerms,
    VaultPatient,
    VaultUid,
    WaitingReport,
)
from portal.ingest.actions import receive
from portal.ingest.models import Receipt, Source
from portal.ingest.report_form import BadReport, Told, check, encode
from portal.ingest.report_hl7 import read_hl7
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.factories.burnt import fonts
from tests.factories.burnt.grounds import bare
from tests.factories.documents import cda, pdf, scanned
from tests.factories.door import cleaned
from tests.factories.reports import ACCESSION, ID, TEXT, WORDS, message
from tests.portal.test_zones import connect

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
HL7 = "x-application/hl7-v2+er7"


@pytest.fixture
def dave() -> User:
    for model in (ListedTerm, PatientTerms, VaultPatient, VaultUid, WaitingReport):
        model.objects.all().delete()  # a test's end empties the tables of the app zone alone
    terms._kept.clear()
    return make.user("dave", make.organisation(), Role.PACS_ADMIN)


def sender(dave: User) -> Client:
    return Client(headers={"Authorization": f"Bearer {make.token(dave, make.organisation())}"})


def archived(pk: Any) -> tuple[Receipt, Dataset]:
    """A receipt through the identity zone into the archive, and the object that lies there."""
    receipt = store_receipt(cleaned(pk).pk)
    assert receipt.state == "archived", (receipt.reason, receipt.detail)
    row = Instance.objects.get(sop_uid=receipt.sop_uid)
    with storage.archive().open(row.name) as file:
        return receipt, pydicom.dcmread(io.BytesIO(file.read()))


def came(dataset: Dataset, kind: str = "upload") -> Receipt:
    source, _ = Source.objects.get_or_create(organisation=make.organisation(), kind=kind, name="Door")
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return receive(source, io.BytesIO(out.getvalue()))


def scan(**values: Any) -> Dataset:
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Quillfeather^Rosa", ID, "19410213"
    ds.AccessionNumber, ds.StudyDate = ACCESSION, "20240229"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def said(ds: Dataset) -> str:
    return str(ds.ContentSequence[0].TextValue)


def nothing_of(words: tuple[str, ...], ds: Dataset) -> None:
    raw = io.BytesIO()
    ds.save_as(raw)
    for word in words:
        assert word.lower().encode() not in raw.getvalue().lower(), word


def test_a_report_is_filed_with_its_scan_and_shown_without_a_name(dave: User) -> None:
    first, image = archived(came(scan()).pk)
    answer = sender(dave).post("/api/v1/reports/", message(), HL7)
    assert answer.status_code == 202 and not any(word in answer.content.decode() for word in WORDS)
    receipt, ds = archived(answer.json()[0]["id"])
    assert receipt.study_uid == first.study_uid and ds.PatientID == image.PatientID
    assert ds.AccessionNumber == image.AccessionNumber and ds.StudyDate == image.StudyDate
    nothing_of(WORDS, ds)
    assert said(ds).startswith("Clear lungs. Known Parkinson's disease. Discussed with her sister, %PATIENT NAME%")
    client = Client()
    client.force_login(dave)
    where = f"/scans/{receipt.study_uid}/layers/"
    assert "Diagnostic Imaging Report" in client.get(where).content.decode()
    page = client.get(f"{where}{receipt.sop_uid}/").content.decode()
    assert "Clear lungs." in page and not any(word in page for word in WORDS)


def test_before_its_scan_it_waits_and_is_released_by_it(dave: User) -> None:
    client = sender(dave)
    early = cleaned(client.post("/api/v1/reports/", message(), HL7).json()[0]["id"])
    assert (early.state, early.reason) == ("quarantined", "no_scan") and Study.objects.count() == 0
    assert not storage.archive().exists(staged_name(early.pk))
    twice = cleaned(client.post("/api/v1/reports/", message(), HL7).json()[0]["id"])
    assert twice.state == "duplicate"
    stranger, _ = archived(came(scan(PatientID="P2", PatientName="Other")).pk)  # with the same number
    early.refresh_from_db()
    assert early.state == "quarantined"
    owed = OutboxEvent.objects.filter(topic="ingest.received", key=str(early.pk))
    owed.delete()
    first, image = archived(came(scan(ImageComments="the zilquor called, Crohn's disease known")).pk)
    assert image.ImageComments == "the %PATIENT NAME% called, Crohn's disease known"
    early.refresh_from_db()
    assert early.state == "received" and owed.count() == 1 and not WaitingReport.objects.exists()
    filed, ds = archived(early.pk)
    assert filed.study_uid == first.study_uid != stranger.study_uid and ds.PatientID == image.PatientID


def test_a_name_found_only_in_the_report_is_then_found_in_the_next_scan(dave: User) -> None:
    archived(came(scan()).pk)
    archived(sender(dave).post("/api/v1/reports/", message(), HL7).json()[0]["id"])
    _, ds = archived(came(scan(ImageComments="the zilquor called, Crohn's disease known")).pk)
    assert ds.ImageComments == "the %PATIENT NAME% called, Crohn's disease known"
    _, other = archived(
        came(scan(PatientID="P2", PatientName="Other", ImageComments="the zilquor called, Crohn's disease known")).pk
    )
    assert other.ImageComments == "the zilquor called, Crohn's disease known"


def burnt(word: str) -> Dataset:
    """A capture of the patient's with a word burnt in."""
    plane = (np.random.default_rng(7).integers(0, 4, (200, 480)) + 30).astype("u1")
    ink = fonts.ink(word, "DejaVuSans.ttf", 26) > 0.5
    plane[80 : 80 + ink.shape[0], 40 : 40 + ink.shape[1]][ink] = 250
    ds = bare(SecondaryCaptureImageStorage, "OT", plane, 8)
    ds.PatientName, ds.PatientID, ds.AccessionNumber, ds.StudyDate = "Quillfeather^Rosa", ID, ACCESSION, "20240229"
    return ds


def test_and_in_its_pixels(dave: User) -> None:
    def kinds(receipt: Receipt) -> list[tuple[str, str]]:
        return [
            (place["kind"], place["rule"])
            for place in DeidentificationReport.objects.get(receipt=receipt).pixels["covered"]
        ]

    before, _ = archived(came(burnt("ZILQUOR")).pk)
    assert before.pixel_questions.exists()  # a word that nobody knows: covered, and asked about
    archived(sender(dave).post("/api/v1/reports/", message(), HL7).json()[0]["id"])
    after, _ = archived(came(burnt("ZILQUOR")).pk)
    assert kinds(after) == [("name", "listed")] and not after.pixel_questions.exists()


def test_the_same_as_json(dave: User) -> None:
    first, _ = archived(came(scan()).pk)
    body = {"patient_id": ID, "patient_name": "Quillfeather^Rosa", "patient_birth": "1941-02-13", "text": TEXT,
            "accession": ACCESSION, "study_date": "2024-02-29", "readers": ["Yqorvathy^Ute"]}  # fmt: skip
    client = sender(dave)
    answer = client.post("/api/v1/reports/", body, "application/json")
    assert answer.status_code == 202
    receipt, ds = archived(answer.json()[0]["id"])
    assert receipt.study_uid == first.study_uid
    nothing_of(WORDS, ds)
    again = client.post("/api/v1/reports/", body, "application/json")
    assert again.status_code == 200 and again.json()[0]["state"] == "duplicate"
    for wrong, field in (({"text": ""}, "text"), ({"patient_birth": "13.2.1941"}, "patient_birth")):
        answer = client.post("/api/v1/reports/", body | wrong, "application/json")
        assert answer.status_code == 400 and field in answer.json()["fields"]
    nobody = client.post("/api/v1/reports/", {"text": TEXT}, "application/json")
    assert nobody.status_code == 422 and "Zilquor" not in nobody.content.decode()


def test_by_study_uid_and_only_in_the_patients_own_scan(dave: User) -> None:
    uid = generate_uid()
    first, _ = archived(came(scan(AccessionNumber="", StudyInstanceUID=uid)).pk)
    more = f"OBX|2|ST|110180^Study Instance UID^DCM||{uid}||||||F"
    receipt, _ = archived(sender(dave).post("/api/v1/reports/", message(more=more), HL7).json()[0]["id"])
    assert receipt.study_uid == first.study_uid
    archived(came(scan(PatientID="P2", AccessionNumber="ACC-9")).pk)
    other = cleaned(sender(dave).post("/api/v1/reports/", message(accession="ACC-9"), HL7).json()[0]["id"])
    assert other.reason == "no_scan"  # another patient's scan has that number


def test_what_lands_cannot_be_read_by_the_app_role_and_nothing_else_keeps_it(dave: User) -> None:
    archived(came(scan(SOPInstanceUID="1.2.3")).pk)
    answer = sender(dave).post("/api/v1/reports/", message(), HL7)
    archived(answer.json()[0]["id"])
    apply_grants(connection)
    with connect("CONCORD_TEST_APP_URL") as db:
        for table in ("ingest_receipt", "core_outboxevent", "archive_study", "archive_instance", "archive_patient",
                      "deidentify_deidentificationreport"):  # fmt: skip
            kept = str(db.execute(f"SELECT * FROM {table}").fetchall())  # type: ignore[call-overload]
            assert not [word for word in WORDS if word in kept], table
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT * FROM identities.landing_file")
    reports = DeidentificationReport.objects.values_list("actions", "found")
    assert len(reports) == 2 and not [word for word in WORDS if word in json.dumps(list(reports))]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "HL7"),
        (b"PID|1", "MSH"),
        (b"MSH|^~\\&|RIS\r", "results"),
        (message().replace(b"ORU^R01^ORU_R01", b"ADT^A01"), "results"),
        (message().replace(b"|FT|", b"|ED|"), "embedded"),
        (message().replace(b"|FT|", b"|RP|"), "lies elsewhere"),
        (message(text=""), "no text"),
        (message(patient=""), None),
        (message(accession="A" * 17), "16"),
        (message(accession="").replace(b"F-1", b""), "accession"),
        (message().replace(b"UNICODE UTF-8", b"EBCDIC"), "character set"),
        (message().replace(b"UNICODE UTF-8", b"ASCII").replace(b"Clear", "Klär".encode()), "character set"),
        (message(text="x" * 200_001), "longer"),
    ],
)
def test_what_is_no_report_is_said_and_not_quoted(raw: bytes, words: str | None) -> None:
    if words is None:  # a name and a birth date are enough
        assert [check(one).patient_name for one in read_hl7(raw)] == ["Quillfeather^Rosa^M^Ms"]
        return
    with pytest.raises(BadReport) as error:
        [check(one) for one in read_hl7(raw)]
    assert words in str(error.value) and not [word for word in WORDS if word in str(error.value)]


def test_messages_are_read_as_an_independent_writer_means_them() -> None:
    """Escapes, repetitions, several orders: chapter 2.7 of the standard, and the library `hl7`."""
    text = "Line one\\.br\\T2 \\T\\ FLAIR \\S\\ 3\\X0D\\|||||F"
    raw = message(text).replace(b"F-1", b"F-1") + (
        b"OBR|2|ACC-2|F-2|MR^MR head|||20240301|||||||||||ACC-2\r"
        b"OBX|1|TX|18782-3^Report^LN|1|First~Second||||||F\r"
        b"OBX|2|NM|1^EF^L||55|%|||||F\rOBX|3|CWE|2^BI-RADS^L||4^Suspicious^L||||||F\rNTE|1||A note\r"
    )
    assert str(hl7.parse(raw.decode())["OBR"][1][18]) == "ACC-2"
    one, two = read_hl7(b"\x0b" + raw.replace(b"\r", b"\r\n") + b"\x1c\r")
    assert one.text.split() == ["Line", "one", "T2", "&", "FLAIR", "^", "3"] and one.accession == ACCESSION
    assert two.text == "First\nSecond\nEF: 55 %\nBI-RADS: Suspicious\nA note"
    assert (two.accession, two.study_date, two.patient_id) == ("ACC-2", "20240301", ID)
    assert (one.study_date, one.study_time, one.referring) == ("20240229", "101500", "Yqorvathy^Ute^^Dr")


@pytest.mark.parametrize("who", ["reader", "auditor", "account_admin"])
def test_who_sends_no_scans_sends_no_reports(who: str) -> None:
    person = make.user(who, make.organisation(), Role(who))
    assert sender(person).post("/api/v1/reports/", message(), HL7).status_code == 404
    assert Client().post("/api/v1/reports/", message(), HL7).status_code in {401, 403, 404}
    assert Receipt.objects.count() == 0


def test_too_much_is_refused_before_it_is_read(dave: User) -> None:
    answer = sender(dave).post("/api/v1/reports/", b"MSH|" + b"x" * (17 << 20), HL7)
    assert answer.status_code == 400 and Receipt.objects.count() == 0


def document(sop_class: str, raw: bytes) -> Dataset:
    """An encapsulated document (PS3.3 A.45) of the patient's."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = generate_uid(), generate_uid(), "DOC"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber = (
        "Quillfeather^Rosa",
        ID,
        "19410213",
        ACCESSION,
    )
    ds.StudyDate, ds.DocumentTitle, ds.BurnedInAnnotation = "20240229", "Report of Rosa Quillfeather", "YES"
    ds.EncapsulatedDocument = raw + b"\0" * (len(raw) % 2)
    ds.EncapsulatedDocumentLength = len(raw)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf" if sop_class == EncapsulatedPDFStorage else "text/XML"
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


@pytest.mark.parametrize("kind", ["pdf", "cda"])
def test_of_a_document_the_clean_text_is_kept(dave: User, kind: str) -> None:
    sop_class, raw = (EncapsulatedPDFStorage, pdf(TEXT)) if kind == "pdf" else (EncapsulatedCDAStorage, cda(TEXT))
    receipt, ds = archived(came(document(sop_class, raw)).pk)
    nothing_of(WORDS, ds)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.11" and "EncapsulatedDocument" not in ds
    assert receipt.sop_class == ds.SOPClassUID and (receipt.modality, ds.Modality) == ("SR", "SR")
    assert "Known Parkinson's disease" in " ".join(said(ds).split())
    terms._kept.clear()
    _, image = archived(came(scan(ImageComments="the zilquor called, Crohn's disease known")).pk)
    assert image.ImageComments == "the %PATIENT NAME% called, Crohn's disease known"


def test_a_scanned_page_is_read_and_cleaned(dave: User) -> None:
    """Seed 001, FIG. 10A: of a digitized page the text is extracted first; it says by itself that it was read so."""
    _, ds = archived(came(document(EncapsulatedPDFStorage, scanned(TEXT))).pk)
    nothing_of(WORDS, ds)
    assert "Known Parkinson's disease" in " ".join(said(ds).split())
    assert ds.CompletionFlagDescription == "Text read from scanned pages"


def test_whom_a_cdas_own_header_names_goes_from_its_text(dave: User) -> None:
    text = "Gelesen und besprochen mit wxylander im qmarspital."
    _, ds = archived(came(document(EncapsulatedCDAStorage, cda(text, author="Wxylander"))).pk)
    nothing_of(("Wxylander", "Qmarspital"), ds)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        pytest.param("pdf", pdf(""), id="an empty page"),
        pytest.param("pdf", scanned(""), id="scanned, empty"),
        pytest.param("pdf", scanned(TEXT, pages=21), id="scanned, long"),
        ("pdf", b"%PDF-1.4 and nothing else"),
        pytest.param("pdf", pdf(TEXT, password="secret"), id="encrypted"),
        ("cda", b"<ClinicalDocument>"),
        ("cda", b"<html><body>Long enough for a text</body></html>"),
        ("cda", b'<!DOCTYPE x [<!ENTITY a "b">]><ClinicalDocument>&a;</ClinicalDocument>'),
        ("cda", cda(TEXT, media="application/pdf")),
    ],
)
def test_a_document_without_readable_text_is_set_aside(dave: User, kind: str, raw: bytes) -> None:
    sop_class = EncapsulatedPDFStorage if kind == "pdf" else EncapsulatedCDAStorage
    receipt = cleaned(came(document(sop_class, raw)).pk)
    assert (receipt.state, receipt.reason) == ("quarantined", "document_not_read") and receipt.detail
    assert not storage.archive().exists(staged_name(receipt.pk)) and Instance.objects.count() == 0


def test_the_same_report_makes_the_same_bytes() -> None:
    told = Told(TEXT, patient_id=ID, accession=ACCESSION, study_date="20240229")
    assert encode(told, 1) == encode(told, 1) != encode(told, 2)
    assert pydicom.dcmread(io.BytesIO(encode(told, 1))).ContentSequence[0].TextValue == TEXT
