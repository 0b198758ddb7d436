"""Reports of settled cases over HL7 v2 and FHIR R4, to real receivers that acknowledge, refuse and are away."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import hl7
import pytest
from django.test import Client
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from deploy.embedded.config import free_port
from portal.consensus.actions import set_truth
from portal.core.sealed import seal, unseal
from portal.export import tasks
from portal.export.models import Return
from portal.export.report import Told, fhir
from portal.export.report import hl7 as v2
from portal.export.returns.actions import resend_due
from portal.reports.actions import write_report
from portal.reports.models import Report
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, cast, owed
from tests.factories.receivers import fhir_server, hl7_receiver
from tests.factories.returns import arrived, destination, settled_case

__all__ = ["cast", "plain_static"]
db = pytest.mark.django_db(transaction=True)
FORM: list[dict[str, Any]] = [
    {"key": "recall", "label": "Recall", "type": "boolean"},
    {"key": "birads", "label": "BI-RADS", "type": "choice", "choices": [{"value": "4", "label": "4 | suspicious"}]},
    {"key": "malignancy", "label": "Suspicion", "type": "scale", "max": 100},
    {"key": "signs", "label": "Signs", "type": "multi",
     "choices": [{"value": "m", "label": "Mass"}, {"value": "c", "label": "Calcification"}]},
    {"key": "comment", "label": "Comment", "type": "text"},
]  # fmt: skip
TOLD = Told(
    id="screening-4-17", patient_id="P^1", patient_issuer="LAKE", patient_name="Müller&Co^Anna^^Dr.", patient_sex="F",
    patient_birth="19600102", study_uid="1.2.3", study_date="20240229", study_time="101500.25", accession="A|77",
    description="Screening", text="MAMMOGRAPHY\n\nRecall: yes ~ \\ end", form=FORM,
    answers={"recall": True, "birads": "4", "malignancy": 80, "signs": ["m", "c"], "comment": "a^b"},
    at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))), corrected=False, organisation="Lakeside",
)  # fmt: skip


# --- the message -----------------------------------------------------------------------------------
def test_the_message_fits_the_structure_of_the_standard_and_says_what_was_said() -> None:
    text = v2.build(TOLD, "RIS")
    message = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)
    assert message.validate()
    assert message.name == "ORU_R01" and message.msh.msh_12.value == "2.5.1"
    read = hl7.parse(text)
    assert read.unescape(str(read.segment("PID")[3][0][0])) == "P^1" and str(read.segment("PID")[3][0][3]) == "LAKE"
    name = read.segment("PID")[5][0]
    assert [read.unescape(str(part)) for part in name] == ["Müller&Co", "Anna", "", "Dr."]
    obr = read.segment("OBR")
    assert read.unescape(str(obr[2])) == "A|77" and str(obr[3]) == "screening-4-17"
    assert str(obr[7]) == "20240229101500" and str(obr[22]) == "20260102030405+0100" and str(obr[25]) == "F"
    lines = [read.unescape(str(obx[5])) for obx in read.segments("OBX") if str(obx[2]) == "TX"]
    assert "\n".join(lines) == TOLD.text
    rest = {(str(o[3][0][0]), str(o[4])): (str(o[2]), read.unescape(str(o[5]))) for o in read.segments("OBX")
            if str(o[2]) != "TX"}  # fmt: skip
    assert rest["110180", ""] == ("ST", "1.2.3")
    assert rest["recall", "1"][1].startswith("Y^") and rest["malignancy", "1"] == ("NM", "80")
    assert "4 | suspicious" in rest["birads", "1"][1]
    assert [rest["signs", n][1].split("^")[1] for n in ("1", "2")] == ["Mass", "Calcification"]
    assert ("comment", "1") not in rest
    assert [str(o[1]) for o in read.segments("OBX")] == [str(n) for n in range(1, len(read.segments("OBX")) + 1)]


def test_equal_messages_have_one_control_id_and_corrected_ones_another() -> None:
    changed = dataclasses.replace(TOLD, text=TOLD.text + " more", corrected=True)
    assert v2.control_id(TOLD) == v2.control_id(dataclasses.replace(TOLD)) != v2.control_id(changed)
    assert str(hl7.parse(v2.build(changed, "RIS")).segment("OBR")[25]) == "C" and len(v2.control_id(TOLD)) == 20


def test_the_resource_is_valid_r4_and_says_what_was_said() -> None:
    report = DiagnosticReport.model_validate(fhir.build(TOLD))
    assert (report.id, report.status, report.code.coding[0].code) == ("screening-4-17", "final", "18748-4")
    assert report.subject.identifier.value == "P^1" and report.subject.display == "Müller&Co Anna Dr."
    assert report.imagingStudy[0].identifier.value == "urn:oid:1.2.3"
    assert report.presentedForm[0].data.decode() == TOLD.text == report.conclusion
    said = [(o.code.coding[0].code, o.valueBoolean, o.valueQuantity and float(o.valueQuantity.value), o.valueString,
             o.valueCodeableConcept and o.valueCodeableConcept.coding[0].code) for o in report.contained]  # fmt: skip
    assert said == [
        ("recall", True, None, None, None), ("birads", None, None, None, "4"), ("malignancy", None, 80.0, None, None),
        ("signs", None, None, None, "m"), ("signs", None, None, None, "c"), ("comment", None, None, "a^b", None),
    ]  # fmt: skip
    assert [r.reference for r in report.result] == [f"#{o.id}" for o in report.contained]


# --- on their way ----------------------------------------------------------------------------------
def sent(case: Any) -> Return:
    tasks.queue_returns(str(case.pk))
    for key in owed("export.return_queued"):
        tasks.send_return(key)
    return Return.objects.get()


@db
def test_the_ris_gets_the_report_under_the_original_identity_and_acknowledges(cast: Cast, tmp_path: Path) -> None:
    originals, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    first = originals[0]
    with hl7_receiver() as ris:
        destination(cast, ris.port, kind="mllp", wants=["report"], ae_title="", name="RIS", restore_identity=True)
        row = sent(case)
        assert (row.state, row.answer, row.identified, row.attempts) == ("sent", "AA", True, 1)
        (message,) = ris.messages
        pid = message.segment("PID")
        assert str(pid[3][0][0]) == first.PatientID and str(pid[7]) == first.PatientBirthDate
        assert str(pid[5]) == str(first.PatientName)
        assert str(message.segment("OBR")[2]) == first.AccessionNumber
        assert str(message.segment("OBR")[7])[:8] == first.StudyDate
        assert study.patient.pseudonym not in str(message) and first.StudyInstanceUID in str(message)
        text = Report.objects.get(case=case).text
        lines = [o for o in message.segments("OBX") if str(o[2]) == "TX"]
        assert "\n".join(message.unescape(str(o[5])) for o in lines) == text
        assert str(message.segment("MSH")[10]) == row.sop_uid
        # the truth changes: a corrected report; the same once more: nothing
        set_truth(cast.carol, case, False, "pathology")
        assert sent(case).state == "sent"
        assert [str(m.segment("OBR")[25]) for m in ris.messages] == ["F", "C"]
        sent(case)
        assert len(ris.messages) == 2
    rows = str(list(Return.objects.values()))
    assert str(first.PatientID) not in rows and str(first.PatientName) not in rows


@db
def test_a_receiver_that_refuses_or_hangs_up_is_tried_again(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    with hl7_receiver() as ris:
        where = destination(cast, ris.port, kind="mllp", wants=["report"], ae_title="", name="RIS")
        ris.codes += ["AE", "hang up", "AR"]
        for attempt, words in enumerate(["RIS answered AE", "hung up", "RIS answered AR"], 1):
            row = sent(case)
            assert (row.state, row.attempts) == ("failed", attempt) and words in row.error and row.next_at
            Return.objects.update(next_at=datetime.now(UTC) - timedelta(seconds=1))
            resend_due()
        row = sent(case)
        assert (row.state, row.attempts, row.identified) == ("sent", 4, False)
        assert len({str(m.segment("MSH")[10]) for m in ris.messages}) == 1  # the receiver knows it again
        assert str(ris.messages[-1].segment("PID")[3][0][0]) == study.patient.pseudonym
    where.port = free_port()
    where.save()
    set_truth(cast.carol, case, False, "pathology")
    assert "does not answer" in sent(case).error


@db
def test_a_fhir_server_gets_the_report_and_its_correction(cast: Cast, tmp_path: Path) -> None:
    originals, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    with fhir_server() as server:
        where = destination(
            cast, 0, kind="fhir", wants=["report"], ae_title="", host="", url=server.url, name="FHIR",
            restore_identity=True, secret=seal("destination", "s3cret"),
        )  # fmt: skip
        assert "s3cret" not in where.secret and unseal("destination", where.secret) == "s3cret"
        server.statuses.append(503)
        row = sent(case)
        assert row.state == "failed" and row.error == "FHIR answered 503 (transient)"
        Return.objects.update(next_at=datetime.now(UTC) - timedelta(seconds=1))
        resend_due()
        assert sent(case).state == "sent"
        set_truth(cast.carol, case, False, "pathology")
        sent(case)
        ((first, second),) = server.reports.values()
        assert (first["status"], second["status"]) == ("final", "amended")
        assert first["subject"]["identifier"]["value"] == originals[0].PatientID
        assert server.tokens == ["Bearer s3cret"] * 3
        assert study.patient.pseudonym not in str(first)


# --- offered ---------------------------------------------------------------------------------------
@db
def test_reports_are_offered_as_fhir_to_those_who_manage_the_programme(cast: Cast, tmp_path: Path) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    tasks.queue_returns(str(case.pk))
    report = write_report(case.pk)
    assert report is not None
    carol = Client()
    carol.force_login(cast.carol)
    answer = carol.get(f"/fhir/DiagnosticReport/{report.pk}")
    assert answer.status_code == 200 and answer["Content-Type"] == "application/fhir+json"
    read = DiagnosticReport.model_validate_json(answer.content)
    assert read.subject.identifier.value == study.patient.pseudonym and read.conclusion == report.text
    bundle = carol.get("/fhir/DiagnosticReport", {"study": study.study_uid}).json()
    assert bundle["total"] == 1 and bundle["entry"][0]["resource"]["id"] == read.id
    assert carol.get("/fhir/DiagnosticReport", {"study": "1.2.3"}).json()["total"] == 0
    assert carol.get("/fhir/metadata").json()["resourceType"] == "CapabilityStatement"
    for name, status in (("alice", 404), ("dave", 404), ("mallory", 404)):
        other = Client()
        other.force_login(getattr(cast, name))
        assert other.get(f"/fhir/DiagnosticReport/{report.pk}").status_code == status, name
        found = other.get("/fhir/DiagnosticReport")
        assert found.status_code == 404 or found.json()["total"] == 0, name
    assert Client().get(f"/fhir/DiagnosticReport/{report.pk}").status_code == 401


@db
def test_destinations_are_tested_by_a_button(cast: Cast, tmp_path: Path) -> None:
    dave = Client()
    dave.force_login(cast.dave)
    with hl7_receiver() as ris, fhir_server() as server:
        there = [
            (destination(cast, ris.port, kind="mllp", name="RIS"), "RIS takes a connection"),
            (destination(cast, 0, kind="fhir", url=server.url, name="F"), "FHIR server, version 4.0.1"),
            (destination(cast, 0, kind="dicomweb", url=server.url, name="W"), "W answered 404"),
            (destination(cast, free_port(), name="P"), "P does not answer"),
        ]
        for row, words in there:
            page = dave.post(f"/destinations/{row.pk}/test/", follow=True).content.decode()
            assert words in page, words
        assert ris.messages == []
