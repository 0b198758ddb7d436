"""The two passes: what is found anywhere goes everywhere (seed 001, FIG. 10A)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from portal.deidentify.text.dates import Found, find_dates, moved, order_of
from portal.deidentify.text.finder import Context, find
from portal.deidentify.text.lists import MARKERS, Lists, Span
from portal.deidentify.text.words import known_words, words_of

LEARNT_FROM = 0.8  # what is less sure in one place is not looked for in others
AGE_CAP = "89"


def learn(texts: Iterable[tuple[str, Context]], lists: Lists) -> Lists:
    """First pass: this scan's lists with what every text gives away added.

    A name that is found after a title or a label goes wherever it stands, here and in the other texts. A name's
    words that are everyday words are learnt too, as grey terms: context decides where they stand alone.
    """
    black: list[tuple[str, str]] = []
    grey: set[str] = set()
    words = known_words()
    for text, context in texts:
        for span in find(text, lists, context):
            if span.certainty < LEARNT_FROM or span.kind in {"date", "age", "phone", "url"}:
                continue
            found = text[span.start : span.end]
            if span.kind in {"name", "doctor"}:
                parts = [w.lower().removesuffix("'s") for w in words_of(found)]
                grey |= {w for w in parts if words.word(w)}
                black += [
                    (w, span.kind) for w in parts if len(w) >= 3 and w not in words.function and not words.stays(w)
                ]
            else:
                black.append((found, span.kind))
    mine = {w for term in lists.black for w in words_of(term.text)}
    return lists | Lists.of(black, grey=grey - mine)


@dataclass(frozen=True)
class Redacted:
    """A text without identifiers, and what was done: (kind, rule) for each, without values."""

    text: str
    done: tuple[tuple[str, str], ...]
    unsure: int = 0


def redact(text: str, lists: Lists, context: Context, days: int | None) -> Redacted:
    """Second pass: the text with a marker for each identifier and every date moved by `days` in its own format.

    A birth date, and every date when `days` is None, becomes a marker; an age over 89 becomes 89.
    """
    spans = find(text, lists, context)
    if not spans:
        return Redacted(text, ())
    dates = {(d.start, d.end): d for d in find_dates(text)}
    near = context.day or date(2000, 1, 1)
    order = order_of(text, context.day) if dates else "mdy"
    out, at = [], 0
    for span in spans:
        out += [text[at : span.start], _instead(text, span, dates.get((span.start, span.end)), days, order, near)]
        at = span.end
    return Redacted("".join(out) + text[at:], tuple((s.kind, s.rule) for s in spans))


def _instead(text: str, span: Span, day: Found | None, days: int | None, order: str, near: date) -> str:
    if span.kind == "age":
        return AGE_CAP
    birth = span.rule == "listed" or (day is not None and day.born)
    if day is not None and days is not None and not birth and (new := moved(day, text, days, order, near)):
        return new
    tail = text[span.start : span.end]
    return MARKERS[span.kind] + (tail[-2:] if tail.endswith(("'s", "’s")) else "")
