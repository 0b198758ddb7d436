"""The finder and the verdict on single lines, on examples of the seed and of everyday reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.deidentify.text import Context, Lists, find, judge
from portal.deidentify.text.fuzzy import Near, within_one

LISTS = Lists.of(
    black=[
        ("Parkinson^John^M", "name"),
        ("HN-4711-99", "id"),
        ("ACC778812", "accession"),
        ("Klinik am Entenweiher", "hospital"),
    ]
)


def found(text: str, lists: Lists = LISTS, context: Context = Context()) -> list[tuple[str, str]]:  # noqa: B008
    return [(text[s.start : s.end], s.kind) for s in find(text, lists, context)]


def test_the_patient_goes_and_the_disease_stays() -> None:
    text = "John Parkinson has Parkinson's disease. Paget disease of bone. Mr. Parkinson is well."
    assert found(text) == [("John Parkinson", "name"), ("Parkinson", "name")]


@pytest.mark.parametrize(
    "text",
    [
        "Known Hodgkin lymphoma.",
        "Brown fat uptake may represent normal variation.",
        "Crohn's disease, Cushing syndrome, Down syndrome.",
        "Jackson-Pratt drain and Swan-Ganz catheter in place.",
        "T2 FLAIR shows 3 mm lesion, L4-L5 disc bulge, 2010 HU.",
        "May need follow-up; bilateral Baker cysts 12 x 8 mm.",
        "RIGHT LOWER LOBE PNEUMONIA WITH SMALL EFFUSION",
        "MG SCREENING BILAT W CAD R-MLO kVp 28 120 mAs",
    ],
)
def test_clinical_text_stays(text: str) -> None:
    assert found(text, Lists()) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Seen by Dr. Amelia Quonset on May 4, 2010.", [("Amelia Quonset", "doctor"), ("May 4, 2010", "date")]),
        ("92-year-old, MRN: 12345678, phone (555) 123-4567",
         [("92", "age"), ("12345678", "id"), ("(555) 123-4567", "phone")]),
        ("From St. Mary's Medical Center, 1200 Oak Street, Springfield, IL 62704.",
         [("St. Mary's Medical Center", "hospital"), ("1200 Oak Street, Springfield, IL 62704", "address")]),
        ("Write to j.doe@example.org.", [("j.doe@example.org", "email")]),
        ("J. Parkinsen, HN 4711 99, acc778812",
         [("J. Parkinsen", "name"), ("HN 4711 99", "id"), ("acc778812", "accession")]),
        ("CT ABD PARKINSON ENTENWEIHER", [("PARKINSON", "name"), ("ENTENWEIHER", "hospital")]),
        ("patient john smithfield presented with cough", [("john smithfield", "name")]),
        ("Initials J.P. checked", [("J.P.", "name")]),
    ],
)  # fmt: skip
def test_identifiers_go(text: str, wanted: list[tuple[str, str]]) -> None:
    assert found(text) == wanted


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("PARKINS0N JOHN", "name"),
        ("PARKlNSON", "name"),
        ("27.03.2011", "date"),
        ("HN 4711 99", "id"),
        ("SMITH^JANE", "name"),
        ("R-MLO", None),
        ("L", None),
        ("kVp 28", None),
        ("Im: 12/40", None),
    ],
)
def test_lines_of_an_image(line: str, kind: str | None) -> None:
    verdict = judge(line, LISTS, "top left")
    assert (verdict.kind, verdict.sure) == (kind, True)


words = st.text("abcdef", min_size=1, max_size=8)


@given(words, words)
def test_one_edit_is_the_same_both_ways(one: str, other: str) -> None:
    assert within_one(one, other) == within_one(other, one)


@given(st.text("abcdefghij", min_size=6, max_size=10), st.integers(0, 9), st.sampled_from("klmn"))
def test_a_misspelt_word_is_found(word: str, at: int, letter: str) -> None:
    at %= len(word)
    near = Near([word])
    for form in (word[:at] + letter + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + word[at + 1 :]):
        assert near.find(form) is not None


def test_a_misspelling_that_is_a_word_goes_beside_the_first_name() -> None:
    lists = Lists.of(black=[("Horner^Adele", "name")])
    assert found("Patient Adele Honer moved.", lists) == [("Adele Honer", "name")]
    assert found("The honer was sharp; Horner syndrome.", lists) == []


def test_a_long_text_is_searched_in_pieces_that_lose_nothing() -> None:
    sentence = "The lungs are clear. Seen by Dr. Amelia Quonset on May 4, 2010.\n"
    spans = find(sentence * 400, Lists())
    assert len(spans) == 800
    assert {(sentence * 400)[s.start : s.end] for s in spans} == {"Amelia Quonset", "May 4, 2010"}


@pytest.mark.parametrize("unit", ["a", "1", "1-", "a.", "Hospital ", "May ", "Dr. ", "A^", "+1 ", "St. ", "of the "])
def test_no_text_takes_forever(unit: str) -> None:
    assert find(unit * 20_000, LISTS) is not None  # with one search of it all some of these took minutes


@pytest.mark.parametrize(
    ("text", "names", "left"),
    [
        ("HIS WIFE HEMAL JYOTI ARYA CALLED ON 27 APRIL.", ["Arya^Maya"], "CALLED ON"),
        (
            "MRS. ALICIA P. DIE BONT WAS ACCOMPANIED BY HER SON.",
            ["Bont^Pleun", "Scott^Alicia"],
            "WAS ACCOMPANIED BY HER",
        ),
        ("mr. maya shanker reports increasing dyspnea.", ["Das^Maya"], "reports increasing dyspnea"),
        ("thank you for referring p.k. gonzalez.", [], "thank you for referring"),
        ("Results were called to Chelsea Day at 3 pm.", [], "at 3 pm"),
        ("NEXT OF KIN: COREY MAY, PHONE", ["Garrett^Corey"], "PHONE"),
        ("Biopsy performed by Dr. R.A. Mayoral showed benign tissue.", [], "showed benign tissue"),
        ("The patient, FLOOR VAN DE WETERINK, tolerated it well.", ["van de Weterink^Floor"], "tolerated it well"),
    ],
)
def test_a_name_takes_what_belongs_to_it_and_no_word_more(text: str, names: list[str], left: str) -> None:
    lists = Lists.of([(name, "name") for name in names])
    covered = bytearray(text.encode())
    for span in find(text, lists):
        covered[span.start : span.end] = b" " * (span.end - span.start)
    rest = covered.decode()
    assert left in rest
    for word in ("HEMAL", "JYOTI", "ARYA", "DIE", "BONT", "maya", "shanker", "p.k.", "gonzalez", "VAN", "DE WETERINK",
                 "Chelsea", "Day", "COREY", "MAY", "R.A.", "Mayoral"):  # fmt: skip
        assert f" {word}" not in f" {rest}".replace(left, "")


def test_two_general_words_name_a_hospital_and_one_does_not() -> None:
    found = find("COMPARED WITH THE MAMMOGRAM FROM WEST CHILDREN'S HOSPITAL.", Lists())
    assert [(s.kind, s.rule) for s in found] == [("hospital", "facility")]
    assert find("Transferred from the children's hospital.", Lists()) == []
