"""Who may call, which of a peer's studies are wanted, when it is tried again. Pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta

from portal.core.pauses import Pauses

PAUSES = Pauses(timedelta(minutes=1), timedelta(hours=1), 6)  # after a failed fetch, delivery or commitment
Answer = Mapping[str, str]  # keyword → value of a peer's answer

# Results of a refused association: (result, source, diagnostic) of PS3.8 table 9-21
UNKNOWN_CALLER = (1, 1, 3)
UNKNOWN_CALLED = (1, 1, 7)
NO_REASON = (1, 1, 1)
BUSY = (2, 3, 1)  # transient, presentation related: temporary congestion
FULL = (2, 3, 2)  # transient: local limit exceeded


def networks(texts: Iterable[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks and single addresses (10.0.0.0/8, 192.168.1.7, fd00::/8). Raises ValueError with the bad one."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError(f"{text.strip()[:43]} is neither an address nor a network.") from None
    return found


def from_allowed(address: str, allowed: Sequence[str]) -> bool:
    """Whether a caller's address lies in one of the networks; no networks allow every address."""
    if not allowed:
        return True
    try:
        caller = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped:
        caller = caller.ipv4_mapped
    return any(caller.version == one.version and caller in one for one in networks(allowed))


def fits(pattern: str, text: str) -> bool:
    """DICOM wildcard matching without regard to case: `*` any text, `?` one character."""
    rows = [True] + [False] * len(text)
    for mark in pattern.casefold():
        if mark == "*":
            for i in range(1, len(rows)):
                rows[i] = rows[i] or rows[i - 1]
        else:
            new = [mark in ("?", letter) for letter in text.casefold()]
            rows = [False] + [rows[i] and ok for i, ok in enumerate(new)]
    return rows[-1]


def wanted_studies(
    answers: Iterable[Answer], modalities: Collection[str], description: str, most: int
) -> list[tuple[int, Answer]]:
    """(number, answer) of the studies that a standing query wants, newest first, at most so many.

    A peer may ignore a key that it does not know (PS3.4 C.2.2.1.3), so all of them are looked at again here.
    """
    found = []
    for number, answer in enumerate(answers):
        there = {m.strip() for m in answer.get("ModalitiesInStudy", "").split("\\") if m.strip()}
        if modalities and there and not there & set(modalities):
            continue
        if description and not fits(description, answer.get("StudyDescription", "")):
            continue
        found.append((number, answer))
    found.sort(key=lambda one: one[1].get("StudyDate", ""), reverse=True)
    return found[:most]


def earlier_studies(
    answers: Iterable[Answer], before: str, modalities: Collection[str], most: int
) -> list[tuple[int, Answer]]:
    """(number, answer) of studies from before a day (YYYYMMDD) that share a modality, newest first, at most so many."""
    found = [
        (number, answer)
        for number, answer in wanted_studies(answers, modalities, "", 10_000)
        if answer.get("StudyDate", "") and (not before or answer["StudyDate"] < before)
    ]
    return found[:most]


def date_range(today: date, days_back: int) -> str:
    """DICOM range of dates from so many days ago on."""
    return f"{today - timedelta(days=days_back):%Y%m%d}-"
