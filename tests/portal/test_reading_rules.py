"""Pure rules of reading: similarity, merging, agreement, scores, forms, marks, assignment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing.actions import credit_for
from portal.consensus import rules as consensus
from portal.export.sets import container
from portal.export.sets.tables import csv_pieces
from portal.functions import rules as functions
from portal.programmes import forms
from portal.programmes import rules as programmes
from portal.read import rules as read
from portal.score import rules as score
from portal.second_read import rules as similar
from portal.second_read.rules import Place, Said

PROBABILITY = st.floats(0, 1)


# --- similarity (seed 000, FIG. 5) ----------------------------------------------------------------
def said(call: bool | None = None, rating: float | None = None, **more: Any) -> Said:
    return Said(call, rating, more.get("sides"), tuple(more.get("places", ())), more.get("classes"))


def test_the_weighted_mean_of_the_parts_that_apply() -> None:
    # call 0 × 0.5, rating 1 − 0.8 = 0.2 × 0.2: 0.04 / 0.7
    value, parts = similar.compare(said(False, 0.1), said(True, 0.9))
    assert value == pytest.approx(0.04 / 0.7)
    assert [p.name for p in parts] == ["call", "rating"]
    assert similar.compare(said(), said())[0] is None


def test_boxes() -> None:
    # 10×10 boxes moved by 5: 50 of 150
    assert similar.iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert similar.iou((0, 0, 10, 10), (20, 0, 30, 10)) == 0


def test_a_missed_lesion_weighs_by_its_suspicion() -> None:
    hit, missed = Place("a", (0, 0, 10, 10), 0.8), Place("a", (500, 500, 510, 510), 0.4)
    part = similar.marks_part([Place("a", (0, 0, 10, 10), 0.6)], [hit, missed], 0.2)
    # matched (0.6 + 0.8) / 2 = 0.7 of 0.7 + 0.4
    assert part is not None and part.value == pytest.approx(0.7 / 1.1)
    assert similar.marks_part([], [], 0.2) is None


def test_weighted_jaccard() -> None:
    part = similar.classes_part({"Mass": 1.0}, {"Mass": 0.6, "Edema": 0.4}, 0.2)
    assert part is not None and part.value == pytest.approx(0.6 / 1.4)


@given(PROBABILITY, st.floats(0.01, 0.99))
def test_scaling_puts_the_threshold_at_a_half(value: float, threshold: float) -> None:
    assert 0 <= similar.scaled(value, threshold) <= 1
    assert similar.scaled(threshold, threshold) == pytest.approx(0.5)
    assert (similar.scaled(value, threshold) > 0.5 + 1e-9) <= (value > threshold)


@given(st.booleans(), st.booleans(), PROBABILITY, PROBABILITY)
def test_similarity_is_bounded_symmetric_and_one_for_equals(a: bool, b: bool, p: float, q: float) -> None:
    one, _ = similar.compare(said(a, p), said(b, q))
    other, _ = similar.compare(said(b, q), said(a, p))
    assert one is not None and 0 <= one <= 1 and one == pytest.approx(other)
    assert similar.compare(said(a, p), said(a, p))[0] == pytest.approx(1)
    assert (one > 0.7) <= (a == b)  # different calls never reach the demo's threshold


def test_why_in_one_sentence() -> None:
    words = similar.sentence(said(False, 0.05), said(True, 0.83, sides=frozenset("L")), 0.31, 0.7)
    assert words == (
        "The reader says no recall, the model says recall (83 of 100) on the left side; "
        "similarity 0.31 is below the threshold 0.70."
    )


# --- agreement ------------------------------------------------------------------------------------
# Fleiss (1971) worked example as given in Wikipedia, "Fleiss' kappa": 10 subjects, 14 raters, 5 categories
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_fleiss_kappa_of_the_published_table() -> None:
    assert consensus.fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_cohen_kappa_of_the_published_table() -> None:
    # Wikipedia, "Cohen's kappa": 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; κ = 0.4
    pairs = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert consensus.cohen_kappa(pairs) == pytest.approx(0.4)
    assert consensus.percent_agreement(pairs) == pytest.approx(0.7)
    assert consensus.cohen_kappa([]) is None


# --- merging --------------------------------------------------------------------------------------
FORM = forms.MAMMOGRAPHY


def reading(recall: bool, rating: float, birads: str, density: str = "B") -> dict[str, Any]:
    return {"recall": recall, "malignancy": rating, "birads": birads, "density": density}


def test_majority_and_median() -> None:
    merged = consensus.merge(FORM, [reading(True, 60, "4"), reading(True, 90, "4"), reading(False, 20, "2")])
    assert merged.answers == {"recall": True, "malignancy": 60, "birads": "4", "density": "B"}
    assert merged.discrepancy == 1  # the key question is not unanimous


def test_a_discrepancy_worked_by_hand() -> None:
    merged = consensus.merge(FORM, [reading(True, 60, "4"), reading(True, 80, "5")])
    # malignancy 20 / 100, birads 1 − 1/2, density 0: mean of three
    assert merged.discrepancy == pytest.approx((0.2 + 0.5 + 0) / 3)
    assert "birads" not in merged.answers  # a tie is left open
    assert merged.confidence == pytest.approx(1 - merged.discrepancy)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100), st.sampled_from("012345")), min_size=1, max_size=5))
def test_merging_is_bounded_and_order_does_not_matter(rows: list[tuple[bool, int, str]]) -> None:
    readings = [reading(*row) for row in rows]
    one, other = consensus.merge(FORM, readings), consensus.merge(FORM, readings[::-1])
    assert 0 <= one.discrepancy <= 1 and one.discrepancy == pytest.approx(other.discrepancy)
    assert one.answers == other.answers


# --- scores ---------------------------------------------------------------------------------------
def test_scores_worked_by_hand() -> None:
    scored = score.score({"recall": True, "malignancy": 80}, True, [], [], 90, 90)
    assert scored.accuracy == pytest.approx((0.6 + 0.25 * (1 - 0.2**2)) / 0.85)
    assert scored.efficiency == 0.5
    assert score.efficiency(0, 90) == 1
    assert score.efficiency(270, 90) == 0.25
    assert score.shrunk([1.0], 0.5) == pytest.approx((1 + 2.5) / 6)


@given(st.booleans(), st.integers(0, 100), st.booleans(), st.floats(0, 1e5))
def test_scores_are_bounded(call: bool, rating: int, truth: bool, seconds: float) -> None:
    scored = score.score({"recall": call, "malignancy": rating}, truth, [], [], seconds, 90)
    assert 0 <= scored.accuracy <= 1 and 0 < scored.efficiency <= 1


@pytest.mark.parametrize(
    ("credits", "accuracy", "priority", "earned"),
    [(10, 1.0, 0, 10), (10, 0.5, 10, 10), (10, 0.0, 0, 1), (10, 0.84, 5, 13)],
)
def test_credits(credits: int, accuracy: float, priority: int, earned: int) -> None:
    assert credit_for(credits, accuracy, priority) == earned


# --- forms and marks --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answers", "faults"),
    [
        (reading(True, 60, "4"), set()),
        ({}, {"recall", "malignancy", "birads", "density"}),
        ({**reading(True, 60, "4"), "recall": "yes"}, {"recall"}),
        ({**reading(True, 101, "4")}, {"malignancy"}),
        ({**reading(True, 60, "9")}, {"birads"}),
        ({**reading(True, 60, "4"), "tomorrow": 1}, {"tomorrow"}),
        ({**reading(True, 60, "4"), "comment": 7}, {"comment"}),
    ],
)
def test_forms(answers: dict[str, Any], faults: set[str]) -> None:
    assert set(read.check_answers(FORM, answers)) == faults


def test_questions_that_are_not_asked_need_no_answer_and_are_not_kept() -> None:
    answers = {"abnormal": False, "suspicion": 3, "findings": ["Mass"]}
    assert read.check_answers(forms.CHEST, answers) == {}
    assert read.kept_answers(forms.CHEST, answers) == {"abnormal": False, "suspicion": 3}


IMAGES = {"1.2": (100, 80, 1)}
GOOD = {"id": "m", "tool": "rectangle", "sop_uid": "1.2", "frame": 1, "points_px": [[0, 0], [79, 99]]}


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "laser"}, {"sop_uid": "9"}, {"frame": 2}, {"frame": True}, {"points_px": [[0, 0]]},
        {"points_px": [[0, 0], [500, 0]]}, {"points_px": [[0, 0], ["a", 0]]},
        {"points_px": [[0, 0], [float("nan"), 0]]},
        {"rating": 101}, {"points_mm": [[1, 2]]}, {"text": "x" * 501}, {"id": ""}, {"points_px": None},
    ],
)  # fmt: skip
def test_marks_that_are_refused(change: dict[str, Any]) -> None:
    assert read.check_marks([GOOD], IMAGES) == ""
    assert read.check_marks([{**GOOD, **change}], IMAGES)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_garbage_marks_never_raise(garbage: Any) -> None:
    assert isinstance(read.check_marks(garbage, IMAGES), str)
    assert isinstance(read.check_marks([{**GOOD, "points_px": garbage, "rating": garbage}], IMAGES), str)


# --- assignment -----------------------------------------------------------------------------------
def offer(key: str, kind: str = "first", **more: Any) -> programmes.Offer:
    values = {"case": 1, "programme": 1, "priority": 0, "age_seconds": 0.0, "reader": None, **more}
    return programmes.Offer(key=key, kind=kind, **values)


def reader(**more: Any) -> programmes.Reader:
    values = {
        "parts": frozenset({(1, "reader")}),
        "qualified": frozenset({1}),
        "cases": frozenset(),
        "full": frozenset(),
    }
    return programmes.Reader(key=7, **{**values, **more})


@pytest.mark.parametrize(
    ("who", "what", "may"),
    [
        (reader(), offer("a"), True),
        (reader(cases=frozenset({1})), offer("a"), False),
        (reader(qualified=frozenset()), offer("a"), False),
        (reader(full=frozenset({1})), offer("a"), False),
        (reader(parts=frozenset()), offer("a"), False),
        (reader(), offer("a", "arbitration"), False),
        (reader(parts=frozenset({(1, "arbiter")}), qualified=frozenset()), offer("a", "arbitration"), True),
        (reader(), offer("a", reader=8), False),
        (reader(), offer("a", reader=7), True),
    ],
)
def test_who_may_take_what(who: programmes.Reader, what: programmes.Offer, may: bool) -> None:
    assert programmes.eligible(who, what) is may


def test_what_comes_first() -> None:
    rows = [
        offer("old", age_seconds=90.0), offer("new"), offer("urgent", priority=5), offer("second", "second"),
        offer("arbiter", "arbitration"),
    ]  # fmt: skip
    assert [o.key for o in programmes.in_order(rows)] == ["arbiter", "second", "urgent", "old", "new"]


def test_the_most_specific_function_is_chosen() -> None:
    general = functions.Offer(1, "heatmap", ("DX", "CR"), ())
    chest = functions.Offer(2, "heatmap", ("DX", "CR"), ("CHEST",))
    breast = functions.Offer(3, "malignancy", ("MG",), ("BREAST",))
    assert functions.choose([general, chest, breast], ["DX"], "CHEST") == [2]
    assert functions.choose([general, chest, breast], ["DX"], "HAND") == [1]
    assert functions.choose([general, chest, breast], ["CT"], "CHEST") == []


# --- data sets ------------------------------------------------------------------------------------
def test_the_manifest_fits_the_files() -> None:
    import hashlib
    import io
    import json
    import zipfile

    out = io.BytesIO()
    rows = csv_pieces([[1, "=cmd()", None], [2, None, [1]]], ["case", "comment", "extra"])
    container.write(out, "zip", [("readings.csv", rows)], {"programme": "p"})
    with zipfile.ZipFile(out) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        for name, entry in manifest["files"].items():
            data = archive.read(name)
            assert hashlib.sha256(data).hexdigest() == entry["sha256"] and len(data) == entry["bytes"]
        assert b"'=cmd()" in archive.read("readings.csv")  # no formula for a spreadsheet
