"""The rules of the input check: verdicts, what follows, shares with intervals, which images are looked at."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from inference.check import CATEGORIES
from inference.check.categories import Claim, agrees
from portal.archive.rules import Filed, category
from portal.check import rules
from portal.check.models import SeriesCheck
from portal.check.package import package

THRESHOLDS = dict.fromkeys(CATEGORIES, 0.7)
SAID = ["agrees", "mismatch", "uncertain", "unclaimed", "unseen"]
POLICIES = ["hold", "correct", "note"]
shares = st.lists(st.floats(0.01, 1), min_size=5, max_size=5).map(
    lambda raw: dict(zip(CATEGORIES, (value / sum(raw) for value in raw), strict=True))
)
claims = st.one_of(
    st.sampled_from(CATEGORIES).map(lambda name: Claim(name, name)),
    st.just(Claim(None, "nothing")),
    st.just(Claim(None, "DX CHEST (no view)")),
)


def surely(name: str, probability: float = 0.9) -> dict[str, float]:
    rest = (1 - probability) / 4
    return {one: probability if one == name else rest for one in CATEGORIES}


@pytest.mark.parametrize(
    ("claim", "shown", "wanted"),
    [
        (Claim("chest_frontal", "DX CHEST PA"), surely("mammogram"), "mismatch"),
        (Claim("chest_frontal", "DX CHEST PA"), surely("mammogram", 0.69), "uncertain"),
        (Claim("chest_frontal", "DX CHEST PA"), surely("mammogram", 0.7), "mismatch"),  # the threshold is reached
        (Claim("mammogram", "MG"), surely("mammogram"), "agrees"),
        (Claim("mammogram", "MG"), surely("mammogram", 0.3), "agrees"),  # most probable all the same
        (Claim("chest_frontal", "DX CHEST PA"), surely("chest_lateral"), "mismatch"),
        (Claim(None, "DX CHEST (no view)"), surely("chest_lateral"), "agrees"),
        (Claim(None, "DX CHEST (no view)"), surely("ct"), "mismatch"),
        (Claim(None, "nothing"), surely("ct"), "unclaimed"),
        (Claim("other", "MR HEAD"), surely("ct", 0.99), "uncertain"),  # of the others the check knows least
        (Claim("ct", "CT"), surely("other"), "mismatch"),
    ],
)
def test_verdicts(claim: Claim, shown: dict[str, float], wanted: str) -> None:
    assert rules.verdict(claim, shown, THRESHOLDS) == wanted


def test_the_package_says_from_where_on_it_is_certain() -> None:
    known = package()
    assert known is not None and {name: known.thresholds[name] for name in CATEGORIES} == THRESHOLDS


@given(claims, shares, st.floats(0, 1))
def test_a_verdict_never_contradicts_itself(claim: Claim, shown: dict[str, float], threshold: float) -> None:
    limits = dict.fromkeys(CATEGORIES, threshold)
    said = rules.verdict(claim, shown, limits)
    found = rules.best(shown)
    assert shown[found] == max(shown.values())
    assert (said in {"mismatch", "uncertain"}) == (not agrees(claim, found))
    if said == "mismatch":
        assert shown[found] >= threshold and claim.category != "other"
    # a stricter package is certain of less, and never says another category
    stricter = rules.verdict(claim, shown, dict.fromkeys(CATEGORIES, min(1.0, threshold + 0.1)))
    assert stricter == said or (said, stricter) == ("mismatch", "uncertain")


@given(st.sampled_from(SAID), st.booleans(), st.sampled_from(POLICIES), st.sampled_from(CATEGORIES))
def test_what_follows(said: str, noteworthy: bool, policy: str, found: str) -> None:
    state = rules.outcome(said, noteworthy, policy, found)  # type: ignore[arg-type]
    assert state in SeriesCheck.State.values and state not in SeriesCheck.DECIDED
    assert (state in {"held", "reassigned"}) == (said == "mismatch" and policy != "note")
    assert (state == "reassigned") == (said == "mismatch" and policy == "correct" and found != "other")
    assert (state == "passed") == (said not in {"mismatch", "uncertain"} and not noteworthy)


@given(st.integers(0, 400), st.integers(1, 48))
def test_images_are_spread_over_a_series(count: int, most: int) -> None:
    places = rules.representatives(count, most)
    assert len(places) == min(count, most) and places == sorted(set(places))
    assert all(0 <= place < count for place in places)
    if count > most:  # no part of the series longer than twice its share is left out
        edges = [-1, *places, count]
        assert max(b - a for a, b in itertools.pairwise(edges)) <= 2 * count / most


def test_three_of_four_hundred_slices() -> None:
    assert rules.representatives(400, 3) == [66, 200, 333]
    assert rules.representatives(2, 3) == [0, 1]


@given(st.lists(shares, min_size=1, max_size=5))
def test_the_mean_of_a_series_is_a_distribution(images: list[dict[str, float]]) -> None:
    mean = rules.mean_probabilities(images)
    assert sum(mean.values()) == pytest.approx(1)
    for name in CATEGORIES:
        values = [image[name] for image in images]
        assert min(values) - 1e-12 <= mean[name] <= max(values) + 1e-12


@given(st.integers(1, 500), st.data())
def test_intervals_are_those_of_scipy(of: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, of))
    low, high = rules.wilson(right, of)  # type: ignore[misc]
    wanted = binomtest(right, of).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert low <= right / of + 1e-12 and right / of <= high + 1e-12


def test_shares_of_nothing_and_of_too_much() -> None:
    assert rules.Share(0, 0).value is None and rules.Share(0, 0).interval is None
    with pytest.raises(ValueError, match="3 of 2"):
        rules.wilson(3, 2)
    with pytest.raises(ValueError, match="no image"):
        rules.mean_probabilities([])


@pytest.mark.parametrize(
    ("name", "modality", "part", "wanted"),
    [
        ("mammogram", "DX", "CHEST", ("MG", "BREAST")),
        ("chest_frontal", "MG", "BREAST", ("DX", "CHEST")),
        ("chest_frontal", "CR", "HAND", ("CR", "CHEST")),  # a computed radiograph stays one
        ("ct", "DX", "CHEST", ("CT", "CHEST")),
        ("ct", "MG", "BREAST", ("CT", "")),
        ("other", "MG", "BREAST", ("OT", "")),
    ],
)
def test_what_a_category_is_called_in_a_header(name: str, modality: str, part: str, wanted: tuple[str, str]) -> None:
    assert rules.filed_under(name, modality, part) == wanted  # type: ignore[arg-type]


parts = st.sampled_from(["", "CHEST", "BREAST", "HEAD"])
kinds = st.sampled_from(["", "DX", "MG", "CT"])
filed = st.builds(Filed, st.sampled_from(["DX", "MG", "CT"]), parts, kinds, parts, st.booleans())


@given(st.lists(st.builds(Filed, st.sampled_from(["DX", "MG", "CT"]), parts), max_size=4), parts)
def test_a_study_nobody_touched_is_what_its_headers_say(series: list[Filed], part: str) -> None:
    modalities = sorted({one.modality for one in series})
    assert category(modalities, part, series) == (modalities, part)


@given(st.lists(filed, min_size=1, max_size=4), parts)
def test_a_given_category_takes_the_place_of_the_header(series: list[Filed], part: str) -> None:
    assume(any(one.given_modality or one.set_aside for one in series))
    modalities, body = category(["US"], part, series)
    left = [one for one in series if not one.set_aside]
    assert set(modalities) == {one.given_modality or one.modality for one in left}
    # of the series that are left, or none
    assert body in {one.category[1] for one in left} | {""}
