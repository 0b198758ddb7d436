"""What classes say about each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.postprocess.joint import (
    any_abnormality,
    class_correlations,
    joined_by_correlation,
    joint_probabilities,
    joint_probability,
)

UNIT = st.floats(0, 1)


def test_correlations_are_those_of_numpy() -> None:
    labels = np.random.default_rng(2).integers(0, 2, (200, 4))
    labels[:, 3] = 1  # says nothing
    found = class_correlations(labels)
    assert np.allclose(found[:3, :3], np.corrcoef(labels[:, :3].T))
    assert found[3].tolist() == [0, 0, 0, 1]


def test_two_dice_and_twins() -> None:
    assert joint_probability(1 / 6, 1 / 6, 0.0) == pytest.approx(1 / 36)  # independent
    assert joint_probability(0.3, 0.3, 1.0) == pytest.approx(0.3)  # always together
    assert joint_probability(0.7, 0.7, -1.0) == pytest.approx(0.4)  # two of seven in ten must meet in four


@given(UNIT, UNIT, st.floats(-1, 1))
def test_joint_probability_stays_in_its_bounds(p: float, q: float, rho: float) -> None:
    value = joint_probability(p, q, rho)
    assert max(0.0, p + q - 1) - 1e-12 <= value <= min(p, q) + 1e-12


def test_a_class_joins_the_present_one_it_goes_with_and_pulls_no_other() -> None:
    correlations = np.array([[1, 0.8, 0.1], [0.8, 1, 0.9], [0.1, 0.9, 1]])
    present = {"Effusion": True, "Atelectasis": False, "Edema": False}
    assert joined_by_correlation(present, correlations, 0.5) == {"Atelectasis": ("Effusion", 0.8)}
    assert joined_by_correlation(dict.fromkeys(present, False), correlations, 0.5) == {}
    pairs = joint_probabilities({"Effusion": 0.5, "Atelectasis": 0.5, "Edema": 0.1}, correlations, smallest=0.2)
    assert list(pairs) == [("Effusion", "Atelectasis")] and pairs["Effusion", "Atelectasis"] == pytest.approx(0.45)


def test_at_least_one() -> None:
    assert any_abnormality(np.array([0.5, 0.5])) == pytest.approx(0.75)
    assert any_abnormality(np.array([[0.0, 0.0], [0.2, 1.0]])).tolist() == [0.0, 1.0]
