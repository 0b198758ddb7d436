"""The text of PDF reports, beside what an independent reader finds in them."""

from __future__ import annotations

import io
import re

import pytest
from pypdf import PdfReader

from portal.deidentify import pdf
from portal.ingest.inspect import Damaged
from tests.factories import documents

TEXT = (
    "Chest in two planes (left side first). There is a pneumothorax of 2 cm; Mrs. Quillfeather of Hjqwstrasse 7 was "
    "told on 02/29/2024. Follow-up in one week, by Dr. Ute Yqorvathy. "
)


def words(text: str) -> list[str]:
    """A text's words; a hyphen at the end of a line is none."""
    return re.sub(r"-\n", "", text).split()


@pytest.mark.parametrize("times", [1, 40])
def test_two_readers_read_the_same(times: int) -> None:
    raw = documents.pdf(TEXT * times)
    theirs = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(raw)).pages)
    assert words(pdf.text(raw, 1_000_000)) == words(theirs)


def test_a_long_one_is_cut_a_little_after_its_limit() -> None:
    assert len(pdf.text(documents.pdf(TEXT * 10), 100).strip()) == 101


def test_pages_are_drawn_at_200_dots_an_inch() -> None:
    (page,) = pdf.pages(documents.pdf(TEXT))
    assert page.shape == (792 * 200 // 72, 612 * 200 // 72)
    assert page[:170].min() > 200 > page.min()  # the margin is empty, what is printed is not


def test_a_picture_has_no_text_but_pages() -> None:
    raw = documents.scanned(TEXT, pages=3)
    assert pdf.text(raw, 100).strip() == ""
    assert len(list(pdf.pages(raw))) == 3


@pytest.mark.parametrize("how", ["empty", "other", "cut", "encrypted"])
def test_what_cannot_be_read_is_said(how: str) -> None:
    raw = {
        "empty": b"",
        "other": b"%PDF-1.7 and nothing else",
        "cut": documents.scanned(TEXT)[:2000],
        "encrypted": documents.pdf(TEXT, password="secret"),
    }[how]
    for read in (lambda: pdf.text(raw, 10), lambda: list(pdf.pages(raw))):
        with pytest.raises(Damaged):
            read()
