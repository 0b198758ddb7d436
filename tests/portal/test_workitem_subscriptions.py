"""Subscriptions to work items over HTTP, and the event reports that each subscriber is owed (PS3.18 11.10 to 11.13)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from portal.programmes.actions import claim, offer_second
from portal.programmes.models import Assignment, Case, PanelMember
from portal.read.models import WorkitemReport, WorkitemSubscriber
from portal.read.workitems import subscribing
from portal.second_read.tasks import compare_reading
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, open_case, submit
from tests.factories.workitems import PRIORITY, Ups, case, first_of, people, said

__all__ = ["case", "cast", "people", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
WORKLIST, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"  # PS3.6 table A-1
PUSH = "1.2.840.10008.5.1.4.34.6.1"


def ask(ups: Ups, method: str, target: str, title: str = "VIEWER", **query: str) -> requests.Response:
    return ups.http.request(method, f"{ups.root}/{target}/subscribers/{title}", params=query)


def told(cast: Cast, name: str) -> list[Dataset]:
    """What the person's event channel would say now; then it has been said."""
    user = getattr(cast, name)
    found: list[Dataset] = []
    for who in WorkitemSubscriber.objects.filter(user=user):
        user.token, number = None, uuid.uuid4()
        WorkitemSubscriber.objects.filter(pk=who.pk).update(connection=number)
        while batch := subscribing.next_reports(user, who.pk, number):
            found += [Dataset.from_json(text) for _, text in batch]
            subscribing.sent(who.pk, [key for key, _ in batch])
    return found


def states(cast: Cast, name: str) -> list[tuple[str, str]]:
    """UID and state of each state report."""
    found = told(cast, name)
    assert {one.EventTypeID for one in found} <= {1}
    return [(str(one.AffectedSOPInstanceUID), one.ProcedureStepState) for one in found]


def test_one_work_item_from_subscription_to_completion(
    people: dict[str, Ups], cast: Cast, case: Case, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://concord.example/portal"
    carol, alice = people["carol"], people["alice"]
    uid = alice.search()[0].SOPInstanceUID
    answer = ask(carol, "POST", uid)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["Content-Location"] == "wss://concord.example/portal/dicomweb/subscribers/VIEWER"
    [first] = told(cast, "carol")
    assert (first.AffectedSOPClassUID, first.AffectedSOPInstanceUID, first.EventTypeID) == (PUSH, uid, 1)
    assert (first.ProcedureStepState, first.InputReadinessState) == ("SCHEDULED", "READY") and first.MessageID
    alice.change(uid, "IN PROGRESS", generate_uid())
    submit(cast.alice, first_of(case), answers(True))
    assert states(cast, "carol") == [(uid, "IN PROGRESS"), (uid, "COMPLETED")]
    assert ask(carol, "DELETE", uid).status_code == 200
    assert ask(carol, "DELETE", uid).status_code == 404
    assert ask(carol, "DELETE", WORKLIST).status_code == 404


def test_progress_and_requests_to_cancel_are_the_holders_and_the_coordinators(
    people: dict[str, Ups], cast: Cast, case: Case
) -> None:
    alice, bob, carol, mine = people["alice"], people["bob"], people["carol"], generate_uid()
    PanelMember.objects.filter(user=cast.carol).delete()  # who arbitrates is not told who reads
    uid = alice.search()[0].SOPInstanceUID
    for one in (alice, bob, carol):
        assert ask(one, "POST", uid).status_code == 201
    alice.change(uid, "IN PROGRESS", mine)
    for name in ("alice", "bob", "carol"):
        assert [s for _, s in states(cast, name)] in (["SCHEDULED", "IN PROGRESS"], ["IN PROGRESS", "IN PROGRESS"])
    progress = [{"00741002": {"vr": "SQ", "Value": [{
        "00741004": {"vr": "DS", "Value": [40]}, "00741006": {"vr": "ST", "Value": ["Left breast"]},
    }]}}]  # fmt: skip
    assert alice.send("POST", f"/{uid}?{mine}", progress).status_code == 200
    why = [{
        "00741238": {"vr": "LT", "Value": ["The patient is waiting"]},
        "0074100A": {"vr": "UR", "Value": ["tel:+41440000000"]}, "0074100C": {"vr": "LO", "Value": ["Desk 3"]},
    }]  # fmt: skip
    assert carol.send("POST", f"/{uid}/cancelrequest", why).status_code == 202
    for name in ("alice", "carol"):
        step, asked = told(cast, name)
        assert (step.EventTypeID, asked.EventTypeID) == (3, 2)
        [now] = step.ProcedureStepProgressInformationSequence
        assert (now.ProcedureStepProgress, now.ProcedureStepProgressDescription) == (40, "Left breast")
        assert (asked.ReasonForCancellation, asked.ContactDisplayName) == ("The patient is waiting", "Desk 3")
        assert asked.RequestingAE and asked.ContactURI == "tel:+41440000000"
    assert told(cast, "bob") == []


def test_canceled_says_why_to_whom_it_concerns(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    alice, bob, mine = people["alice"], people["bob"], generate_uid()
    uid = alice.search()[0].SOPInstanceUID
    for one in (alice, bob):
        ask(one, "POST", WORKLIST)
    alice.change(uid, "IN PROGRESS", mine)
    alice.change(uid, "CANCELED", mine, **{"00741238": {"vr": "LT", "Value": ["Called away"]}})
    [fresh] = bob.search()
    heard = {name: told(cast, name) for name in ("alice", "bob")}
    for found in heard.values():
        assert [(one.AffectedSOPInstanceUID, one.ProcedureStepState) for one in found][1:] == [
            (uid, "IN PROGRESS"), (uid, "CANCELED"), (fresh.SOPInstanceUID, "SCHEDULED"),
        ]  # fmt: skip
    assert heard["alice"][2].ReasonForCancellation == "Called away"
    assert "ReasonForCancellation" not in heard["bob"][2]


def test_the_whole_worklist_and_what_is_suspended(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    carol = people["carol"]
    [item] = carol.search()
    assert ask(carol, "POST", WORKLIST).status_code == 201
    assert states(cast, "carol") == [(item.SOPInstanceUID, "SCHEDULED")]
    open_case(cast)
    [new] = [one for one in carol.search() if one != item]
    assert states(cast, "carol") == [(new.SOPInstanceUID, "SCHEDULED")]
    # unsubscribed from one of them, then from none again
    assert ask(carol, "DELETE", item.SOPInstanceUID).status_code == 200
    people["alice"].change(item.SOPInstanceUID, "IN PROGRESS", generate_uid())
    assert states(cast, "carol") == []
    assert ask(carol, "POST", item.SOPInstanceUID).status_code == 201
    assert states(cast, "carol") == [(item.SOPInstanceUID, "IN PROGRESS")]
    # suspended: what is there goes on, what comes is not told
    assert ask(carol, "POST", f"{FILTERED}", "VIEWER/suspend").status_code == 404
    assert ask(carol, "POST", WORKLIST, "VIEWER/suspend").status_code == 200
    assert ask(carol, "POST", WORKLIST, "VIEWER/suspend").status_code == 404
    open_case(cast)
    people["bob"].change(new.SOPInstanceUID, "IN PROGRESS", generate_uid())
    assert states(cast, "carol") == [(new.SOPInstanceUID, "IN PROGRESS")]
    # unsubscribed from the worklist: the single ones end with it
    assert ask(carol, "POST", WORKLIST).status_code == 201
    assert ask(carol, "DELETE", WORKLIST).status_code == 200
    submit(cast.bob, Assignment.objects.get(reader=cast.bob), answers(True))
    assert states(cast, "carol") == []


def test_a_filtered_worklist(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    alice, carol = people["alice"], people["carol"]
    [old] = carol.search()
    study = str(open_case(cast).study.study_uid)
    [uid] = [i.SOPInstanceUID for i in carol.search(StudyInstanceUID=study)]
    assert ask(carol, "POST", FILTERED).status_code == 400
    assert ask(carol, "POST", WORKLIST, StudyInstanceUID=study).status_code == 400
    assert ask(carol, "POST", FILTERED, filter="Rows=12").status_code == 400
    key = f"StudyInstanceUID={study},ProcedureStepState=SCHEDULED"
    assert ask(carol, "POST", FILTERED, filter=key).status_code == 201
    assert states(cast, "carol") == [(uid, "SCHEDULED")]
    for one in (old.SOPInstanceUID, uid):  # it stays subscribed to when it is SCHEDULED no longer
        assert people["bob"].change(one, "IN PROGRESS", generate_uid()).status_code == 200
    assert states(cast, "carol") == [(uid, "IN PROGRESS")]
    # the same attributes as parameters of their own (PS3.18 2019a 6.9.7.1); only what comes and matches is taken in
    for title, label in (("OTHER", "Chest*"), ("THIS", "Screening*")):
        query = {"WorklistLabel": label, "ProcedureStepState": "SCHEDULED"}
        assert ask(alice, "POST", FILTERED, title, **query).status_code == 201
    assert states(cast, "alice") == []
    open_case(cast)
    [(fresh, state)] = states(cast, "alice")
    assert state == "SCHEDULED" and fresh not in {uid, old.SOPInstanceUID}
    people["bob"].change(fresh, "IN PROGRESS", generate_uid())
    assert states(cast, "alice") == [(fresh, "IN PROGRESS")]
    assert ask(alice, "POST", FILTERED, "THIS/suspend").status_code == 200
    open_case(cast)
    assert states(cast, "alice") == []


def test_nobody_hears_of_what_they_may_not_see(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    uid = people["alice"].search()[0].SOPInstanceUID
    for name in ("erin", "mallory"):  # no reader; another organisation
        assert ask(people[name], "POST", uid).status_code == 404
        assert ask(people[name], "DELETE", uid).status_code == 404
        assert ask(people[name], "POST", WORKLIST).status_code == 201
    people["alice"].change(uid, "IN PROGRESS", generate_uid())
    open_case(cast)
    assert not WorkitemReport.objects.filter(subscriber__user=cast.mallory).exists()  # not even owed
    assert [told(cast, name) for name in ("erin", "mallory")] == [[], []]
    assert not WorkitemReport.objects.filter(subscriber__user=cast.erin).exists()
    # an AE title is its user's alone
    assert WorkitemSubscriber.objects.filter(ae_title="VIEWER").count() == 2


def test_a_second_reading_is_told_as_a_search_tells_it(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    """Whom a case was read by hears of nothing but their own work item; nobody hears how a reading of another ended."""
    for name in ("alice", "bob"):
        ask(people[name], "POST", WORKLIST)
    uid = people["alice"].search()[0].SOPInstanceUID
    reading = submit(cast.alice, claim(cast.alice, first_of(case)), answers(False))
    compare_reading(str(reading.pk))
    offer_second(case.pk)
    assert case.assignments.filter(kind="second").exists()
    assert [s for u, s in states(cast, "alice") if u == uid][1:] == ["IN PROGRESS", "COMPLETED"]
    assert not WorkitemReport.objects.filter(subscriber__user=cast.alice, sent_at=None).exists()
    heard = states(cast, "bob")
    [second] = people["bob"].search()
    assert heard == [(second.SOPInstanceUID, "SCHEDULED")]
    people["bob"].change(second.SOPInstanceUID, "IN PROGRESS", generate_uid())
    assert states(cast, "alice") == []


def test_assigned_is_told_to_whom_it_concerns(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    for name in ("alice", "bob"):
        ask(people[name], "POST", WORKLIST)
        told(cast, name)
    Assignment.objects.filter(pk=first_of(case).pk).update(reader=cast.alice)
    [found] = told(cast, "alice")
    assert found.EventTypeID == 5
    assert found.ScheduledHumanPerformersSequence[0].HumanPerformerName == "Alice Adler"
    assert told(cast, "bob") == []


def test_a_deletion_lock_keeps_what_is_over(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    alice, bob, mine = people["alice"], people["bob"], generate_uid()
    uid = alice.search()[0].SOPInstanceUID
    assert ask(bob, "POST", uid, deletionlock="perhaps").status_code == 400
    assert ask(bob, "POST", uid, deletionlock="true").status_code == 201
    alice.change(uid, "IN PROGRESS", mine)
    alice.change(uid, "CANCELED", mine)
    over = bob.one(uid)
    assert over.ProcedureStepState == "CANCELED" and "Adler" not in over.to_json()
    assert people["carol"].http.get(f"{bob.root}/{uid}").status_code == 410
    assert ask(bob, "DELETE", uid).status_code == 200
    assert bob.http.get(f"{bob.root}/{uid}").status_code == 410


def test_what_was_sent_to_a_connection_that_broke_is_sent_again(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    ask(people["carol"], "POST", WORKLIST)
    cast.carol.token = None
    carol = cast.carol
    carol.token = None
    who = WorkitemSubscriber.objects.get(user=carol)
    WorkitemSubscriber.objects.filter(pk=who.pk).update(organisation=None)
    first, second, third = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    assert subscribing.connect(carol, "VIEWER", first) == who.pk
    said_first = subscribing.next_reports(carol, who.pk, first)
    assert said_first
    subscribing.sent(who.pk, [key for key, _ in said_first])
    assert subscribing.next_reports(carol, who.pk, first) == []
    subscribing.connect(carol, "VIEWER", second)  # the first broke without a word
    assert subscribing.next_reports(carol, who.pk, first) is None
    assert subscribing.next_reports(carol, who.pk, second) == said_first  # the same Message ID
    subscribing.sent(who.pk, [key for key, _ in said_first])
    subscribing.disconnect(who.pk, second)
    subscribing.connect(carol, "VIEWER", third)
    assert subscribing.next_reports(carol, who.pk, third) == []


def test_what_nobody_comes_for_is_dropped(people: dict[str, Ups], cast: Cast, case: Case, monkeypatch: Any) -> None:
    ask(people["carol"], "POST", WORKLIST)
    WorkitemReport.objects.update(at=timezone.now() - timedelta(hours=25))
    assert subscribing.forget_reports() == 1
    monkeypatch.setattr(subscribing, "MOST_KEPT", 2)
    uid = people["alice"].search()[0].SOPInstanceUID
    for _ in range(4):
        ask(people["carol"], "POST", uid)
    assert subscribing.forget_reports() == 2 and WorkitemReport.objects.count() == 2


def test_limits_and_refusals(people: dict[str, Ups], cast: Cast, case: Case, monkeypatch: Any) -> None:
    alice = people["alice"]
    assert ask(alice, "POST", WORKLIST, "A" * 17).status_code == 400
    assert ask(alice, "POST", WORKLIST, "A%5CB").status_code == 400
    monkeypatch.setattr(subscribing, "MOST_SUBSCRIBERS", 1)
    assert ask(alice, "POST", WORKLIST, "ONE").status_code == 201
    refused = ask(alice, "POST", WORKLIST, "TWO")
    assert refused.status_code == 409 and "AE titles" in said(refused)
    assert ask(alice, "DELETE", WORKLIST, "TWO").status_code == 404
    plain = alice.http.get(f"{alice.root[: -len('workitems')]}subscribers/ONE")
    assert plain.status_code == 426
    assert requests.post(f"{alice.root}/{WORKLIST}/subscribers/ONE", timeout=10).status_code == 401


def test_priority_alone_is_no_event(people: dict[str, Ups], cast: Cast, case: Case) -> None:
    ask(people["carol"], "POST", WORKLIST)
    uid = people["carol"].search()[0].SOPInstanceUID
    told(cast, "carol")
    urgent = [{PRIORITY: {"vr": "CS", "Value": ["HIGH"]}}]
    assert people["carol"].send("POST", f"/{uid}", urgent).status_code == 200
    assert told(cast, "carol") == []
