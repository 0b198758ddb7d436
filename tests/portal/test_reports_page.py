"""The page to hand in reports: every kind of file, what is said of each, who sees which, and no identity anywhere."""

from __future__ import annotations

import io
import json
import logging
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pydicom.data import get_testdata_file

from portal.accounts.models import Role, User
from portal.core.logs import configure
from portal.ingest.actions import receive_reports, source_for
from portal.ingest.models import Receipt, Source
from portal.ingest.report_form import BadReport, Document, Told
from portal.ingest.report_hl7 import read_hl7
from portal.ingest.report_kinds import kind_of
from tests.factories import archive as make
from tests.factories.archive import plain_static
from tests.factories.documents import cda, pdf
from tests.factories.door import cleaned
from tests.factories.reports import ACCESSION, ID, TEXT, WORDS, embedded, message
from tests.portal.test_reports_in import archived, came, dave, nothing_of, said, scan

__all__ = ["dave", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/ingest/reports/"
BODY = {"patient_id": ID, "patient_name": "Quillfeather^Rosa", "accession": ACCESSION, "text": TEXT}
WHOSE = {"patient_id": ID, "accession": ACCESSION}


def browser(person: User) -> Client:
    found = Client()
    found.force_login(person)
    return found


def hand_in(client: Client, raw: bytes, name: str = "report", **fields: str) -> list[dict[str, Any]]:
    answer = client.post(PAGE, {**fields, "files": SimpleUploadedFile(name, raw)})
    assert answer.status_code == 200, answer.content
    return list(answer.json()["results"])


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (message(), {}),
        (b"\x0b" + message() + b"\x1c\r", {}),
        (json.dumps(BODY).encode(), {}),
        (json.dumps([BODY]).encode(), {}),
        (pdf(TEXT), WHOSE),
        (cda(TEXT, accession=ACCESSION), {}),
        (cda(TEXT), {"accession": ACCESSION}),
        (TEXT.encode(), WHOSE),
        ((TEXT + " Größe unverändert.").encode("cp1252"), WHOSE),
        (embedded(pdf(TEXT), "PDF"), {}),
        (embedded(cda(TEXT), "XML"), {}),
        (embedded(pdf(TEXT), "PDF", "Hex"), {}),
    ],
    ids=[
        "hl7",
        "mllp",
        "json",
        "json-list",
        "pdf",
        "cda",
        "cda-and-form",
        "text",
        "windows",
        "hl7-pdf",
        "hl7-cda",
        "hex",
    ],
)
def test_every_kind_of_file_is_filed_with_its_scan(dave: User, raw: bytes, fields: dict[str, str]) -> None:
    first, _ = archived(came(scan()).pk)
    client = browser(dave)
    one, *rest = hand_in(client, raw, **fields)
    assert (one["state"], one["words"], rest) == ("received", "Identities are being removed.", [])
    receipt, ds = archived(one["receipt"])
    assert receipt.study_uid == first.study_uid
    nothing_of(WORDS, ds)
    assert "Known Parkinson's disease" in " ".join(said(ds).split())
    page = client.get(PAGE).content.decode()
    assert "Filed with its scan." in page and f"/scans/{receipt.study_uid}/" in page
    assert not [word for word in WORDS if word in page]


def test_typed_text_and_a_browser_without_scripts(dave: User) -> None:
    client = browser(dave)
    html = {"HTTP_ACCEPT": "text/html,application/xhtml+xml"}
    answer = client.post(PAGE, {**WHOSE, "text": TEXT}, **html, follow=True)
    assert "Typed text: Identities are being removed." in answer.content.decode()
    receipt = cleaned(Receipt.objects.get().pk)
    assert receipt.reason == "no_scan"
    page = client.get(PAGE).content.decode()
    assert "Waits for its scan" in page and "filed by itself" in page and not [word for word in WORDS if word in page]
    received = client.get("/ingest/").content.decode()
    assert "Waits for its scan" in received and "A report whose scan has not come" in received
    nothing = client.post(PAGE, WHOSE, **html)
    assert nothing.status_code == 200 and "Choose a file or type" in nothing.content.decode()
    assert client.post(PAGE, {}).status_code == 400
    wrong = client.post(PAGE, {"patient_birth": "yesterday", "text": TEXT})
    assert wrong.status_code == 422 and "Birth date" in wrong.json()["error"]["message"]


REFUSED = [
    (pdf(TEXT), {}, "patient ID"),
    (pdf(TEXT), {"patient_id": ID}, "accession number or a study UID"),
    (message(), {"patient_id": "Q-OTHER"}, "another patient ID than the form"),
    (cda(TEXT, accession=ACCESSION), {"accession": "OTHER"}, "another accession number than the form"),
    (b"", WHOSE, "empty"),
    (b"\x89PNG\r\n\x1a\n\0\0\0", WHOSE, "no report that can be read"),
    (b"PK\x03\x04 a Word file", WHOSE, "Word"),
    (b"{\\rtf1 text}", WHOSE, "Rich text"),
    (b"<html>Quillfeather</html>", WHOSE, "no CDA"),
    (b"<!DOCTYPE x><ClinicalDocument/>", WHOSE, "document type"),
    (b"<ClinicalDocument>Quillfeather", WHOSE, "well-formed"),
    (b'{"text": "Quillfeather"', WHOSE, "JSON cannot be read"),
    (b'["Quillfeather"]', WHOSE, "one object"),
    (b'{"patient_birth": "Quillfeather"}', WHOSE, "patient_birth, text"),
    (b'{"text": "Quillfeather\\u0000"}', WHOSE, "NUL"),
    (message().replace(b"|FT|", b"|RP|"), {}, "lies elsewhere"),
    (embedded(b"GIF89a", "GIF"), {}, "neither a PDF nor a CDA"),
    (embedded(pdf(TEXT), "PDF", "Morse"), {}, "none of Base64"),
    (embedded(pdf(TEXT), "PDF").replace(b"Base64^", b"Base64^%%"), {}, "not in the encoding"),
    (Path(get_testdata_file("CT_small.dcm")).read_bytes(), WHOSE, "DICOM file"),
]


def test_what_is_refused_is_said_and_nothing_is_kept(dave: User) -> None:
    client = browser(dave)
    for raw, fields, words in REFUSED:
        (one,) = hand_in(client, raw, "Quillfeather.x", **fields)
        assert one["state"] == "refused" and words in one["words"], (one, words)
        assert "uillfeather" not in one["words"]
    assert Receipt.objects.count() == 0


def test_a_file_that_is_too_large_is_refused_unread(dave: User, settings: Any) -> None:
    settings.MAX_REPORT_BYTES = 1000
    (one,) = hand_in(browser(dave), b"x" * 1001, **WHOSE)
    assert one["state"] == "refused" and "larger" in one["words"]


def test_the_same_again_is_already_here_and_several_in_one_file_are_several(dave: User) -> None:
    client = browser(dave)
    for raw, fields in ((pdf(TEXT), WHOSE), (TEXT.encode(), WHOSE)):
        assert [one["state"] for one in hand_in(client, raw, **fields)] == ["received"]
        assert [one["state"] for one in hand_in(client, raw, **fields)] == ["duplicate"]
    both = message(more=embedded(pdf("Second page of it."), "PDF").decode().split("\r")[3])
    assert [told.document is None for told in read_hl7(both)] == [True, False]
    assert [one["state"] for one in hand_in(client, both)] == ["received", "received"]


def test_an_empty_page_is_held_and_its_administrator_is_led_to_it(dave: User) -> None:
    lakeside = make.organisation()
    erin = make.user("erin", lakeside, Role.ENGINEER)
    cleaned(hand_in(browser(erin), pdf(""), **WHOSE)[0]["receipt"])
    mine, all_of_them = browser(erin).get(PAGE).content.decode(), browser(dave).get(PAGE).content.decode()
    for page in (mine, all_of_them):
        assert "Held" in page and "It holds no text" in page
    assert "/ingest/quarantine/" in all_of_them and "Decide" not in mine


def test_who_sends_sees_their_own_and_who_looks_after_the_doors_sees_all(dave: User) -> None:
    lakeside, harbour = make.organisation(), make.organisation("harbour")
    erin, carol = make.user("erin", lakeside, Role.ENGINEER), make.user("carol", lakeside, Role.COORDINATOR)
    away = make.user("mallory", harbour, Role.PACS_ADMIN)
    hand_in(browser(dave), TEXT.encode(), **WHOSE)
    shown = {person.username: browser(person).get(PAGE).content.decode() for person in (dave, carol, erin, away)}
    assert {name for name, page in shown.items() if "Being cleaned" in page} == {"dave", "carol"}
    assert "No report yet" in shown["erin"] and "No report yet" in shown["mallory"]
    reader = make.user("alice", lakeside, Role.READER)
    assert browser(reader).get(PAGE).status_code == browser(reader).post(PAGE, WHOSE).status_code == 404


def test_kinds_are_known_by_content() -> None:
    assert [kind_of(raw) for raw in (message(), pdf("x"), cda("x"), b' {"a": 1}', b"\xef\xbb\xbfText")] == [
        "hl7", "pdf", "cda", "json", "text",
    ]  # fmt: skip
    with pytest.raises(BadReport):
        kind_of(b"\x00\x01")


def test_the_logs_hold_nothing_of_a_report(dave: User, caplog: pytest.LogCaptureFixture) -> None:
    configure({"level": "DEBUG"})
    heard = io.StringIO()
    source = source_for(dave, make.organisation(), "report")
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        receipts = receive_reports(source, [Told("", document=Document("pdf", pdf(TEXT)), **WHOSE)], uuid.uuid4())
        cleaned(receipts[0].pk)
        with pytest.raises(BadReport):
            read_hl7(message(text=""))
    finally:
        logging.getLogger().removeHandler(handler)
    assert not [word for word in WORDS if word in heard.getvalue() + caplog.text]


@pytest.mark.parametrize(("of_scan", "of_report"), [("full", "keep_uids"), ("keep_uids", "full")])
@pytest.mark.parametrize("by", ["accession", "study_uid"])
def test_profiles_that_keep_uids_and_those_that_do_not_find_each_other(
    dave: User, of_scan: str, of_report: str, by: str
) -> None:
    source = Source.objects.create(organisation=make.organisation(), kind="upload", name="Door", privacy=of_scan)
    image = scan()
    first, _ = archived(came(image).pk)
    assert first.source == source
    client = browser(dave)
    hand_in(client, TEXT.encode(), **WHOSE)  # makes the way in
    Source.objects.filter(kind="report").update(privacy=of_report)
    value = ACCESSION if by == "accession" else str(image.StudyInstanceUID)
    told = hand_in(client, b"A second report of the same scan.", patient_id=ID, **{by: value})
    receipt, _ = archived(told[0]["receipt"])
    assert receipt.study_uid == first.study_uid


def test_already_deidentified_scans_are_found_by_reports_of_their_kind_alone_and_the_page_says_so(dave: User) -> None:
    Source.objects.create(organisation=make.organisation(), kind="upload", name="Door", privacy="deidentified")
    first, _ = archived(came(scan()).pk)
    client = browser(dave)
    assert cleaned(hand_in(client, TEXT.encode(), **WHOSE)[0]["receipt"]).reason == "no_scan"
    assert "no report that is handed in here finds them" in client.get(PAGE).content.decode()
    Source.objects.filter(kind="report").update(privacy="deidentified")
    receipt, _ = archived(hand_in(client, b"Clear lungs, as before.", **WHOSE)[0]["receipt"])
    assert receipt.study_uid == first.study_uid
    assert "find only scans that came so too" in client.get(PAGE).content.decode()
