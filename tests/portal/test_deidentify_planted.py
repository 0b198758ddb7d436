"""Planted identities: small parts of what `python -m tests.bench identities` measures in full."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from portal.deidentify.headers import gather
from portal.deidentify.profile import Keys, deidentify
from portal.deidentify.table import Options
from portal.deidentify.text import Context, Lists
from portal.deidentify.text.dates import find_dates
from portal.deidentify.text.passes import learn, redact
from tests.bench.bench_identities import headers, indiana_texts, texts
from tests.factories.planted.headers import header

SEEDS = 700_000_000


def test_nothing_is_left_of_header_fields_at_any_depth() -> None:
    planted, gone, words, kept, _ = headers(SEEDS, 40)
    assert planted["field"] > 700 and planted["nested"] > 150
    assert (gone["field"], gone["nested"]) == (planted["field"], planted["nested"])
    assert gone["descriptor"] + gone["comment"] >= 0.995 * (planted["descriptor"] + planted["comment"])
    assert kept / words >= 0.95


def test_reports_lose_identities_and_keep_findings() -> None:
    tally = texts(SEEDS, 120)
    assert tally.planted.total() > 1300
    assert tally.found.total() / tally.planted.total() >= 0.99
    assert tally.right / tally.marked >= 0.99
    assert tally.kept / tally.words >= 0.99


@pytest.mark.reference
def test_real_reports_lose_surrogates_and_keep_findings() -> None:
    tally = indiana_texts(Path(os.environ["CONCORD_REFERENCE_DATA"]), tuning=False)
    assert tally.found.total() / tally.planted.total() >= 0.995
    assert tally.kept / tally.words >= 0.99


def test_a_name_that_only_the_report_has_goes_from_a_free_text_tag() -> None:
    dataset = header(1).dataset
    del dataset.ContentSequence
    dataset.ImageComments = "quillfeather moved during the scan"
    keys = Keys(b"i" * 32, b"u" * 32, 7, "PAAAABBBBCCCCD", -100)
    text = "FINDINGS: Clear lungs.\nDictated by: Ada Quillfeather, MD"
    deidentify(dataset, keys, Options(), gather(dataset, texts=(text,)))
    assert dataset.ImageComments == "%DOCTOR% moved during the scan"


def test_two_scans_and_a_report_keep_order_distance_and_link() -> None:
    keys = Keys(b"i" * 32, b"u" * 32, 7, "PAAAABBBBCCCCD", -100)
    first, second = header(2).dataset, header(3).dataset
    first.StudyDate, second.StudyDate = "20200110", "20210214"
    second.ImageComments = "Compared with the study dated 10 January 2020."
    for dataset in (first, second):
        deidentify(dataset, keys, Options())
    assert (first.StudyDate, second.StudyDate) == ("20191002", "20201106")  # 100 days earlier each
    assert second.ImageComments == "Compared with the study dated 2 October 2019."
    assert first.PatientID == second.PatientID


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("on 03/01/2020", "on 02/29/2020"),
        ("on 2020-03-01.", "on 2020-02-29."),
        ("Monday, March 2, 2020", "Sunday, March 1, 2020"),
        ("March 2nd, 2020", "March 1st, 2020"),
        ("02-MAR-2020", "01-MAR-2020"),
        ("13.03.2020", "12.03.2020"),
        ("seen 20200301", "seen 20200229"),
        ("1 Mar 20", "29 Feb 20"),
        ("on 2020-10-10", "on 2020-10-09"),
        ("on 10/10/2020", "on 10/09/2020"),
        ("on 1/10/2020", "on 1/9/2020"),
        ("10JAN2020", "09JAN2020"),
        ("10 January 2020", "9 January 2020"),
        ("DOB 03/01/1950", "DOB %DATE%"),
        ("grade 3/4, L4/5, 5/10 mm", "grade 3/4, L4/5, 5/10 mm"),
    ],
)
def test_dates_move_in_their_own_format(text: str, wanted: str) -> None:
    assert redact(text, Lists(), Context(day=date(2020, 3, 5)), -1).text == wanted


def test_numeric_dates_are_read_as_the_text_and_the_study_say() -> None:
    # 05/04 near a study of April is the day of April, and 25/12 in the same text says that days come first
    done = redact("Compared with 05/04/2020 and 25/12/2019.", Lists(), Context(day=date(2020, 4, 9)), -5)
    assert done.text == "Compared with 31/03/2020 and 20/12/2019."


def test_ages_over_89_become_89_and_names_learnt_stay_grey() -> None:
    lists = learn([("Mr. Brown, 93-year-old.", Context())], Lists())
    done = redact("Mr. Brown, 93-year-old. Brown fat uptake is normal.", lists, Context(), -5)
    assert done.text == "Mr. %PATIENT NAME%, 89-year-old. Brown fat uptake is normal."
    assert all("Brown" not in rule and "93" not in rule for _, rule in done.done)


def test_no_date_is_found_in_measures() -> None:
    text = "Lesion 12 x 8 x 9 mm, SUV 4.8, T1-T2, series 4 image 12/40, HU 2010, 1.5.2 cm, 120/80 mmHg"
    assert list(find_dates(text)) == []
