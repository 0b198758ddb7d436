"""Who may call from where, what a standing query wants, and letters between the zones."""

from __future__ import annotations

import fnmatch
import ipaddress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.core import letters as sealed
from portal.peers.rules import PAUSES, date_range, earlier_studies, fits, from_allowed, networks, wanted_studies
from portal.peers.wire import Slots


@pytest.mark.parametrize(
    ("address", "allowed", "may"),
    [
        ("10.1.2.3", [], True),
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.2.2.3", ["10.1.0.0/16", "10.2.2.3"], True),
        ("10.2.2.4", ["10.1.0.0/16", "10.2.2.3"], False),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("fd00::7", ["fd00::/8"], True),
        ("fd00::7%eth0", ["fd00::/8"], True),
        ("10.1.2.3", ["fd00::/8"], False),
        ("a name", ["0.0.0.0/0"], False),
    ],
)
def test_addresses(address: str, allowed: list[str], may: bool) -> None:
    assert from_allowed(address, allowed) is may


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_holds_its_own_addresses(address: ipaddress.IPv4Address, bits: int) -> None:
    (net,) = networks([f"{address}/{bits}"])
    assert from_allowed(str(address), [str(net)])


def test_what_is_no_network() -> None:
    with pytest.raises(ValueError, match="neither"):
        networks(["10.0.0.0/8", "10.0.0.300"])


@given(st.text("ab*?", max_size=8), st.text("abAB", max_size=8))
def test_wildcards_are_those_of_the_shell(pattern: str, text: str) -> None:
    assert fits(pattern, text) is fnmatch.fnmatchcase(text.lower(), pattern.lower())


STUDIES = [
    {"StudyDate": "20240101", "ModalitiesInStudy": "CT", "StudyDescription": "Thorax"},
    {"StudyDate": "20240301", "ModalitiesInStudy": "MR\\SR", "StudyDescription": "Head"},
    {"StudyDate": "20240201", "ModalitiesInStudy": "", "StudyDescription": "thorax low dose"},
    {"StudyDate": "", "ModalitiesInStudy": "CT", "StudyDescription": "Thorax"},
]


def test_wanted_and_earlier_studies() -> None:
    assert [n for n, _ in wanted_studies(STUDIES, ["CT"], "", 9)] == [2, 0, 3]
    assert [n for n, _ in wanted_studies(STUDIES, ["MR"], "", 1)] == [1]
    assert [n for n, _ in wanted_studies(STUDIES, [], "thorax*", 9)] == [2, 0, 3]
    assert [n for n, _ in earlier_studies(STUDIES, "20240201", ["CT"], 9)] == [0]
    assert [n for n, _ in earlier_studies(STUDIES, "", ["CT"], 1)] == [2]
    assert date_range(date(2024, 3, 1), 1) == "20240229-"
    pauses = [PAUSES.after(n) for n in (1, 2, 3, 6)]
    assert [pause and pause.total_seconds() / 60 for pause in pauses] == [1, 2, 4, None]


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=30), max_size=4))
def test_a_letter_opens_for_its_reader_and_its_matter(content: dict[str, str]) -> None:
    private, public = sealed.new_key()
    letter = sealed.seal(content, public, "query 1")
    assert sealed.unseal(letter, private, "query 1") == content
    for key, about, text in (
        (sealed.new_key()[0], "query 1", letter),
        (private, "query 2", letter),
        (private, "query 1", letter[:-1]),
        (private, "query 1", bytes([letter[0] ^ 1]) + letter[1:]),
    ):
        with pytest.raises(sealed.Unreadable):
            sealed.unseal(text, key, about)


def test_places_are_counted_and_come_back(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "slots")
    held = [slots.take("peer-1", 2), slots.take("peer-1", 2)]
    assert None not in held and slots.take("peer-1", 2) is None and slots.take("peer-2", 1) is not None
    Slots.give(held[0])  # type: ignore[arg-type]
    assert slots.take("peer-1", 2) is not None
