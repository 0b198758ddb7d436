"""The case rule by hand (seed 000, FIG. 9): views → sides → maximum → threshold → gate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.findings import Lesion
from inference.postprocess import ViewScore, case_findings, case_score, gate

LESIONS = [Lesion("1.2.3", (10.0, 20.0, 30.0, 40.0), 0.9, "malignancy")]
FOUR = [
    ViewScore("L", "CC", (0.2,)),
    ViewScore("L", "MLO", (0.4,)),
    ViewScore("R", "CC", (0.7,)),
    ViewScore("R", "MLO", (0.5,)),
]


def test_four_views_by_hand() -> None:
    # left (0.2 + 0.4) / 2 = 0.3; right (0.7 + 0.5) / 2 = 0.6; case max(0.3, 0.6) = 0.6
    score, sides, views = case_score(FOUR)
    assert score == pytest.approx(0.6)
    assert sides == pytest.approx({"L": 0.3, "R": 0.6})
    assert views == pytest.approx({"L-CC": 0.2, "L-MLO": 0.4, "R-CC": 0.7, "R-MLO": 0.5})


def test_several_images_of_a_view_count_as_one_view() -> None:
    # L-CC: (0.9 + 0.1 + 0.2) / 3 = 0.4; with L-MLO 0.2 the side is (0.4 + 0.2) / 2 = 0.3, not 1.4 / 4
    images = [ViewScore("L", "CC", (s,)) for s in (0.9, 0.1, 0.2)] + [ViewScore("L", "MLO", (0.2,))]
    assert case_score(images)[0] == pytest.approx(0.3)


def test_several_models_are_averaged_within_the_image() -> None:
    # models (0.6, 0.8) → 0.7 and (0.1,) → 0.1; the view is (0.7 + 0.1) / 2 = 0.4
    images = [ViewScore("R", "CC", (0.6, 0.8)), ViewScore("R", "CC", (0.1,))]
    assert case_score(images)[0] == pytest.approx(0.4)


def test_one_suspicious_side_is_not_diluted_by_the_other() -> None:
    images = [ViewScore("L", "CC", (1.0,)), ViewScore("L", "MLO", (1.0,)), ViewScore("R", "CC", (0.0,))]
    assert case_score(images)[0] == 1.0


def test_missing_views_are_named_and_the_rest_decides() -> None:
    found = case_findings([ViewScore("L", "CC", (0.8,))], LESIONS, threshold=0.5)
    assert found.missing_views == ("R-CC", "R-MLO", "L-MLO")
    assert found.sides == {"L": 0.8} and found.score == 0.8 and found.call


def test_unknown_view_is_a_view_of_its_own() -> None:
    score, _, views = case_score([ViewScore("L", None, (0.2,)), ViewScore("L", "CC", (0.6,))])
    assert views == {"L-CC": 0.6, "L-other": 0.2}
    assert score == pytest.approx(0.4)


def test_a_score_on_the_threshold_is_called() -> None:
    assert case_findings(FOUR, LESIONS, threshold=0.6).call
    assert not case_findings(FOUR, LESIONS, threshold=0.6001).call


def test_gate_holds_back_every_lesion_of_a_negative_case() -> None:
    assert case_findings(FOUR, LESIONS, threshold=0.7).lesions == ()
    assert case_findings(FOUR, LESIONS, threshold=0.5).lesions == tuple(LESIONS)
    assert gate(False, LESIONS) == () and gate(True, LESIONS) == tuple(LESIONS)


@pytest.mark.parametrize("images", [[], [ViewScore("B", "CC", (0.1,))], [ViewScore("L", "CC", (1.2,))],
                                    [ViewScore("L", "CC", (float("nan"),))], [ViewScore("L", "CC", ())]])  # fmt: skip
def test_impossible_input_is_refused(images: list[ViewScore]) -> None:
    with pytest.raises(ValueError):
        case_score(images)


view_scores = st.builds(
    ViewScore,
    st.sampled_from(["L", "R"]),
    st.sampled_from(["CC", "MLO", None]),
    st.lists(st.floats(0, 1), min_size=1, max_size=3).map(tuple),
)


@given(st.lists(view_scores, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_the_score_stays_in_range(images: list[ViewScore], shuffler) -> None:
    score = case_score(images)[0]
    mixed = list(images)
    shuffler.shuffle(mixed)
    assert case_score(mixed)[0] == pytest.approx(score)
    every = [s for image in images for s in image.scores]
    assert min(every) - 1e-9 <= score <= max(every) + 1e-9


@given(st.lists(view_scores, min_size=1, max_size=8), st.floats(0, 1))
def test_lesions_leave_exactly_when_the_case_is_called(images: list[ViewScore], threshold: float) -> None:
    found = case_findings(images, LESIONS, threshold)
    assert found.call == (found.score >= threshold)
    assert bool(found.lesions) == found.call
