"""Text burnt into images: read, judged, covered. Works in the identity zone; see the app's README, "Pixels"."""

from __future__ import annotations

from portal.deidentify.pixels.clean import Looked, cleaned, judged, seen_in, texts
from portal.deidentify.pixels.cover import NotCovered
from portal.deidentify.pixels.instance import Read
from portal.deidentify.pixels.reader import Line
from portal.deidentify.pixels.shown import NotShown
from portal.ingest.inspect import Opened
from portal.ingest.models import Source

__all__ = ["Line", "Looked", "NotCovered", "NotShown", "Read", "cleaned", "judged", "seen", "texts"]


def seen(found: Opened, privacy: str) -> Read | None:
    """Read what is written in an instance's pixels, before its header is cleaned; None where there is nothing to read.

    Sources whose scans come de-identified are trusted in this as in their headers. Raises NotShown.
    """
    return None if privacy == Source.Privacy.DONE else seen_in(found)
