"""The reading worklist as DICOM work items, over HTTP as a UPS-RS client speaks (PS3.18 chapter 11)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid
from pynetdicom.sop_class import UnifiedProcedureStepPush

from portal.core import live
from portal.programmes.actions import claim, expire_claims, offer_arbitration, offer_second
from portal.programmes.models import Assignment, Case, PanelMember
from portal.second_read.tasks import compare_reading
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, submit
from tests.factories.workitems import PRIORITY, STATE, Ups, case, first_of, people, said

__all__ = ["case", "cast", "people", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_work_item_is_what_the_standard_asks_for(people: dict[str, Ups], case: Case) -> None:
    [item] = people["alice"].search()
    assert item.SOPClassUID == UnifiedProcedureStepPush and UID(item.SOPInstanceUID).is_valid
    assert item.SOPInstanceUID.startswith("2.25.")  # PS3.5 B.2
    assert (item.ProcedureStepState, item.InputReadinessState) == ("SCHEDULED", "READY")
    [code] = item.ScheduledWorkitemCodeSequence
    wanted = codes.cid9231.Interpretation
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == (
        wanted.value, wanted.scheme_designator, wanted.meaning
    )  # fmt: skip
    assert item.WorklistLabel == "Screening mammography" and item.ProcedureStepLabel == "Reading"
    assert item.PatientID == case.study.patient.pseudonym and item.PatientSex == "F"
    named = {
        (one.StudyInstanceUID, one.SeriesInstanceUID, ref.ReferencedSOPInstanceUID)
        for one in item.InputInformationSequence
        for ref in one.ReferencedSOPSequence
    }
    stored = case.study.instances.values_list("study__study_uid", "series__series_uid", "sop_uid")
    assert named == set(stored) and len(named) == 4
    # attributes of type 1 and 2 of PS3.4 table CC.2.5-3, by keyword
    for keyword in (
        "ScheduledProcedureStepPriority", "ScheduledProcessingParametersSequence", "ScheduledStationNameCodeSequence",
        "ScheduledStationClassCodeSequence", "ScheduledStationGeographicLocationCodeSequence",
        "ScheduledProcedureStepStartDateTime", "PatientName", "PatientBirthDate", "AdmissionID",
        "IssuerOfAdmissionIDSequence", "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence",
        "ReferencedRequestSequence", "ProcedureStepProgressInformationSequence",
        "UnifiedProcedureStepPerformedProcedureSequence",
    ):  # fmt: skip
        assert keyword in item, keyword
    assert people["alice"].one(item.SOPInstanceUID) == item


def test_where_the_images_are_is_where_they_can_be_fetched(
    people: dict[str, Ups], case: Case, live_server: Any, settings: Any
) -> None:
    settings.PUBLIC_URL = live_server.url
    [item] = people["alice"].search()
    for one in item.InputInformationSequence:
        url = one.WADORSRetrievalSequence[0].RetrieveURL
        found = people["alice"].http.get(f"{url}/metadata").json()
        assert [m["00080018"]["Value"][0] for m in found] == [
            r.ReferencedSOPInstanceUID for r in one.ReferencedSOPSequence
        ]


def test_from_search_to_completion(people: dict[str, Ups], cast: Cast, case: Case, live_server: Any) -> None:
    alice, bob, mine = people["alice"], people["bob"], generate_uid()
    [found] = alice.search(ProcedureStepState="SCHEDULED", WorklistLabel="Screening*")
    uid = found.SOPInstanceUID
    answer = alice.change(uid, "IN PROGRESS", mine)
    assert (answer.status_code, answer.content, said(answer)) == (200, b"", "")
    # the portal's own worklist shows the claim, and the item its holder, without the Transaction UID
    row = first_of(case)
    assert (row.state, row.reader) == ("claimed", cast.alice)
    listed = alice.http.get(f"{live_server.url}/api/v1/worklist/", headers={"Accept": "application/json"}).json()
    assert [i["state"] for i in listed["items"]] == ["claimed"]
    now = alice.one(uid)
    assert now.ProcedureStepState == "IN PROGRESS" and "TransactionUID" not in now
    performed = now.UnifiedProcedureStepPerformedProcedureSequence[0]
    assert performed.ActualHumanPerformersSequence[0].HumanPerformerName == "Alice Adler"
    # too late for anybody else, who is not told who has it
    late = bob.change(uid, "IN PROGRESS", generate_uid())
    assert late.status_code == 409 and "inconsistent with the state of the UPS Instance" in said(late)
    other = bob.one(uid)
    assert other.ProcedureStepState == "IN PROGRESS"
    assert not other.UnifiedProcedureStepPerformedProcedureSequence and "Adler" not in str(other)
    assert bob.change(uid, "CANCELED", mine).status_code == 400  # the holder's transaction is not bob's
    # complete only when it is read
    early = alice.change(uid, "COMPLETED", mine)
    assert early.status_code == 409 and early.json()["error"]["code"] == "not_read"
    submit(cast.alice, first_of(case), answers(True))
    done = alice.one(uid)
    assert done.ProcedureStepState == "COMPLETED"
    assert done.UnifiedProcedureStepPerformedProcedureSequence[0].PerformedProcedureStepEndDateTime
    answer = alice.change(uid, "COMPLETED", mine)
    assert answer.status_code == 200 and "already in the requested state of COMPLETED" in said(answer)
    assert alice.change(uid, "CANCELED", mine).status_code == 409
    assert bob.http.get(f"{bob.root}/{uid}").status_code == 404


def test_what_is_given_back_ends_and_is_on_offer_as_another(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    alice, bob, mine = people["alice"], people["bob"], generate_uid()
    uid = alice.search()[0].SOPInstanceUID
    assert alice.change(uid, "IN PROGRESS", mine).status_code == 200
    reason = {
        "00741238": {"vr": "LT", "Value": ["Called away"]},
        "0074100E": {"vr": "SQ", "Value": [{
            "00080100": {"vr": "SH", "Value": ["110514"]}, "00080102": {"vr": "SH", "Value": ["DCM"]},
            "00080104": {"vr": "LO", "Value": ["Incorrect worklist entry selected"]},
        }]},
    }  # fmt: skip
    assert alice.change(uid, "CANCELED", mine, **reason).status_code == 200
    assert first_of(case).state == "offered"
    over = alice.one(uid)
    assert over.ProcedureStepState == "CANCELED"
    [told] = over.ProcedureStepProgressInformationSequence
    assert told.ReasonForCancellation == "Called away"
    assert told.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110514"
    again = alice.change(uid, "CANCELED", mine)
    assert again.status_code == 200 and "already in the requested state of CANCELED" in said(again)
    assert alice.change(uid, "COMPLETED", mine).status_code == 409
    assert alice.change(uid, "IN PROGRESS", mine).status_code == 409  # over is over
    gone = bob.http.get(f"{bob.root}/{uid}")
    assert gone.status_code == 410 and "another" in said(gone)
    [fresh] = bob.search()
    assert fresh.SOPInstanceUID != uid and fresh.ProcedureStepState == "SCHEDULED"
    assert [(i.SOPInstanceUID, i.ProcedureStepState) for i in alice.search()] == [
        (fresh.SOPInstanceUID, "SCHEDULED"), (uid, "CANCELED"),
    ]  # fmt: skip
    assert [i.SOPInstanceUID for i in alice.search(limit=1, offset=1)] == [uid]
    assert alice.search(offset=2) == []
    assert bob.change(fresh.SOPInstanceUID, "IN PROGRESS", generate_uid()).status_code == 200


def test_a_claim_that_runs_out_is_canceled(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    alice, mine = people["alice"], generate_uid()
    uid = alice.search()[0].SOPInstanceUID
    alice.change(uid, "IN PROGRESS", mine)
    Assignment.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expire_claims() == 1
    over = alice.one(uid)
    assert over.ProcedureStepState == "CANCELED"
    [told] = over.ProcedureStepProgressInformationSequence
    wanted = codes.cid9300.DiscontinuedProcedureStepRescheduled
    assert told.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == wanted.value
    # a new claim of the same reader is another work item, and the old transaction opens nothing
    [fresh] = alice.search(ProcedureStepState="SCHEDULED")
    alice.change(fresh.SOPInstanceUID, "IN PROGRESS", generate_uid())
    wrong = alice.change(fresh.SOPInstanceUID, "CANCELED", mine)
    assert wrong.status_code == 400 and "Transaction UID is incorrect" in said(wrong)


def test_a_claim_made_in_the_portal_has_no_transaction(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    claim(cast.alice, first_of(case))
    [item] = people["alice"].search()
    assert item.ProcedureStepState == "IN PROGRESS"
    answer = people["alice"].change(item.SOPInstanceUID, "CANCELED", generate_uid())
    assert answer.status_code == 400 and first_of(case).state == "claimed"


def test_create_is_refused(people: dict[str, Ups], case: Case) -> None:
    answer = people["carol"].send("POST", "", [{}])
    assert answer.status_code == 405 and "programmes" in said(answer) and answer.headers["Allow"] == "GET, POST"
    assert people["alice"].http.delete(people["alice"].root).status_code == 405


def test_a_second_reading_tells_nothing(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    """Neither its reader nor the first one learns from a work item that the first one and the model differ."""
    alice, bob = people["alice"], people["bob"]
    before = alice.search()[0]
    reading = submit(cast.alice, claim(cast.alice, first_of(case)), answers(False))
    compare_reading(str(reading.pk))
    offer_second(case.pk)
    assert case.assignments.filter(kind="second").exists()
    [item] = bob.search()
    different = {"SOPInstanceUID", "ScheduledProcedureStepModificationDateTime", "ScheduledProcedureStepStartDateTime"}
    assert {e.keyword for e in item if before[e.tag] != e} == {*different}
    assert "differ" not in item.to_json() and "econd" not in item.to_json()
    assert [i.ProcedureStepState for i in alice.search()] == ["COMPLETED"]
    bob.change(item.SOPInstanceUID, "IN PROGRESS", generate_uid())
    assert [i.ProcedureStepState for i in alice.search()] == ["COMPLETED"]
    assert alice.http.get(f"{alice.root}/{item.SOPInstanceUID}").status_code == 404


def test_who_sees_what(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    uid = people["alice"].search()[0].SOPInstanceUID
    for name in ("erin", "mallory"):
        assert people[name].search() == []
        assert people[name].http.get(f"{people[name].root}/{uid}").status_code == 404
        assert people[name].change(uid, "IN PROGRESS", generate_uid()).status_code == 404
    # carol coordinates: she sees it, is no reader, and arbitrates, so that she is not told who reads
    carol = people["carol"]
    assert [i.SOPInstanceUID for i in carol.search()] == [uid]
    assert carol.change(uid, "IN PROGRESS", generate_uid()).status_code == 409
    people["alice"].change(uid, "IN PROGRESS", generate_uid())
    assert "Adler" not in carol.one(uid).to_json()
    PanelMember.objects.filter(user=cast.carol).delete()
    assert "Adler" in carol.one(uid).to_json()
    # a coordinator who reads in the programme sees what its readers see
    PanelMember.objects.create(programme=case.programme, user=cast.carol, part="reader", available=False)
    assert carol.search() == []


def test_arbitrations_go_to_arbiters(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    offer_arbitration(case, "The two differ.")
    labels = {name: [i.ProcedureStepLabel for i in people[name].search()] for name in ("bob", "carol")}
    assert labels == {"bob": ["Reading"], "carol": ["Arbitration", "Reading"]}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[list[str], dict[str, Any]]]]:
    found: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(live, "_send", lambda groups, message: found.append((groups, message)))
    yield found


def test_cancellation_is_asked_of_the_holder(
    people: dict[str, Ups], cast: Cast, case: Case, events: list[tuple[list[str], dict[str, Any]]]
) -> None:
    alice, carol = people["alice"], people["carol"]
    uid = alice.search()[0].SOPInstanceUID
    why = [{"00741238": {"vr": "LT", "Value": ["The patient is waiting"]}}]
    assert carol.send("POST", f"/{uid}/cancelrequest", why).status_code == 409  # nobody holds it
    alice.change(uid, "IN PROGRESS", generate_uid())
    events.clear()
    assert alice.send("POST", f"/{uid}/cancelrequest", why).status_code == 409  # her own
    assert carol.send("POST", f"/{uid}/cancelrequest", why).status_code == 202
    [(groups, message)] = events
    assert groups == [f"user.{cast.alice.pk}"] and message["kind"] == "reading.cancel_asked"
    assert message["data"]["number"] == case.number and message["data"]["why"] == "The patient is waiting"
    assert carol.http.post(f"{carol.root}/{uid}/cancelrequest").status_code == 202
    assert first_of(case).state == "claimed"  # asked, not done


def test_updates(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    alice, carol, mine = people["alice"], people["carol"], generate_uid()
    uid = alice.search()[0].SOPInstanceUID
    urgent = [{PRIORITY: {"vr": "CS", "Value": ["HIGH"]}}]
    assert alice.send("POST", f"/{uid}", urgent).status_code == 403
    assert carol.send("POST", f"/{uid}", urgent).status_code == 200
    assert (alice.one(uid).ScheduledProcedureStepPriority, first_of(case).priority) == ("HIGH", 7)
    for data in ([{PRIORITY: {"vr": "CS", "Value": ["STAT"]}}], [{STATE: {"vr": "CS", "Value": ["COMPLETED"]}}], [{}]):
        assert carol.send("POST", f"/{uid}", data).status_code == 400
    progress: list[dict[str, Any]] = [{"00741002": {"vr": "SQ", "Value": [{
        "00741004": {"vr": "DS", "Value": [40]}, "00741006": {"vr": "ST", "Value": ["Left breast"]},
    }]}}]  # fmt: skip
    unclaimed = alice.send("POST", f"/{uid}?transaction-uid={mine}", progress)
    assert unclaimed.status_code == 409 and "did not reference a claimed Workitem" in said(unclaimed)
    alice.change(uid, "IN PROGRESS", mine)
    assert carol.send("POST", f"/{uid}", urgent).status_code == 409
    missing = alice.send("POST", f"/{uid}", progress)
    assert missing.status_code == 400 and "missing" in said(missing)
    assert alice.send("POST", f"/{uid}?1.2.3", progress).status_code == 400
    for address in (f"/{uid}?transaction-uid={mine}", f"/{uid}?{mine}"):
        assert alice.send("POST", address, progress).status_code == 200
    [told] = alice.one(uid).ProcedureStepProgressInformationSequence
    assert (told.ProcedureStepProgress, told.ProcedureStepProgressDescription) == (40, "Left breast")
    extra = [{**progress[0], "00100010": {"vr": "PN", "Value": [{"Alphabetic": "X"}]}}]
    assert "Requested optional Attributes are not supported" in said(alice.send("POST", f"/{uid}?{mine}", extra))
    for percent in (101, -1, "x", True, "nan"):
        progress[0]["00741002"]["Value"][0]["00741004"]["Value"] = [percent]
        assert alice.send("POST", f"/{uid}?{mine}", progress).status_code == 400, percent
    assert not people["bob"].one(uid).ProcedureStepProgressInformationSequence
