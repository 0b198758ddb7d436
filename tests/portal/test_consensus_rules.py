"""Merging under majority and weights, and fusing boxes: worked by hand, and never by the order of the readers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.consensus import rules
from portal.programmes import forms

FORM = forms.MAMMOGRAPHY


def reading(recall: bool, rating: float, birads: str, density: str = "B") -> dict[str, Any]:
    return {"recall": recall, "malignancy": rating, "birads": birads, "density": density}


# --- answers ----------------------------------------------------------------------------------------
THREE = [reading(True, 60, "4", "B"), reading(False, 20, "2", "B"), reading(False, 25, "2", "C")]


def test_the_majority_outvotes_whoever_comes_first() -> None:
    assert rules.merge(FORM, THREE).answers == {"recall": False, "malignancy": 25, "birads": "2", "density": "B"}


def test_weights_worked_by_hand() -> None:
    merged = rules.merge(FORM, THREE, [0.6, 0.2, 0.3])
    # recall: yes 0.6, no 0.2 + 0.3; malignancy (60 · 0.6 + 20 · 0.2 + 25 · 0.3) / 1.1 = 47.5 / 1.1
    # density: B 0.6 + 0.2, C 0.3
    assert merged.answers == {"recall": True, "malignancy": 43.1818, "birads": "4", "density": "B"}
    # how far readers are apart does not hang on their weights
    assert merged.discrepancy == rules.merge(FORM, THREE).discrepancy == 1
    assert [p["discrepancy"] for p in merged.parts] == [round(1 / 3, 4), 0.4, round(1 / 3, 4), round(1 / 3, 4)]


def test_a_tie_of_weights_is_left_to_the_arbiter() -> None:
    merged = rules.merge(FORM, THREE, [0.3, 0.1, 0.2])  # 0.1 + 0.2 is not 0.3 in binary
    assert "recall" not in merged.answers and "birads" not in merged.answers


def test_several_choices_need_more_than_half_of_the_weight() -> None:
    said = [{"findings": ["Mass", "Edema"]}, {"findings": ["Mass"]}, {"findings": ["Edema", "Hernia"]}]
    equal = rules.merge(forms.CHEST, said)
    assert equal.answers == {"findings": ["Edema", "Mass"]}
    heavy = rules.merge(forms.CHEST, said, [0.2, 0.2, 0.5])  # of 0.9: Mass 0.4, Edema 0.7, Hernia 0.5
    assert heavy.answers == {"findings": ["Edema", "Hernia"]}


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_weights_of_any_sequence(kind: Any) -> None:
    assert rules.merge(FORM, THREE, kind([0.6, 0.2, 0.3])) == rules.merge(FORM, THREE, [0.6, 0.2, 0.3])


@pytest.mark.parametrize("weights", [[], [1.0], [0, 0, 0], [1, 1, -1], [1, 1, float("nan")], [1, 1, float("inf")]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        rules.merge(FORM, THREE, weights)
    with pytest.raises(ValueError, match="weight"):
        rules.fuse_boxes([[], [], []], weights=weights)


READINGS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 100), st.sampled_from("0123"), st.floats(0.05, 1)), min_size=1, max_size=6
)


@given(READINGS, st.randoms())
def test_the_order_of_readers_does_not_matter(rows: list[tuple[bool, int, str, float]], chance: random.Random) -> None:
    mixed = rows[:]
    chance.shuffle(mixed)
    for weighted in (False, True):
        one, other = (
            rules.merge(FORM, [reading(*row[:3]) for row in some], [row[3] for row in some] if weighted else None)
            for some in (rows, mixed)
        )
        assert one.answers == other.answers
        assert one.discrepancy == pytest.approx(other.discrepancy)


@given(READINGS, st.floats(0.1, 9))
def test_equal_weights_vote_as_the_majority_and_average_as_numpy(rows: list[Any], weight: float) -> None:
    readings = [reading(*row[:3]) for row in rows]
    plain, equal = rules.merge(FORM, readings), rules.merge(FORM, readings, [weight] * len(rows))
    for key in ("recall", "birads", "density"):
        assert plain.answers.get(key) == equal.answers.get(key)
    shares = [row[3] for row in rows]
    average = np.average([row[1] for row in rows], weights=shares)
    assert rules.merge(FORM, readings, shares).answers["malignancy"] == pytest.approx(average, abs=1e-4)


# --- boxes ------------------------------------------------------------------------------------------
def box(x: float, y: float = 0, size: float = 10, label: str = "mass", image: str = "1", **more: Any) -> dict[str, Any]:
    return {"sop_uid": image, "box": [x, y, x + size, y + size], "label": label, **more}


def test_boxes_of_two_readers_are_averaged() -> None:
    assert rules.fuse_boxes([[box(0)], [box(2), box(90, 90)]]) == [
        {"sop_uid": "1", "frame": 1, "box": [1, 0, 11, 10], "label": "mass", "support": 1.0}
    ]


def test_the_box_that_most_agree_with_gathers_the_others() -> None:
    # 0 and 10 touch, 5 overlaps each by 50 of 150
    for order in ([0, 5, 10], [10, 0, 5], [5, 10, 0], [0, 10, 5], [10, 5, 0], [5, 0, 10]):
        (fused,) = rules.fuse_boxes([[box(x)] for x in order])
        assert fused["box"] == [5, 0, 15, 10] and fused["support"] == 1


def test_boxes_worked_by_hand_with_weights() -> None:
    groups = [[box(0, label="mass")], [box(2, label="calcification")], [box(40)]]
    (fused,) = rules.fuse_boxes(groups, weights=[0.25, 0.75, 0.5])
    assert fused["box"] == [1.5, 0, 11.5, 10]  # 0 · 0.25 + 2 · 0.75
    assert fused["label"] == "calcification" and fused["support"] == pytest.approx(1 / 1.5)
    assert rules.fuse_boxes(groups, weights=[0.1, 0.1, 0.9])[0]["box"] == [40, 0, 50, 10]
    assert rules.fuse_boxes(groups[:2], 0.9) == []  # neither half is more than half


def test_boxes_of_other_images_frames_or_the_same_reader_are_not_fused() -> None:
    assert rules.fuse_boxes([[box(0)], [box(0, image="2")]]) == []
    assert rules.fuse_boxes([[box(0, frame=1)], [box(0, frame=2)]]) == []
    assert [f["support"] for f in rules.fuse_boxes([[box(0), box(1)]])] == [1, 1]
    assert rules.fuse_boxes([]) == [] and rules.fuse_boxes([[], []]) == []


COORDINATES = st.integers(0, 12).map(float)
BOXES = st.lists(
    st.builds(box, COORDINATES, COORDINATES, st.sampled_from([6.0, 8.0, 10.0]), st.sampled_from(["mass", "calc"])),
    max_size=4,
)


@settings(max_examples=400)
@given(st.lists(st.tuples(BOXES, st.sampled_from([0.25, 0.5, 0.6, 1.0])), min_size=1, max_size=5), st.randoms())
def test_no_order_of_readers_or_boxes_changes_what_is_fused(rows: list[Any], chance: random.Random) -> None:
    mixed = [(chance.sample(boxes, len(boxes)), weight) for boxes, weight in rows]
    chance.shuffle(mixed)
    for weighted in (False, True):
        one, other = (
            rules.fuse_boxes([boxes for boxes, _ in some], weights=[w for _, w in some] if weighted else None)
            for some in (rows, mixed)
        )
        assert one == other


@given(st.lists(BOXES, min_size=1, max_size=5))
def test_fused_boxes_lie_within_what_was_drawn(groups: list[list[dict[str, Any]]]) -> None:
    drawn = [b["box"] for boxes in groups for b in boxes]
    for fused in rules.fuse_boxes(groups):
        assert 0.5 < fused["support"] <= 1
        low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
        assert np.all(low - 1e-9 <= fused["box"]) and np.all(fused["box"] <= high + 1e-9)
