"""What a line of text in an image is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from portal.deidentify.pixels import terms
from portal.deidentify.pixels.reader import Line
from portal.deidentify.text.lists import Lists

SURE = 0.7  # of a verdict that something stays, or that a value of this patient was read
ASK = 0.75  # of a verdict; what is less certain than this is covered, and a person decides
READ = 0.55  # of the recogniser; what is read worse is nobody's word
NUMBER = 5  # digits: so many that are no technique are nobody's word either
NOISE = 0.35  # of the recogniser; below it the strokes are no letters


class Verdict(Protocol):
    """See portal.deidentify.text.lists.Verdict."""

    @property
    def kind(self) -> str | None: ...
    @property
    def certainty(self) -> float: ...
    @property
    def rule(self) -> str: ...


Judge = Callable[[str, Lists, str], Verdict]


@dataclass(frozen=True)
class Judged:
    """A line and what it is.

    what   identifier, technical, laterality, term (words that stay), unknown, noise
    kind   of an identifier: name, date, id, …; "text" for what is unknown
    """

    line: Line
    what: str
    kind: str
    certainty: float
    rule: str

    @property
    def covered(self) -> bool:
        return self.what in {"identifier", "unknown"}

    @property
    def uncertain(self) -> bool:
        return self.what == "unknown" or (self.what == "identifier" and self.certainty < ASK)


def judge_line(line: Line, shape: tuple[int, int], lists: Lists, judge: Judge) -> Judged:
    """Say what a line is.

    The patient's own values go first, whatever else they spell. Then markers of side and technique stay; then what
    the judge takes for an identifier goes. What nobody knows is covered until a person has decided.
    """
    text = line.text
    alphanumeric = sum(c.isalnum() for c in text)
    if not alphanumeric or line.confidence < NOISE:
        return Judged(line, "noise", "", 1 - line.confidence, "no letters")
    verdict = judge(text, lists, place_of(line, shape))
    if verdict.kind and verdict.rule.startswith("listed") and verdict.certainty >= SURE and alphanumeric > 1:
        return Judged(line, "identifier", verdict.kind, verdict.certainty, verdict.rule)
    if terms.laterality(text):
        return Judged(line, "laterality", "", 0.95, "marker")
    if kind := _initials(text, lists):
        return Judged(line, "identifier", kind, SURE, "initials")
    if terms.doctor_follows(text):
        return Judged(line, "identifier", "doctor", SURE, "title before letters")
    if terms.technical(text) and not (verdict.kind == "date" and verdict.certainty >= SURE):
        return Judged(line, "technical", "", 0.9, "technique")
    if alphanumeric == 1 or (alphanumeric == 2 and line.confidence < SURE):
        return Judged(line, "noise", "", 0.7, "single sign")
    if verdict.kind:
        return Judged(line, "identifier", verdict.kind, verdict.certainty, verdict.rule)
    if terms.person_follows(text):
        return Judged(line, "identifier", "doctor", 0.8, "title before a word")
    if terms.place(text):
        return Judged(line, "identifier", "hospital", ASK, "word for a house")
    if terms.moment(text):
        return Judged(line, "identifier", "date", 0.8, "misread date")
    if verdict.certainty >= SURE and line.confidence >= READ and sum(c.isdigit() for c in text) < NUMBER:
        return Judged(line, "term", "", verdict.certainty, verdict.rule)
    return Judged(line, "unknown", "text", verdict.certainty, verdict.rule)


def _initials(text: str, lists: Lists) -> str:
    """The kind of person of this scan's lists whose name is two or three letters and all of a line, else nothing."""
    whole = text.strip()
    if not (whole.isalpha() and whole.isupper() and 2 <= len(whole) <= 3):
        return ""
    kinds = {term.kind for term in lists.black if term.text == whole.casefold()}
    return min(kinds & {"doctor", "name"}, default="")


def judge_parts(line: Line, shape: tuple[int, int], lists: Lists, judge: Judge) -> list[Judged]:
    """Say what a line is; technique at its ends is judged apart from an identity it stands beside.

    Only values with their words or units ("kVp 28") are taken off: a single word of technique may be a name.
    """
    whole = judge_line(line, shape, lists, judge)
    words = line.text.split()
    if not whole.covered or len(line.cuts) != len(words) + 1:
        return [whole]
    first, last = 0, len(words)
    while last - first > 1 and (n := _measured(words[first:last], -1)):
        last -= n
    while last - first > 1 and (n := _measured(words[first:last], 1)):
        first += n
    if (first, last) == (0, len(words)):
        return [whole]
    rest = judge_line(_part(line, words, first, last), shape, lists, judge)
    ends = [_part(line, words, *span) for span in ((0, first), (last, len(words))) if span[0] < span[1]]
    judged = [judge_line(part, shape, lists, judge) for part in ends]
    if not rest.covered or any(one.covered for one in judged):
        return [whole]
    return sorted([rest, *judged], key=lambda one: line.text.find(one.line.text))


def _measured(words: list[str], step: int) -> int:
    """How many words at an end (step -1: the last ones) are one value of technique, not all of them; 0 if none."""
    for count in range(min(3, len(words) - 1), 0, -1):
        if terms.measured(" ".join(words[-count:] if step < 0 else words[:count])):
            return count
    return 0


def _part(line: Line, words: list[str], first: int, last: int) -> Line:
    """Words first to last (not included) of a line, which ends in the middle of the gaps."""
    low, high = sorted((line.cuts[first], line.cuts[last]))
    x0, y0, x1, y1 = line.box
    box = (low, y0, high, y1) if x1 - x0 >= y1 - y0 else (x0, low, x1, high)
    return Line(line.frame, box, " ".join(words[first:last]), line.confidence, line.cuts[first : last + 1])


def place_of(line: Line, shape: tuple[int, int]) -> str:
    """Where a line stands, in words: a corner, a border, or nothing."""
    x = (line.box[0] + line.box[2]) / 2 / shape[1]
    y = (line.box[1] + line.box[3]) / 2 / shape[0]
    down = "top" if y < 0.15 else "bottom" if y > 0.85 else ""
    across = "left" if x < 0.2 else "right" if x > 0.8 else ""
    return f"{down} {across}".strip()
