"""Names, states and times of work items."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from pydicom.uid import UID

from portal.core.errors import Refused
from portal.read.workitems import rules


def test_a_uid_leads_back_to_its_assignment_and_round() -> None:
    # PS3.5 B.2's example: the UUID f81d4fae-7dec-11d0-a765-00a0c91e6bf6 as UID
    example = uuid.UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
    assert rules.uid_of(example, 0) == "2.25.329800735698586629295641978511506172918"
    seen = set()
    for number in (0, 1, 2, 255, 32767):
        uid = rules.uid_of(example, number)
        assert UID(uid).is_valid
        first, last = rules.place_of(uid) or (example, example)
        assert first <= example <= last and rules.round_of(uid, example) == number
        seen.add(uid)
    assert len(seen) == 5
    for wrong in ("", "1.2.3", "2.25.", "2.25.01", "2.25.-1", f"2.25.{1 << 128}", "2.25.1.2", "2.25.1 "):
        assert rules.place_of(wrong) is None


def test_priorities() -> None:
    assert [rules.priority_of(n) for n in (0, 2, 3, 6, 7, 10)] == ["LOW", "LOW", "MEDIUM", "MEDIUM", "HIGH", "HIGH"]


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("2026", at(2026, 1, 1), at(2026, 12, 31, 23, 59, 59, 999999)),
        ("202402", at(2024, 2, 1), at(2024, 2, 29, 23, 59, 59, 999999)),
        ("202612", at(2026, 12, 1), at(2026, 12, 31, 23, 59, 59, 999999)),
        ("20261121", at(2026, 11, 21), at(2026, 11, 21, 23, 59, 59, 999999)),
        ("2026112109", at(2026, 11, 21, 9), at(2026, 11, 21, 9, 59, 59, 999999)),
        ("202611210930", at(2026, 11, 21, 9, 30), at(2026, 11, 21, 9, 30, 59, 999999)),
        ("20261121093015", at(2026, 11, 21, 9, 30, 15), at(2026, 11, 21, 9, 30, 15, 999999)),
        ("20261121093015.25", at(2026, 11, 21, 9, 30, 15, 250000), at(2026, 11, 21, 9, 30, 15, 259999)),
        ("20261121093015+0100", at(2026, 11, 21, 8, 30, 15), at(2026, 11, 21, 8, 30, 15, 999999)),
        ("20261121093015-0500", at(2026, 11, 21, 14, 30, 15), at(2026, 11, 21, 14, 30, 15, 999999)),
        ("20261120-20261121", at(2026, 11, 20), at(2026, 11, 21, 23, 59, 59, 999999)),
        ("20261121-", at(2026, 11, 21), None),
        ("-2025", None, at(2025, 12, 31, 23, 59, 59, 999999)),
        ("2024-2026", at(2024, 1, 1), at(2026, 12, 31, 23, 59, 59, 999999)),
        ("20261121-0100-20261122-0100", at(2026, 11, 21, 1), at(2026, 11, 23, 0, 59, 59, 999999)),
    ],
)
def test_moments(value: str, first: datetime | None, last: datetime | None) -> None:
    assert rules.moments(value) == (first, last)


@pytest.mark.parametrize("value", ["", "-", "26", "20261301", "20261121250000", "2026112", "x", "20260000", "9999-x"])
def test_no_moments(value: str) -> None:
    with pytest.raises(Refused):
        rules.moments(value)
