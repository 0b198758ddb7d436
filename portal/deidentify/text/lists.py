"""Terms that go, terms that stay, terms that context decides: for one scan, or for a whole organisation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# What an identifier can be, and the text that stands in its place (seed 001, FIG. 10A: global text fiducials).
MARKERS: Mapping[str, str] = {
    "name": "%PATIENT NAME%",
    "doctor": "%DOCTOR%",
    "date": "%DATE%",
    "age": "%AGE%",
    "id": "%ID%",
    "accession": "%ACCESSION%",
    "phone": "%PHONE%",
    "email": "%EMAIL%",
    "url": "%URL%",
    "address": "%ADDRESS%",
    "hospital": "%HOSPITAL%",
}
KINDS = frozenset(MARKERS)


def normal(text: str) -> str:
    """The form in which terms are compared: composed, without case, marks and outer signs, single spaces."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace("’", "'")
    return re.sub(r"\s+", " ", plain).strip(" \t.,;:^()[]\"'")


@dataclass(frozen=True, order=True)
class Term:
    """One identifier: its normal form and its kind."""

    text: str
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no kind of identifier: {self.kind}")


@dataclass(frozen=True)
class Lists:
    """What is known about the terms of one scan and its report.

    black  identifiers with their kind
    white  terms that stay, normal form
    grey   terms that are either, decided by what stands beside them, the field and the place
    """

    black: frozenset[Term] = frozenset()
    white: frozenset[str] = frozenset()
    grey: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        black: Iterable[tuple[str, str]] = (),
        white: Iterable[str] = (),
        grey: Iterable[str] = (),
    ) -> Lists:
        """Lists of (text, kind) pairs and texts in any form; what is empty in normal form is left out."""
        terms = frozenset(Term(text, kind) for raw, kind in black if (text := normal(raw)))
        return cls(
            terms, frozenset(t for w in white if (t := normal(w))), frozenset(t for g in grey if (t := normal(g)))
        )

    def __or__(self, other: Lists) -> Lists:
        """The union of two scans' (or passes') lists; a term of both black and white is grey as well."""
        black, white = self.black | other.black, self.white | other.white
        both = {term.text for term in black} & white
        return Lists(black, white, self.grey | other.grey | both)


@dataclass(frozen=True, order=True)
class Span:
    """A found identifier: text[start:end], its kind, how sure (0 to 1), and the rule that found it."""

    start: int
    end: int
    kind: str
    certainty: float
    rule: str


@dataclass(frozen=True)
class Verdict:
    """What one line of text is.

    kind       the kind of identifier in it, None for a line that stays
    certainty  0 to 1 for the verdict as it stands; below SURE a person should look
    rule       name of the rule that decided
    """

    kind: str | None
    certainty: float
    rule: str

    @property
    def sure(self) -> bool:
        return self.certainty >= SURE


SURE = 0.7
