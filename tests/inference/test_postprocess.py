"""Regions, saliency and thresholds against values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from inference.evaluation.localisation import best_map_threshold, box_of, by_size, continuous_dice
from inference.evaluation.report import operating_points
from inference.evaluation.roc import auc, auc_interval, curve, difference_interval, mean_auc
from inference.postprocess import at_sensitivity, at_specificity, find_regions, saliency, youden

IDENTITY = lambda points: points  # noqa: E731
LABELS = np.array([0, 0, 1, 0, 1, 1])
SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])


def test_saliency_takes_a_threshold_per_class_or_per_place() -> None:
    maps = np.array([[[0.2, 0.6]], [[0.2, 0.6]]], dtype=np.float32)
    assert saliency(maps, np.array([0.5, 0.1])).tolist() == [[[0, 1]], [[1, 1]]]
    assert saliency(maps, np.array([[[0.1, 0.7]], [[0.3, 0.6]]])).tolist() == [[[1, 0]], [[0, 1]]]


def test_two_separate_places_are_two_regions_in_image_pixels() -> None:
    grid = np.zeros((8, 8), dtype=np.float32)
    grid[1:3, 1:3] = 0.6
    grid[2, 2] = 0.9
    grid[6, 5] = 0.7
    found = find_regions(grid, 0.5, "Mass", (80, 160), IDENTITY)
    assert [(r.box, round(r.score, 2)) for r in found] == [
        ((20.0, 10.0, 60.0, 30.0), 0.9),
        ((100.0, 60.0, 120.0, 70.0), 0.7),
    ]
    polygon = np.array(found[0].polygon)
    assert (polygon.min(axis=0) >= [10, 5]).all() and (polygon.max(axis=0) <= [70, 35]).all()


def test_patches_that_touch_at_a_corner_are_one_region() -> None:
    assert len(find_regions(np.eye(4, dtype=np.float32), 0.5, "Mass", (4, 4), IDENTITY)) == 1


def test_nothing_over_the_threshold_is_no_region() -> None:
    assert find_regions(np.full((4, 4), 0.4, dtype=np.float32), 0.5, "Mass", (4, 4), IDENTITY) == ()


def test_curve_and_thresholds_by_hand() -> None:
    # From the top: 0.9 and 0.8 are positives (2/3, 3/3); 0.4 costs a third; 0.3 brings the last positive.
    sensitivity, specificity, thresholds = curve(LABELS, SCORES)
    assert thresholds.tolist() == [0.9, 0.8, 0.4, 0.3, 0.2, 0.1]
    assert sensitivity == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    assert specificity == pytest.approx([1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    assert youden(LABELS, SCORES) == pytest.approx(0.6)  # between 0.8 and 0.4, J = 2/3
    assert at_sensitivity(LABELS, SCORES, 0.9) == pytest.approx(0.25)
    assert at_specificity(LABELS, SCORES, 1.0) == pytest.approx(0.8)


def test_the_table_of_operating_points_by_hand() -> None:
    rows = operating_points(LABELS, SCORES)
    assert [next(iter(row)) for row in rows] == ["sensitivity_at_least"] * 3 + ["specificity_at_least"] * 3
    # all three positives need the 0.3; without a false alarm two of them are found
    assert all((row["sensitivity"], row["specificity"]) == (1.0, pytest.approx(2 / 3)) for row in rows[:3])
    assert all((row["sensitivity"], row["specificity"]) == (pytest.approx(2 / 3), 1.0) for row in rows[3:])
    assert [row["threshold"] for row in rows] == [pytest.approx(0.25)] * 3 + [pytest.approx(0.8)] * 3
    assert operating_points(np.ones(3), SCORES[:3]) == []


def test_one_kind_of_label_has_no_operating_point() -> None:
    assert youden(np.ones(3), SCORES[:3]) == 0.5
    with pytest.raises(ValueError):
        at_sensitivity(np.zeros(3), SCORES[:3], 0.9)
    with pytest.raises(ValueError):
        at_specificity(np.ones(3), SCORES[:3], 0.9)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    if labels.all() or not labels.any():
        assert np.isnan(auc(labels, scores))
    else:
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=40))
def test_youden_is_the_best_of_all_thresholds(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] / 10 for r in rows])
    if labels.all() or not labels.any():
        return

    def index(threshold: float) -> float:
        return float((scores[labels] >= threshold).mean() + (scores[~labels] < threshold).mean() - 1)

    assert index(youden(labels, scores)) == pytest.approx(max(index(t) for t in [*scores, 2.0]), abs=1e-9) or (
        max(index(t) for t in scores) < 0
    )


def test_constant_prediction_has_auc_one_half() -> None:
    assert auc(LABELS, np.full(6, 0.3)) == 0.5
    assert mean_auc(np.stack([LABELS, np.zeros(6)], 1), np.stack([SCORES, SCORES], 1)) == pytest.approx(8 / 9)


def test_interval_holds_the_value_and_keeps_patients_together() -> None:
    labels, scores = np.tile(LABELS, 20), np.tile(SCORES, 20)
    loose = auc_interval(labels, scores, draws=200)
    tied = auc_interval(labels, scores, groups=np.tile(np.arange(6), 20), draws=200)
    assert loose.low <= loose.value <= loose.high
    assert tied.high - tied.low > loose.high - loose.low


def test_dice_by_hand() -> None:
    # 2·(0.5·1) / (0.5² + 0.5² + 1²) = 1 / 1.5
    assert continuous_dice(np.array([0.5, 0.5, 0.0]), np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert continuous_dice(np.ones(4), np.ones(4)) == 1.0
    assert continuous_dice(np.zeros(4), np.ones(4)) == 0.0
    assert continuous_dice(np.zeros(4), np.zeros(4)) == 1.0


def test_box_and_best_threshold() -> None:
    region = np.zeros((5, 5), dtype=np.uint8)
    region[1, 3] = region[3, 1] = 1
    assert box_of(region).sum() == 9
    maps = (region * 0.62 * 255 + (1 - region) * 0.42 * 255).astype(np.uint8)
    assert 0.42 < best_map_threshold(maps[None], lambda index: region) <= 0.62


def test_a_paired_difference_is_narrower_than_two_intervals_and_zero_for_the_same() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (300, 3))
    first = labels + rng.normal(0, 1.2, labels.shape)
    second = first + rng.normal(0, 0.4, labels.shape)
    same = difference_interval(labels, first, first, draws=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    found = difference_interval(labels, first, second, draws=300)
    alone = auc_interval(labels, first, draws=300)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(mean_auc(labels, first) - mean_auc(labels, second))
    assert found.high - found.low < alone.high - alone.low


def test_values_by_size_of_the_place() -> None:
    sizes, values = np.array([0.5, 0.1, 0.3, 0.2, 0.6, 0.4]), np.array([5.0, 1.0, 3.0, 2.0, 6.0, 4.0])
    rows = by_size(sizes, values)
    assert [(low, high, mean.value) for low, high, mean in rows] == [(0.1, 0.2, 1.5), (0.3, 0.4, 3.5), (0.5, 0.6, 5.5)]
    assert [mean.value for *_, mean in by_size(sizes[:2], values[:2])] == [1.0, 5.0]
    assert by_size(np.zeros(0), np.zeros(0)) == []
