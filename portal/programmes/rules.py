"""Who may read which assignment, and which comes next. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

KIND_ORDER = {"arbitration": 0, "second": 1, "first": 2}


@dataclass(frozen=True)
class Offer:
    """An assignment that waits for a reader."""

    key: str
    kind: str
    case: int
    programme: int
    priority: int
    age_seconds: float
    reader: int | None = None  # pushed to this one


@dataclass(frozen=True)
class Reader:
    """What decides whether a reader may take an offer.

    parts        (programme, part) of the panels in which the reader is available
    qualified    programmes whose qualification the reader holds
    cases        cases that are, or were, the reader's: pushed to them, in reading, submitted
    full         programmes in which the reader's quota of open assignments is used up
    organisations  those of the panels
    """

    key: int
    parts: frozenset[tuple[int, str]]
    qualified: frozenset[int]
    cases: frozenset[int]
    full: frozenset[int]
    organisations: frozenset[int] = frozenset()


def part_for(kind: str) -> str:
    """The part of the panel to which a kind of assignment goes."""
    return "arbiter" if kind == "arbitration" else "reader"


def open_programmes(reader: Reader, kind: str) -> frozenset[int]:
    """Programmes in which the reader may take an assignment of this kind now: right part, qualified, under quota."""
    part = part_for(kind)
    return frozenset(
        programme
        for programme, held in reader.parts
        if held == part and programme not in reader.full and (kind == "arbitration" or programme in reader.qualified)
    )


def eligible(reader: Reader, offer: Offer) -> bool:
    """A panel member with the right part, qualified, under quota, and not yet a reader of the case by another offer."""
    if offer.programme not in open_programmes(reader, offer.kind):
        return False
    if offer.reader is not None:
        return offer.reader == reader.key  # pushed; nobody holds two assignments of one case
    return offer.case not in reader.cases


def in_order(offers: Iterable[Offer]) -> list[Offer]:
    """Arbitrations, then second readings, then first ones; within these by priority, then the oldest."""
    return sorted(offers, key=lambda o: (KIND_ORDER.get(o.kind, 9), -o.priority, -o.age_seconds, o.key))


def next_for(reader: Reader, offers: Iterable[Offer]) -> list[Offer]:
    """The offers that the reader may take, the best first."""
    return in_order(offer for offer in offers if eligible(reader, offer))


def belongs(modalities: Collection[str], body_part: str, wanted: Collection[str], parts: Collection[str]) -> bool:
    """Whether a study belongs to a programme's cohort; a study that names no body part fits by modality."""
    if not set(modalities) & set(wanted):
        return False
    return not parts or not body_part or body_part.upper() in {p.upper() for p in parts}
