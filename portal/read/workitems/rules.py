"""What a work item is called, and what its states and priorities are in DICOM's words. Pure functions."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta, timezone

from portal.archive.matching import bad

SOP_CLASS = "1.2.840.10008.5.1.4.34.6.1"  # Unified Procedure Step - Push
SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
STATES = {"offered": SCHEDULED, "claimed": IN_PROGRESS, "submitted": COMPLETED, "cancelled": CANCELED}
READY = "READY"
HIGH, MEDIUM, LOW = "HIGH", "MEDIUM", "LOW"
# the lowest of the portal's priorities (0 to 10) that is called so; the archive gives 7 for HIGH and 3 for MEDIUM
PRIORITIES = {HIGH: 7, MEDIUM: 3, LOW: 0}
# a second reading is called a reading: its name alone would say that the first reader and the model differ
LABELS = {"first": "Reading", "second": "Reading", "arbitration": "Arbitration"}
WORKITEM_CODE = ("110005", "DCM", "Interpretation")  # CID 9231
MAX_ROUND = 0xFFFF
DT = r"\d{4}(?:\d{2}){0,5}(?:\.\d{1,6})?(?:[+-]\d{4})?"


def uid_of(assignment: uuid.UUID, number: int) -> str:
    """SOP Instance UID of the round `number` of an assignment: derived by PS3.5 B.2 from the assignment's own UUID.

    The lowest 16 bits, which are random in it, are mixed with the number, so that each UID leads back to both.
    """
    return f"2.25.{assignment.int ^ number}"


def place_of(uid: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The first and the last UUID that the assignment of a work item may have; None for what is no such UID."""
    found = re.fullmatch(r"2\.25\.(0|[1-9]\d{0,38})", uid)
    number = int(found[1]) if found else 1 << 128
    if number >> 128:
        return None
    first = number & ~MAX_ROUND
    return uuid.UUID(int=first), uuid.UUID(int=first | MAX_ROUND)


def round_of(uid: str, assignment: uuid.UUID) -> int:
    """Which round of the assignment a UID names, when `place_of` leads to it."""
    return int(uid.rpartition(".")[2]) ^ assignment.int


def priority_of(number: int) -> str:
    """HIGH, MEDIUM or LOW for a priority of the portal."""
    return next(word for word, least in PRIORITIES.items() if number >= least or word == LOW)


def dt(moment: datetime) -> str:
    """A moment as DT, in UTC."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def moments(value: str) -> tuple[datetime | None, datetime | None]:
    """First and last moment (inclusive) of a DT value or range a-b, a-, -b; UTC where no offset is given.

    A value of less precision stands for all it may mean: 2026 is that year. What reads as a single value with an
    offset is one (PS3.5 table 6.2-1, DT). Raises Refused (400).
    """
    if _single(value):
        return _span(value)
    found = re.fullmatch(f"({DT})?-({DT})?", value)
    if not found or not (found[1] or found[2]):
        raise bad(f"{value[:40]} is no date and time (YYYYMMDDHHMMSS).")
    return _span(found[1])[0] if found[1] else None, _span(found[2])[1] if found[2] else None


def _single(value: str) -> bool:
    found = re.fullmatch(DT, value)
    offset = re.search(r"[+-](\d{2})\d{2}$", value)
    return bool(found) and (not offset or int(offset[1]) <= 14)


PARTS = re.compile(
    r"(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:\.(\d{1,6}))?(?:([+-])(\d{2})(\d{2}))?"  # Y M D H M S . offset
)


def _span(value: str) -> tuple[datetime, datetime]:
    found = PARTS.fullmatch(value)
    if not found:
        raise bad(f"{value[:40]} is no date and time (YYYYMMDDHHMMSS).")
    year, *given = (None if part is None else int(part) for part in found.groups()[:6])
    month, day, hour, minute, second = (
        low if part is None else part for part, low in zip(given, (1, 1, 0, 0, 0), strict=True)
    )
    shift = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    zone = timezone(-shift if found[8] == "-" else shift)
    micro = int((found[7] or "0").ljust(6, "0"))
    try:
        first = datetime(year or 0, month, day, hour, minute, second, micro, zone)
        return first, _end(first, sum(part is not None for part in given), found[7])
    except (ValueError, OverflowError):
        raise bad(f"{value[:40]} is no date and time (YYYYMMDDHHMMSS).") from None


def _end(first: datetime, known: int, fraction: str | None) -> datetime:
    """The last microsecond of what a value may mean that names `known` parts after the year."""
    if known == 0:
        after = first.replace(year=first.year + 1)
    elif known == 1:
        after = (first + timedelta(days=31)).replace(day=1)
    elif known < 5:
        after = first + {2: timedelta(days=1), 3: timedelta(hours=1), 4: timedelta(minutes=1)}[known]
    else:
        after = first + timedelta(microseconds=10 ** (6 - len(fraction or "")))
    return after - timedelta(microseconds=1)
