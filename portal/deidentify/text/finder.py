"""Find identifiers in text: what this scan's lists say, what its form gives away, what its neighbours say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from portal.deidentify.text import names, patterns
from portal.deidentify.text.beside import grown
from portal.deidentify.text.dates import find_dates
from portal.deidentify.text.facilities import facilities
from portal.deidentify.text.listed import Matcher
from portal.deidentify.text.lists import Lists, Span
from portal.deidentify.text.words import known_words, words_of

PIECE = 3000  # characters that are searched at once
REST = 0.75  # certainty of a piece that is left of a find
JOINED = frozenset({"name", "doctor", "hospital", "address"})


@dataclass(frozen=True)
class Context:
    """Where a text stands.

    field  "report" for running text, "descriptor" for a short field of a header, "person" for a name's field
    place  where in an image, as words
    day    the study's day, by which dates without a year are read
    ocr    whether letters may be misread
    """

    field: str = "report"
    place: str = ""
    day: date | None = None
    ocr: bool = False


@lru_cache(maxsize=64)
def matcher(lists: Lists) -> Matcher:
    """The lists, made ready for searching."""
    return Matcher(lists)


def find(text: str, lists: Lists, context: Context = Context()) -> list[Span]:
    """Identifiers of a text from left to right, none over another; the surer, then the longer one wins."""
    if not any(c.isalnum() for c in text):
        return []
    if len(text) <= PIECE:
        return _find(text, lists, context)
    return [
        Span(start + s.start, start + s.end, s.kind, s.certainty, s.rule)
        for start, end in _pieces(text)
        for s in _find(text[start:end], lists, context)
    ]


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Parts of a long text, cut where a line, a sentence or a word ends: what a rule costs grows with the square."""
    at = 0
    while at < len(text):
        end = min(len(text), at + PIECE)
        if end < len(text):
            cuts = (text.rfind(mark, at + PIECE // 2, end) + len(mark) for mark in ("\n", ". ", " "))
            end = next((cut for cut in cuts if cut > at + PIECE // 2), end)
        yield at, end
        at = end


def _find(text: str, lists: Lists, context: Context) -> list[Span]:
    upper = text.upper() == text
    flat = upper or text.lower() == text
    listed = matcher(lists)
    found = [Span(d.start, d.end, "date", 0.95, f"date: {d.form}") for d in find_dates(text)]
    found += patterns.by_form(text, flat or context.ocr)
    found += facilities(text, flat or context.ocr)
    found += names.by_neighbours(text, context.field, upper)
    found += listed.spans(text, ocr=context.ocr)
    kept = [span for span in found if not listed.protected(text, span)]
    return grown(text, settle(text, kept), flat)


def settle(text: str, spans: list[Span]) -> list[Span]:
    """The surest, then the longest wins; of the others what it leaves uncovered still goes.

    Names that only blanks or an initial's dot separate become one.
    """
    chosen: list[Span] = []
    for span in sorted(spans, key=lambda s: (-s.certainty, s.start - s.end, s.start)):
        chosen += _uncovered(text, span, chosen)
    out: list[Span] = []
    for span in sorted(chosen):
        last = out[-1] if out else None
        if last and span.kind == last.kind and span.kind in JOINED and not text[last.end : span.start].strip(" .^-"):
            out[-1] = Span(last.start, span.end, last.kind, max(last.certainty, span.certainty), last.rule)
        else:
            out.append(span)
    return out


def _uncovered(text: str, span: Span, chosen: list[Span]) -> list[Span]:
    pieces = [(span.start, span.end)]
    for c in chosen:
        pieces = [
            piece
            for start, end in pieces
            for piece in ((start, min(end, c.start)), (max(start, c.end), end))
            if piece[0] < piece[1]
        ]
    if pieces == [(span.start, span.end)]:
        return [span]
    rest = min(span.certainty, REST)
    return [Span(s, e, span.kind, rest, span.rule) for s, e in pieces if _tells(text[s:e], span.kind)]


def _tells(piece: str, kind: str) -> bool:
    """Whether what another rule left of a find says anything by itself."""
    words = known_words()
    if kind in {"name", "doctor"}:
        left = [w.lower() for w in words_of(piece)]
        return any(len(w) == 1 or w in names.MODALS or w not in words.function for w in left)
    return any(c.isdigit() for c in piece) or any(
        w.lower() not in words.function and w.lower() not in words.medical for w in words_of(piece)
    )
