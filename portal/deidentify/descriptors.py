"""Second pass over header texts: what stays of a descriptor, a comment, a text of a content tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from portal.deidentify.text import Context, Lists, find
from portal.deidentify.text.lists import MARKERS, Span
from portal.deidentify.text.passes import Redacted, redact
from portal.deidentify.text.words import known_words

LENGTHS = {"SH": 16, "LO": 64, "ST": 1024, "LT": 10240}  # PS3.5 table 6.2-1, characters
MARKED = frozenset({"LO", "UC", "ST", "LT", "UT"})  # representations long enough for a marker
_MARKER = re.compile("|".join(re.escape(m) for m in MARKERS.values()))
_PART = re.compile(r"%[A-Z ]+%|\d[\d./:-]*\d|[^\W_]+(?:'[^\W\d_]+)?|[\W_]")
_DATE = re.compile(r"(?:19|20)\d\d[-/.]?\d\d?[-/.]?\d\d?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d\d){1,2}|(?:19|20)\d\d")
_MEASURE = re.compile(r"\d{1,3}(?:[.,:x/-]\d{1,3}){0,3}")
_CODE = re.compile(r"[A-Za-z]{1,4}\d{1,3}[A-Za-z]{0,2}|\d{1,3}[A-Za-z]{1,3}")
_ABBREVIATION = re.compile(r"[bcdfghjklmnpqrstvwxzBCDFGHJKLMNPQRSTVWXZ]{1,4}")  # no vowel: nobody's name


SURE_RULES = frozenset(
    {"title", "label", "credentials", "caret", "e-mail address", "labelled number", "telephone number"}
)


@dataclass
class Cleaner:
    """Cleans the texts of one data set with its lists; counts what was found, by kind and rule."""

    lists: Lists
    days: int | None
    day: date | None
    found: list[tuple[str, str]] = field(default_factory=list)

    def descriptor(self, value: str, vr: str) -> str:
        """A short text: identifiers become markers, then only words that can name nobody stay."""
        done = _redacted(value, self.lists, Context(field="descriptor", day=self.day), self.days)
        self.found += done.done
        kept = known_only(done.text)
        if vr not in MARKED:
            kept = re.sub(r"\s+", " ", _MARKER.sub("", kept)).strip()
        return fit(kept, vr)

    def free_text(self, value: str, vr: str) -> str:
        """A comment or a report: identifiers become markers, dates are moved, all else stays."""
        done = _redacted(value, self.lists, Context(field="report", day=self.day), self.days)
        self.found += done.done
        return fit(done.text, vr)

    def swept(self, value: str) -> str:
        """A value that is kept: what the lists name goes, and what is sure to identify."""
        spans = [s for s in _spans(value, self.lists) if s.rule.startswith("listed") or s.rule in SURE_RULES]
        if not spans:
            return value
        self.found += [(s.kind, s.rule) for s in spans]
        out, at = "", 0
        for s in spans:
            out, at = out + value[at : s.start], s.end
        return re.sub(r"\s{2,}", " ", out + value[at:]).strip()


@lru_cache(maxsize=4096)
def _redacted(value: str, lists: Lists, context: Context, days: int | None) -> Redacted:
    return redact(value, lists, context, days)


@lru_cache(maxsize=4096)
def _spans(value: str, lists: Lists) -> tuple[Span, ...]:
    return tuple(find(value, lists, Context(field="code")))


@lru_cache(maxsize=4096)
def known_only(text: str) -> str:
    """A descriptor without the words that might name someone: names, unknown words, long numbers."""
    words = known_words()
    kept: list[str] = []
    for part in _PART.findall(text.replace("_", " ")):
        low = part.lower()
        if (
            part in MARKERS.values()
            or words.stays(low)
            or _MEASURE.fullmatch(part)
            or _DATE.fullmatch(part)
            or (_CODE.fullmatch(part) and not words.name(low))
            or (_ABBREVIATION.fullmatch(part) and not words.name(low))
            or (not part.isalnum() and (part.isspace() or part in "-/,.+()&:*=<>[]'"))
            or (len(part) == 1 and part.isalpha())
        ):
            kept.append(part)
    out = re.sub(r"\s+", " ", "".join(kept)).strip(" -/,.+&:")
    return out if any(c.isalnum() for c in out) else ""


def fit(text: str, vr: str) -> str:
    """The text cut to what its value representation holds, without half a marker."""
    limit = LENGTHS.get(vr)
    if limit is None or len(text) <= limit:
        return text
    cut = text[:limit]
    for match in _MARKER.finditer(text):
        if match.start() < limit < match.end():
            cut = text[: match.start()]
    return cut.rstrip()
