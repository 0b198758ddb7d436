"""Several readers of a case: whose word counts how much, what each is measured against, and what is booked once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from portal.billing.actions import record_credits, record_reading, record_run
from portal.billing.models import LedgerEntry
from portal.billing.queries import unreconciled
from portal.consensus.actions import merge_case, preview, set_truth
from portal.consensus.models import Consensus, Truth
from portal.infer.models import Run
from portal.programmes.actions import make_cases, new_protocol
from portal.programmes.models import Case, Programme
from portal.read.models import Reading
from portal.score import rules
from portal.score.actions import score_case
from portal.score.models import ReadingScore, RunScore
from portal.score.queries import case_story, field, reader_summary, reader_weights
from portal.second_read.actions import compare_reading
from portal.second_read.rules import Place
from tests.factories.archive import plain_static
from tests.factories.reading import Cast, answers, cast, finished_run, mammography, submit

__all__ = ["cast", "plain_static"]
pytestmark = pytest.mark.django_db(transaction=True)
BY_ALICE = {"recall": False, "malignancy": 20, "birads": "1", "density": "B"}
BY_BOB = {"recall": True, "malignancy": 80, "birads": "4", "density": "B"}


def read_by_two(cast: Cast, alice: dict[str, Any], bob: dict[str, Any], **more: Any) -> Case:
    """A case without a model, read by both under the newest protocol, and merged."""
    study = mammography(cast)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    for slot, (who, said) in enumerate([(cast.alice, alice), (cast.bob, bob)], 1):
        marks = more.get(who.username, [])
        reading = submit(who, case.assignments.get(kind="first", slot=slot), said, marks=marks)
        compare_reading(reading.pk)
    merge_case(case.pk)
    case.refresh_from_db()
    return case


def protocol(rule: str = "majority", **values: Any) -> None:
    programme = Programme.objects.get(slug="screening-mammography")
    new_protocol(programme, by=None, readers_per_case=2, consensus_rule={"id": rule}, **values)


def scored(case: Case) -> dict[str, ReadingScore]:
    return {s.reader.username: s for s in ReadingScore.objects.filter(reading__case=case).select_related("reader")}


# --- the rule that is named is the rule that is applied -------------------------------------------------
def test_a_weighted_protocol_lets_the_better_reader_decide(cast: Cast) -> None:
    protocol(discrepancy_threshold=1.0)
    known = read_by_two(cast, answers(False, 10), answers(True, 90))
    set_truth(cast.carol, known, True, "pathology")
    score_case(known.pk)
    # by hand: alice 0.25·(1 − 0.9²)/0.85, bob (0.6 + 0.25·(1 − 0.1²))/0.85; drawn to their mean with strength 5
    alice, bob = 0.25 * 0.19 / 0.85, (0.6 + 0.25 * 0.99) / 0.85
    mean = (alice + bob) / 2
    expected = {cast.alice.pk: (alice + 5 * mean) / 6, cast.bob.pk: (bob + 5 * mean) / 6}
    assert reader_weights(cast.lakeside.pk, expected) == pytest.approx(expected)

    protocol("weighted", discrepancy_threshold=1.0)
    case = read_by_two(cast, BY_ALICE, BY_BOB)
    consensus = Consensus.objects.get(case=case)
    weights = [expected[cast.alice.pk], expected[cast.bob.pk]]
    assert (consensus.rule_id, consensus.rule_version) == ("weighted", "2")
    assert consensus.answers["recall"] is True and consensus.answers["birads"] == "4"
    rating = (20 * weights[0] + 80 * weights[1]) / sum(weights)
    assert consensus.answers["malignancy"] == pytest.approx(rating, abs=1e-4)
    assert list(consensus.parameters["weights"].values()) == pytest.approx(weights, abs=1e-6)
    # the same readings by majority: a tie, the median; nothing is stored
    other = preview(case, "majority")
    assert "recall" not in other.answers and other.answers["malignancy"] == 50
    assert preview(case, "weighted").answers == consensus.answers
    assert Consensus.objects.filter(case=case).count() == 1
    with pytest.raises(ValueError, match="rules are"):
        preview(case, "loudest")


def test_a_weighted_protocol_without_scores_weighs_all_the_same(cast: Cast) -> None:
    protocol("weighted", discrepancy_threshold=1.0)
    case = read_by_two(cast, BY_ALICE, BY_BOB)
    consensus = Consensus.objects.get(case=case)
    assert set(consensus.parameters["weights"].values()) == {1.0}
    assert "recall" not in consensus.answers and consensus.answers["malignancy"] == 50


def test_a_rule_that_is_not_known_is_not_recorded_as_applied(cast: Cast) -> None:
    protocol("loudest")
    case = read_by_two(cast, BY_BOB, BY_BOB)
    assert Consensus.objects.get(case=case).rule_id == "majority"
    assert case.state == "settled"


# --- scores ---------------------------------------------------------------------------------------------
def test_a_consensus_measures_each_reader_by_the_others(cast: Cast) -> None:
    protocol(discrepancy_threshold=1.0)
    uid: list[str] = []
    study = mammography(cast)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    uid = list(study.instances.values_list("sop_uid", flat=True))
    box = {"id": "m", "tool": "rectangle", "sop_uid": uid[0], "frame": 1, "points_px": [[2, 2], [20, 20]]}
    for slot, (who, rating) in enumerate([(cast.alice, 60), (cast.bob, 90)], 1):
        reading = submit(who, case.assignments.get(slot=slot), answers(True, rating), marks=[box])
        compare_reading(reading.pk)
    merge_case(case.pk)
    score_case(case.pk)
    rows = scored(case)
    assert {r.basis for r in rows.values()} == {"others"}
    # by hand, both right, both marks meet: 0.6 + 0.25·(1 − (1 − rating)²) + 0.15
    assert rows["alice"].accuracy == pytest.approx(0.6 + 0.25 * (1 - 0.4**2) + 0.15)
    assert rows["bob"].accuracy == pytest.approx(0.6 + 0.25 * (1 - 0.1**2) + 0.15)


def test_leaving_oneself_out_turns_the_outvoted_reader_s_measure(cast: Cast) -> None:
    protocol(discrepancy_threshold=1.0)
    case = read_by_two(cast, answers(False, 5), answers(True, 90))
    Truth.objects.filter(case=case).update(positive=True)
    score_case(case.pk)
    rows = scored(case)
    # against the other alone: alice says no where Bob says yes, and the other way round
    assert rows["alice"].parts["call"] == rows["bob"].parts["call"] == 0
    set_truth(cast.carol, case, True, "pathology")
    score_case(case.pk)
    rows = scored(case)
    assert (rows["alice"].parts["call"], rows["bob"].parts["call"]) == (0, 1)
    assert {r.basis for r in rows.values()} == {"pathology"}


def test_a_lone_reading_does_not_measure_its_reader(cast: Cast) -> None:
    study = mammography(cast)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    compare_reading(submit(cast.alice, case.assignments.get(), answers(True, 100)).pk)
    merge_case(case.pk)
    assert Consensus.objects.get(case=case).rule_id == "single"
    score_case(case.pk)
    assert scored(case)["alice"].basis == "own"
    summary = reader_summary(cast.alice, cast.lakeside)
    assert summary["cases"] == 1 and summary["trend"] == []
    (line,) = summary["categories"]
    assert (line["measured"], line["accuracy"], line["shrunk"]) == (0, None, None)
    assert reader_weights(cast.lakeside.pk, [cast.alice.pk]) == {}
    assert field(cast.lakeside, cast.alice) == [
        {"you": True, "n": 1, "accuracy": None, "efficiency": line["efficiency"]}
    ]
    assert case_story(case)["scores"][0]["basis"] == "own"
    client = Client()
    client.force_login(cast.alice)
    assert client.get("/scores/").status_code == 200 and client.get("/").status_code == 200


def test_the_models_brier_score_worked_by_hand(cast: Cast) -> None:
    study = mammography(cast)
    run = finished_run(study, 0.6, threshold=0.2)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    compare_reading(submit(cast.alice, case.assignments.get(), answers(True, 75)).pk)
    merge_case(case.pk)
    score_case(case.pk)
    row = RunScore.objects.get(run=run)
    # the threshold 0.2 stands for a half: 0.5 + 0.5 · (0.6 − 0.2) / 0.8 = 0.75; (0.75 − 1)² = 0.0625
    assert row.correct and row.brier == pytest.approx(0.0625)


def test_places_by_f1_worked_by_hand() -> None:
    a, b, far = (Place("1", (x, 0.0, x + 10, 10.0)) for x in (0.0, 100.0, 500.0))
    assert rules.places_score([a], [a, b]) == pytest.approx(2 * 1 / 3)  # one found, one missed
    assert rules.places_score([a, far], [a, b]) == pytest.approx(2 * 1 / 4)  # and one extra
    assert rules.places_score([], [a]) == 0 and rules.places_score([], []) is None
    whole = rules.score({"recall": True, "malignancy": 100}, True, [a], [a, b], 30, 90)
    assert whole.accuracy == pytest.approx(0.6 + 0.25 + 0.15 * 2 / 3)
    assert whole.efficiency == pytest.approx(90 / 120)


def test_brier_and_shrinkage_of_published_kind() -> None:
    # Brier (1950): rain forecast at 0.7 that comes true (0.3)² = 0.09, that does not 0.7² = 0.49
    assert rules.brier(0.7, True) == pytest.approx(0.09) and rules.brier(0.7, False) == pytest.approx(0.49)
    assert rules.shrunk([], 0.8) == pytest.approx(0.8)
    assert rules.shrunk([1, 1, 0, 1, 1], 0.6) == pytest.approx((4 + 5 * 0.6) / 10)  # as many as the strength: halfway
    assert rules.shrunk([0.9] * 5000, 0.1) == pytest.approx(0.9, abs=1e-3)
    with pytest.raises(ValueError, match="positive"):
        rules.efficiency(10, 0)


# --- the ledger -----------------------------------------------------------------------------------------
def test_an_entry_says_whether_it_was_added(cast: Cast) -> None:
    study = mammography(cast)
    run = finished_run(study, 0.9)
    make_cases(study.pk)
    case = Case.objects.get(study=study)
    reading = submit(cast.alice, case.assignments.get(), answers(True, 92))
    assert [record_run(run.pk), record_run(run.pk)] == [True, False]
    assert [record_reading(reading.pk), record_reading(reading.pk)] == [True, False]
    compare_reading(reading.pk)
    merge_case(case.pk)
    score_case(case.pk)
    assert [record_credits(case.pk), record_credits(case.pk)] == [1, 0]
    assert LedgerEntry.objects.count() == 3
    Run.objects.filter(pk=run.pk).update(state="failed")
    other = finished_run(mammography(cast), 0.1)
    Run.objects.filter(pk=other.pk).update(state="failed")
    assert record_run(other.pk) is False and LedgerEntry.objects.count() == 3


def test_of_many_who_add_at_once_one_adds(cast: Cast) -> None:
    study = mammography(cast)
    make_cases(study.pk)
    reading = submit(cast.alice, Case.objects.get(study=study).assignments.get(), answers(True))
    barrier, said, faults = threading.Barrier(8), [], []

    def add() -> None:
        try:
            barrier.wait()
            said.append(record_reading(reading.pk))
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and sorted(said) == [False] * 7 + [True]
    assert LedgerEntry.objects.filter(kind="reading").count() == 1
    assert unreconciled(cast.lakeside) == {"not_booked": set(), "booked_only": set()}
    assert Reading.objects.filter(pk=reading.pk).exists()
