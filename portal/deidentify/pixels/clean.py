"""Find the identities in an instance's pixels and say what becomes of each line of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pydicom.dataset import Dataset

from portal.deidentify.pixels.cover import LOSSY, PIXEL_DATA, Paint, Region, covered, mark
from portal.deidentify.pixels.engine import ENGINE
from portal.deidentify.pixels.instance import Read, read
from portal.deidentify.pixels.match import Judge, Judged, judge_parts
from portal.deidentify.pixels.where import Box
from portal.deidentify.text import judge as judge_text
from portal.deidentify.text.dates import find_dates, moved, order_of
from portal.deidentify.text.lists import Lists
from portal.ingest.inspect import Opened

LABELS = {
    "name": "NAME", "doctor": "DOCTOR", "date": "DATE", "age": "AGE", "id": "ID", "accession": "ACC NO",
    "phone": "PHONE", "email": "EMAIL", "url": "URL", "address": "ADDRESS", "hospital": "HOSPITAL", "text": "TEXT",
}  # fmt: skip
PAD = 2  # pixels around a line, for what antialiasing left of its letters
CLEAR = 0.8  # recognition confidence below which letters are wrong too often to look for them elsewhere
CLEAN = ("113101", "Clean Pixel Data Option")  # PS3.16 CID 7050


@dataclass
class Looked:
    """What was found in an instance's pixels and what is covered."""

    judged: list[Judged]
    read: Read
    shape: tuple[int, int]

    @property
    def covered(self) -> list[Judged]:
        return [one for one in self.judged if one.covered]

    def without(self, boxes: Collection[Box]) -> Looked:
        """The same with fiducials at these places left away: a person said that nobody is named there."""
        dropped = set(boxes)
        return replace(self, judged=[j for j in self.judged if not j.covered or self.box(j) not in dropped])

    def box(self, one: Judged) -> Box:
        """The rectangle that covers a line."""
        return _padded(one.line.box, self.shape)

    def regions(self, days: int) -> list[Region]:
        """What to cover, in the order of `covered`; `days`: by which this patient's dates are moved."""
        return [Region(self.box(one), one.kind, label(one, days)) for one in self.covered]

    def report(self) -> dict[str, Any]:
        """What, where and by which rule, without a value; JSON."""
        boxes = [self.box(one) for one in self.covered]
        return {
            "engine": ENGINE,
            "shape": list(self.shape),
            "frames_read": len(self.read.looked),
            "changes_not_read": self.read.skipped,
            "covered": [
                {"box": list(box), "kind": one.kind, "rule": one.rule, "certainty": round(one.certainty, 2)}
                for one, box in zip(self.covered, boxes, strict=True)
            ],
            "kept": dict(Counter(one.what for one in self.judged if not one.covered and one.what != "noise")),
        }


def seen_in(found: Opened) -> Read | None:
    """Read what is written in an instance's pixels; None where it has none. Raises NotShown."""
    return read(found.stream, found.dataset) if found.pixels and found.pixels.tag == PIXEL_DATA else None


def texts(lines: Read | None) -> tuple[str, ...]:
    """What was read for certain enough to be searched for names that the header does not have."""
    return tuple(line.text for line in (lines.lines if lines else ()) if line.confidence >= CLEAR)


def judged(found: Opened, lines: Read | None, lists: Lists, judge: Judge = judge_text) -> Looked | None:
    """Say what each line is, by this scan's lists; None where nothing was read."""
    return None if lines is None else weigh(found, lines, lists, judge)


@contextmanager
def cleaned(found: Opened, looked: Looked | None, days: int, painted: Paint | None = None) -> Iterator[Opened]:
    """Give the instance with its identifying text covered, and say so in its (cleaned) header. Raises NotCovered.

    painted  gives the stored values of a frame that the text is covered on, where others than the file's
    """
    regions = looked.regions(days) if looked else []
    with covered(found, regions, painted) as clean_copy:
        if looked:
            mark(found.dataset, regions, kept_lossy=found.syntax in LOSSY)
            _state(found.dataset)
        yield clean_copy


def _state(dataset: Dataset) -> None:
    """Add the option to the codes of what was done (PS3.3 C.12.1, De-identification Method Code Sequence)."""
    codes = dataset.get("DeidentificationMethodCodeSequence")
    if codes is not None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CLEAN[0], "DCM", CLEAN[1]
        codes.append(item)


def weigh(found: Opened, lines: Read, lists: Lists, judge: Judge) -> Looked:
    """Judge every line that was read; lists: what is known of this scan, judge: see text.judge."""
    shape = (int(found.dataset.Rows), int(found.dataset.Columns))
    judged = []
    for line in lines.lines:
        parts = judge_parts(line, shape, lists, judge)
        judged += parts
        if line in lines.crops:  # a person sees the whole line
            lines.crops |= {part.line: lines.crops[line] for part in parts}
    return Looked(judged, lines, shape)


def label(one: Judged, days: int) -> str:
    """The words on a fiducial: the kind, or for a date the same date moved as the header's are."""
    if one.kind == "date":
        text = one.line.text
        near = date(2000, 1, 1)
        order = order_of(text, None)
        shifted = [moved(found, text, days, order, near) for found in find_dates(text) if _year(found.form)]
        if words := " ".join(day for day in shifted if day):
            return words
    return LABELS.get(one.kind, LABELS["text"])


def _year(form: str) -> bool:
    """Whether a form of date says its year: without one nothing can be moved rightly."""
    return form not in {"month day", "day month", "short", "year"}


def _padded(box: Box, shape: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    return max(0, x0 - PAD), max(0, y0 - PAD), min(shape[1], x1 + PAD), min(shape[0], y1 + PAD)
