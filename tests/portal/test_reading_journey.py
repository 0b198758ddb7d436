"""From an opened case to the ledger, with every task run twice: twice has the effect of once."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import ProgrammingError, connection, connections, transaction
from django.test import Client

from portal.accounts.actions import create_token
from portal.accounts.models import User
from portal.billing import tasks as billing
from portal.billing.models import LedgerEntry
from portal.billing.queries import unreconciled
from portal.consensus import tasks as consensus
from portal.consensus.actions import set_truth
from portal.consensus.models import Consensus, Truth
from portal.core.errors import Refused
from portal.programmes import tasks as programmes
from portal.programmes.actions import claim, claim_next, make_cases, new_protocol, set_panel
from portal.programmes.models import Assignment, Case, Programme
from portal.read.models import Reading
from portal.reports import tasks as reports
from portal.reports.models import Report
from portal.score import tasks as score
from portal.score.models import ReadingScore
from portal.score.queries import case_story
from portal.second_read import tasks as second_read
from portal.second_read.models import Comparison
from tests.factories.reading import (
    Cast,
    answers,
    cast,
    finished_run,
    function_in_service,
    mammography,
    open_case,
    owed,
    submit,
)  # fmt: skip

__all__ = ["cast"]
pytestmark = pytest.mark.django_db(transaction=True)


def twice(task: Any, key: object) -> None:
    task(str(key))
    task(str(key))


def first_of(case: Case) -> Assignment:
    return case.assignments.get(kind="first")


def api(user: User, method: str, path: str, body: Any = None) -> Any:
    """A request with a token of the user."""
    _, text = create_token(user, user.memberships.get().organisation, "test")
    client = Client(headers={"Authorization": f"Bearer {text}"})
    return client.generic(method, path, "" if body is None else __import__("json").dumps(body), "application/json")


def after_submit(reading: Reading) -> None:
    twice(second_read.compare_reading, reading.pk)
    twice(billing.record_reading, reading.pk)


def test_agreement_needs_no_second_reader(cast: Cast) -> None:
    case = open_case(cast, score=0.9)
    reading = submit(cast.alice, first_of(case), answers(True, 92))
    after_submit(reading)
    comparison = Comparison.objects.get(reading=reading)
    assert comparison.action == "none" and comparison.similarity > 0.7
    assert owed("second_read.requested") == [] and owed("second_read.settled") == [str(case.pk)]
    twice(consensus.merge_case, case.pk)
    case.refresh_from_db()
    assert case.state == "settled"
    truth = Truth.objects.get(case=case)
    assert (truth.origin, truth.positive, truth.confidence) == ("consensus", True, 0.5)
    twice(reports.write_report, case.pk)
    text = Report.objects.get(case=case).text
    assert "Recall: yes" in text and "Research use only" in text


def test_disagreement_second_reader_arbiter_truth_scores_credits(cast: Cast) -> None:
    case = open_case(cast, score=0.9)
    after_submit(submit(cast.alice, first_of(case), answers(False, 4)))
    case.refresh_from_db()
    assert case.state == "second"
    comparison = Comparison.objects.get(case=case)
    assert comparison.action == "second_reading" and comparison.similarity < comparison.threshold
    assert "no recall" in comparison.sentence and "left side" in comparison.sentence
    twice(programmes.offer_second, case.pk)
    second = case.assignments.get(kind="second")
    with pytest.raises(Refused):
        claim(cast.alice, second)  # not the first reader again
    after_submit(submit(cast.bob, second, answers(True, 88)))
    twice(consensus.merge_case, case.pk)
    case.refresh_from_db()
    assert case.state == "arbitration"
    assert Consensus.objects.get(case=case).discrepancy == 1
    third = case.assignments.get(kind="arbitration")
    with pytest.raises(Refused):
        claim(cast.bob, third)
    after_submit(submit(cast.carol, third, answers(True, 80)))
    twice(consensus.merge_case, case.pk)
    twice(score.score_case, case.pk)
    twice(billing.record_credits, case.pk)
    case.refresh_from_db()
    assert case.state == "settled"
    assert {c.outcome for c in Consensus.objects.filter(case=case)} == {"discrepant", "arbitrated"}
    truth = Truth.objects.get(case=case)
    assert (truth.origin, truth.positive, truth.set_by) == ("arbitration", True, cast.carol)
    scores = {s.reader.username: s.accuracy for s in ReadingScore.objects.filter(reading__case=case)}
    assert set(scores) == {"alice", "bob"}  # the arbiter made the truth and is not scored by it
    # worked by hand: alice 0.6·0 + 0.25·(1 − 0.96²) over 0.85; bob 0.6·1 + 0.25·(1 − 0.12²) over 0.85
    assert scores["alice"] == pytest.approx(0.25 * (1 - 0.96**2) / 0.85)
    assert scores["bob"] == pytest.approx((0.6 + 0.25 * (1 - 0.12**2)) / 0.85)
    kinds = list(LedgerEntry.objects.values_list("kind", flat=True))
    assert kinds.count("reading") == 3 and kinds.count("credit") == 2
    assert Reading.objects.filter(case=case, state="submitted").count() == 3
    story = case_story(case)
    assert [r["reader"] for r in story["readings"]] == ["alice", "bob", "carol"]


def test_the_ledger_cannot_be_changed(cast: Cast) -> None:
    case = open_case(cast)
    after_submit(submit(cast.alice, first_of(case), answers(True)))
    entry = LedgerEntry.objects.get(kind="reading")
    for change in (lambda: entry.delete(), lambda: LedgerEntry.objects.filter(pk=entry.pk).update(quantity=9)):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
            change()
    assert unreconciled(cast.lakeside)["booked_only"] == set()


def test_a_case_waits_for_the_model_and_opens_without_one(cast: Cast) -> None:
    study = mammography(cast)
    make_cases(study.pk)
    assert Case.objects.get(study=study).state == "open"  # no function fits: people read alone
    function_in_service()
    other = mammography(cast)
    twice(programmes.make_cases, other.pk)
    case = Case.objects.get(study=other)
    assert case.state == "waiting" and not case.assignments.exists()
    run = finished_run(other, 0.2)
    twice(programmes.open_cases, run.pk)
    case.refresh_from_db()
    assert case.state == "open" and case.assignments.count() == 1


def test_without_model_output_the_case_goes_on(cast: Cast) -> None:
    study = mammography(cast)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    reading = submit(cast.alice, first_of(case), answers(False))
    after_submit(reading)
    assert Comparison.objects.get(reading=reading).action == "no_model"
    twice(consensus.merge_case, case.pk)
    case.refresh_from_db()
    assert case.state == "settled"


def test_claims_race_and_each_case_goes_to_one_reader(cast: Cast) -> None:
    cases = [open_case(cast) for _ in range(6)]
    programme = Programme.objects.get(slug="screening-mammography")
    readers = []
    for n in range(12):
        reader = User.objects.create(username=f"reader-{n}")
        cast.alice.memberships.get().__class__.objects.create(user=reader, organisation=cast.lakeside, roles=["reader"])
        reader.qualifications.create(organisation=cast.lakeside, category="MG")
        set_panel(programme, reader, "reader", by=cast.carol)
        readers.append(reader)
    barrier, got, faults = threading.Barrier(12), [], []

    def take(reader: User) -> None:
        try:
            barrier.wait()
            got.append(claim_next(reader))
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=take, args=(r,)) for r in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    taken = [a.case_id for a in got if a]
    assert sorted(taken) == sorted(c.pk for c in cases)  # every case once, nobody more than one
    assert Assignment.objects.filter(state="claimed").count() == 6


def test_a_blinded_reader_sees_no_output_by_any_way(cast: Cast) -> None:
    case = open_case(cast, score=0.93)
    assignment = first_of(case)
    uid = case.study.study_uid
    run = case.study.runs.get()
    bundle = api(cast.alice, "GET", f"/api/v1/assignments/{assignment.pk}/").json()
    assert bundle["model"] == {
        "visible": False,
        "reason": "Blinded reading: the model's output is not shown.",
        "runs": [],
    }
    assert len(bundle["images"]) == 4
    for path in (f"/api/v1/runs/{run.pk}/", f"/api/v1/runs/{run.pk}/matrix/{bundle['images'][0]['sop_uid']}/"):
        assert api(cast.alice, "GET", path).status_code == 404
    assert api(cast.alice, "GET", f"/api/v1/studies/{uid}/runs/").json() == []
    assert "0.93" not in api(cast.alice, "GET", f"/api/v1/studies/{uid}/bundle/").content.decode()
    assert api(cast.alice, "POST", f"/api/v1/assignments/{assignment.pk}/reveal/", {}).status_code == 409
    assert api(cast.erin, "GET", f"/api/v1/studies/{uid}/runs/").json()[0]["case"]["score"] == 0.93


def test_drafts_conflicts_and_submission(cast: Cast) -> None:
    case = open_case(cast)
    path = f"/api/v1/assignments/{first_of(case).pk}"
    uid = case.study.instances.first().sop_uid
    mark = {"id": "m", "tool": "ellipse", "sop_uid": uid, "frame": 1, "points_px": [[1, 2], [9, 12]], "rating": 70}
    draft = {"revision": 0, "answers": {"recall": True}, "marks": [mark], "active_ms": 1000, "client": "one"}
    assert api(cast.alice, "PUT", f"{path}/draft/", draft).json()["revision"] == 1
    stale = api(cast.alice, "PUT", f"{path}/draft/", {**draft, "client": "two"})
    assert stale.status_code == 409 and stale.json()["draft"]["answers"] == {"recall": True}
    outside = {**mark, "points_px": [[1, 2], [900, 12]]}
    assert api(cast.alice, "PUT", f"{path}/draft/", {**draft, "revision": 1, "marks": [outside]}).status_code == 422
    assert api(cast.bob, "GET", f"{path}/").status_code == 404
    nothing = {"answers": {}, "marks": [], "key": str(uuid.uuid4()), "revision": 1}
    incomplete = api(cast.alice, "POST", f"{path}/submit/", nothing)
    assert incomplete.status_code == 422 and set(incomplete.json()["fields"]) == {
        "recall",
        "malignancy",
        "birads",
        "density",
    }
    body = {"answers": answers(True), "marks": [mark], "active_ms": 5000, "key": str(uuid.uuid4()), "revision": 1}
    assert api(cast.alice, "POST", f"{path}/submit/", body).status_code == 200
    assert api(cast.alice, "POST", f"{path}/submit/", body).status_code == 200  # the same key: the same answer
    assert api(cast.alice, "POST", f"{path}/submit/", {**body, "key": str(uuid.uuid4())}).status_code == 410
    assert api(cast.alice, "PUT", f"{path}/draft/", draft).status_code == 410
    reading = Reading.objects.get(case=case)
    assert reading.marks.count() == 1 and reading.active_ms == 5000


def test_truth_set_by_pathology_scores_anew(cast: Cast) -> None:
    case = open_case(cast, score=0.2)
    after_submit(submit(cast.alice, first_of(case), answers(False, 10)))
    consensus.merge_case(str(case.pk))
    score.score_case(str(case.pk))
    before = ReadingScore.objects.get(reading__case=case).accuracy
    with pytest.raises(Refused):
        set_truth(cast.alice, case, True, "pathology")
    case.refresh_from_db()
    set_truth(cast.carol, case, True, "pathology")
    score.score_case(str(case.pk))
    assert ReadingScore.objects.get(reading__case=case).accuracy < before
    assert Truth.objects.get(case=case).origin == "pathology"


def test_readings_keep_their_protocol_version(cast: Cast) -> None:
    case = open_case(cast)
    programme = Programme.objects.get(slug="screening-mammography")
    newer = new_protocol(programme, by=cast.carol, similarity_threshold=0.9)
    assert newer.number == 2 and newer.form == case.protocol.form
    assert submit(cast.alice, first_of(case), answers(True)).protocol.number == 1
    assert open_case(cast).protocol.number == 2


def test_the_database_is_the_real_one() -> None:
    assert connection.vendor == "postgresql"
