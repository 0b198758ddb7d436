"""Pure rules: pseudonyms, shifted dates, ages."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.deidentify import rules
from portal.deidentify.descriptors import Cleaner
from portal.deidentify.text import Lists
from portal.ingest.rules import valid_uid

KEY = b"k" * 32
days = st.dates(date(1911, 1, 1), date(2100, 1, 1))


@given(days, days, st.integers(-rules.MAX_SHIFT_DAYS, -1))
def test_distances_between_dates_survive(one: date, other: date, offset: int) -> None:
    moved = [rules.parse_date(rules.shift_date(d.strftime("%Y%m%d"), offset)) for d in (one, other)]
    assert moved[0] and moved[1]
    assert moved[1] - moved[0] == other - one
    assert moved[0] - one == timedelta(days=offset)


@given(days, st.integers(-rules.MAX_SHIFT_DAYS, -1))
def test_a_date_time_moves_as_its_date_does(day: date, offset: int) -> None:
    text = day.strftime("%Y%m%d")
    moved = rules.shift_datetime(f"{text}235959.999999+0130", offset)
    assert moved == rules.shift_date(text, offset) + "235959.999999+0130"


@given(st.text(max_size=64))
def test_uids_are_valid_and_the_same_each_time(text: str) -> None:
    made = rules.pseudo_uid(KEY, 1, text)
    assert valid_uid(made) and made.startswith("2.25.") and len(made) <= 44
    assert made == rules.pseudo_uid(KEY, 1, text)
    assert made != rules.pseudo_uid(KEY, 2, text)
    assert made != rules.pseudo_uid(b"j" * 32, 1, text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_pseudonyms_are_deterministic_and_short(one: str, other: str) -> None:
    made = rules.pseudonym(KEY, 1, "patient", one)
    assert len(made) == 14 and made.isalnum()
    assert (made == rules.pseudonym(KEY, 1, "patient", other)) == (one == other)


@given(st.text(max_size=30))
def test_offsets_lie_in_the_past(patient: str) -> None:
    assert -rules.MAX_SHIFT_DAYS <= rules.offset_days(KEY, 1, patient) <= -1


@given(st.text(max_size=30))
def test_malformed_values_become_empty_and_never_raise(text: str) -> None:
    for result in (rules.shift_date(text, -5), rules.shift_datetime(text, -5), rules.cap_age(text)):
        assert result == "" or result.isascii()
    rules.clean_time(text), rules.clean_zone(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20240229", "20240219"),
        ("2024.02.29", "20240219"),
        ("20240230", ""),
        ("19000101-19991231", ""),
        ("Heinrich", ""),
        ("", ""),
    ],
)
def test_dates(text: str, wanted: str) -> None:
    assert rules.shift_date(text, -10) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("2024", "2023"), ("202401", "202312"), ("20240105x", ""), ("2024010512+9900", "")]
)
def test_date_times(text: str, wanted: str) -> None:
    assert rules.shift_datetime(text, -10) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("089Y", "089Y"), ("090Y", "089Y"), ("104Y", "089Y"), ("006M", "006M"), ("47", ""), ("", ""), ("999M", "999M")],
)
def test_ages(text: str, wanted: str) -> None:
    assert rules.cap_age(text) == wanted


def test_age_from_dates() -> None:
    assert rules.age_between("19310704", "20240131") == "089Y"
    assert rules.age_between("19800201", "20240131") == "043Y"
    assert rules.age_between("", "20240131") == ""


@pytest.mark.parametrize(
    ("text", "names", "wanted"),
    [
        ("CT Thorax mit KM Frau Meier", ["Meier^Eva"], "CT Thorax KM %PATIENT NAME%"),
        ("full mammogram images", [], "full mammogram images"),
        ("T2 tse sag 3mm", [], "T2 tse sag 3mm"),
        ("MR BRAIN SMITHERSON 12345678", [], "MR BRAIN %PATIENT NAME% %ID%"),
        ("CHEST 2 VIEWS YOUNG", [], "CHEST 2 VIEWS"),
        ("Zzyzx", [], "%PATIENT NAME%"),
        ("", [], ""),
    ],
)
def test_descriptors(text: str, names: list[str], wanted: str) -> None:
    cleaner = Cleaner(Lists.of([(name, "name") for name in names]), -10, None)
    assert cleaner.descriptor(text, "LO") == wanted


def test_short_representations_take_no_marker_and_long_ones_no_half() -> None:
    cleaner = Cleaner(Lists.of([("Meier^Eva", "name")]), -10, None)
    assert cleaner.descriptor("THORAX MEIER", "SH") == "THORAX"
    long = "chest " * 9 + "Meier"
    assert cleaner.descriptor(long, "LO") == ("chest " * 9).strip()
