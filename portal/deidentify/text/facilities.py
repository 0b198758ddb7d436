"""Find hospitals, clinics and practices: what stands before (or behind) the word for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from portal.deidentify.text.lists import Span
from portal.deidentify.text.names import MODALS
from portal.deidentify.text.words import WORD, known_words

_FACILITY = (
    r"Hospitals?|Clinics?|Clinique|Klinik(?:um)?|Krankenhaus|Spital|Infirmary|Sanatorium|Hospice|Hôpital|"
    r"Medical (?:Cent(?:er|re)|Group|Associates|Campus|School|College|Foundation|Practice|Arts)|"
    r"Health (?:Cent(?:er|re)|System|Services|Network|Partners|Board|Trust)|Healthcare|"
    r"(?:Imaging|Cancer|Heart|Breast|Surgery|Surgical|Radiology|Diagnostic|Oncology|Trauma|Rehabilitation|Nursing|"
    r"Care|Treatment|Womens?|"
    r"Children'?s|Eye|Dialysis|Wellness) (?:Cent(?:er|re)|Institute|Associates|Clinic|Partners|Services|Group|Home)|"
    r"Urgent Care|Radiology|NHS (?:Foundation )?Trust|Institute|Polyclinic|Surgery Center|VAMC|Nursing Home"
)

_BEHIND = (
    r"Hospital of|Hospital for|Klinik(?:um)?|Krankenhaus|H[ôo]pital|Clinique|Spital|Hospices? (?:de|of)|"
    r"Institut\w* (?:of|de)"
)
_HEAD = re.compile(rf"\b(?:{_FACILITY})\b", re.IGNORECASE)
_FIRST = re.compile(rf"\b(?:{_BEHIND})\s+(?=\w)", re.IGNORECASE)
# Parts of a facility's name that do not tell which one it is.
_GENERAL = frozenset(
    """
    general memorial regional community university county district children's women's childrens womens veterans
    methodist baptist presbyterian lutheran adventist jewish catholic mercy sacred royal national state city central
    north south east west northern southern eastern western valley teaching medical college health infirmary of the
    and for at de la del an am im der breast imaging radiology urgent cancer surgery institute nursing home
    emergency department diagnostic services skilled rehabilitation oncology heart eye orthopedics orthopaedics
    surgical primary outpatient interventional chest neuro pediatric musculoskeletal body abdominal digital care
    center centre hospital hospitals clinic clinics our lady family vascular spine women's pain dental sleep wound
    fertility stroke referring outside local same previous prior this other another
    """.split()  # noqa: SIM905
)
_NOT_IN = frozenset(
    """
    outside local same previous prior this other another our referring from at to in by with
    """.split()  # noqa: SIM905
)
# Parts that make a name when two stand together: "West Children's Hospital" is one, "the children's hospital" none.
_TELLING = frozenset(
    """
    general memorial regional community university county district children's childrens veterans methodist baptist
    presbyterian lutheran adventist jewish catholic mercy sacred royal national state city central north south east
    west northern southern eastern western valley
    """.split()  # noqa: SIM905
)
_SMALL = frozenset(
    """
    of the and for at de la del des du an am im der & von
    """.split()  # noqa: SIM905
)
_SAINTS = frozenset(
    """
    st saint san santa mt mount fort ft lake new los las el port saints sts
    """.split()  # noqa: SIM905
)


def facilities(text: str, flat: bool) -> Iterator[Span]:
    """Facilities with a name of their own; "the hospital" and "breast imaging center" are none."""
    tokens = list(WORD.finditer(text))
    for head in _HEAD.finditer(text):
        if not flat and not head[0][0].isupper():
            continue
        start, named = _back(text, tokens, head.start(), flat)
        if named:
            end = _of_place(text, tokens, head.end(), flat)
            yield Span(start, end, "hospital", 0.9, "facility")
    for head in _FIRST.finditer(text):
        if (flat or head[0][0].isupper()) and (end := _forward(text, tokens, head.end(), flat)) > head.end():
            start, _ = _back(text, tokens, head.start(), flat)
            yield Span(start, end, "hospital", 0.9, "facility")


def _back(text: str, tokens: list[re.Match[str]], at: int, flat: bool) -> tuple[int, bool]:
    """(start, whether a name was among them) of the words that belong to the facility before `at`."""
    start, named, edge, telling = at, False, at, 0
    for token in reversed([t for t in tokens if t.end() <= at][-7:]):
        gap = text[token.end() : edge]
        low = token[0].lower().replace("’", "'")
        if not (re.fullmatch(r"[ \t]+|-| & |\n", gap) or (low in _SAINTS and gap == ". ")) or (
            "\n" in gap and not flat
        ):
            break
        if not _fits(token[0], low, flat):
            break
        edge = token.start()
        if low in _SMALL:
            continue
        start = token.start()
        named = named or low not in _GENERAL
        telling += low in _TELLING
    return start, named or telling > 1


def _fits(word: str, low: str, flat: bool) -> bool:
    words = known_words()
    if low in _NOT_IN:
        return False
    if low in _SMALL or low in _GENERAL:
        return flat or low in _SMALL or word[0].isupper()
    if flat:
        known = low.removesuffix("'s")
        return low in _SAINTS or (words.name(known) and known not in words.function) or not words.word(known)
    return word[0].isupper() and not (low in words.function and low not in _SAINTS | MODALS)


def _of_place(text: str, tokens: list[re.Match[str]], at: int, flat: bool) -> int:
    match = re.match(r"\s+(?:of|at|in)\s+(?:the\s+)?(?=\w)", text[at : at + 12], re.IGNORECASE)
    return _forward(text, tokens, at + match.end(), flat, at) if match else at


def _forward(text: str, tokens: list[re.Match[str]], at: int, flat: bool, default: int | None = None) -> int:
    """Where up to four words that can be a place's name end; `default` (or `at`) for none."""
    end, edge = at if default is None else default, at
    for token in [t for t in tokens if t.start() >= at][:4]:
        low = token[0].lower()
        if not re.fullmatch(r"[ \t]*|-|\. ", text[edge : token.start()]):
            break
        fits = not known_words().stays(low) and low not in known_words().function if flat else token[0][0].isupper()
        if not fits and low not in _SMALL | _SAINTS:
            break
        edge = token.end()
        if low not in _SMALL:
            end = edge
    return end
