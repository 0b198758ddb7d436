"""Text burnt into images: read, judged, covered. Works in the identity zone; see the app's README, "Pixels"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from portal.deidentify.pixels.clean import CLEAN, Looked, weigh
from portal.deidentify.pixels.cover import LOSSY, PIXEL_DATA, NotCovered, covered, mark
from portal.deidentify.pixels.instance import Read, read
from portal.deidentify.pixels.match import Judge
from portal.deidentify.pixels.reader import Line
from portal.deidentify.pixels.shown import NotShown
from portal.deidentify.text import Lists
from portal.deidentify.text import judge as judge_text
from portal.ingest.inspect import Opened
from portal.ingest.models import Source

CLEAR = 0.8  # recognition confidence below which letters are wrong too often to look for them elsewhere

__all__ = ["Line", "Looked", "NotCovered", "NotShown", "Read", "cleaned", "judged", "read", "seen", "texts"]


def seen(found: Opened, privacy: str) -> Read | None:
    """Read what is written in an instance's pixels, before its header is cleaned; None where there is nothing to read.

    Sources whose scans come de-identified are trusted in this as in their headers. Raises NotShown.
    """
    if privacy == Source.Privacy.DONE or found.pixels is None or found.pixels.tag != PIXEL_DATA:
        return None
    return read(found.stream, found.dataset)


def texts(lines: Read | None) -> tuple[str, ...]:
    """What was read for certain enough to be searched for names that the header does not have."""
    return tuple(line.text for line in (lines.lines if lines else ()) if line.confidence >= CLEAR)


def judged(found: Opened, lines: Read | None, lists: Lists, judge: Judge = judge_text) -> Looked | None:
    """Say what each line is, by this scan's lists; None where nothing was read."""
    return None if lines is None else weigh(found, lines, lists, judge)


@contextmanager
def cleaned(found: Opened, looked: Looked | None, days: int, painted: NDArray[Any] | None = None) -> Iterator[Opened]:
    """Give the instance with its identifying text covered, and say so in its (cleaned) header. Raises NotCovered.

    painted  the stored values that the text is covered on, where others than the file's
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
