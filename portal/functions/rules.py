"""Which functions fit a scan: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """A version in service: its key, output, and category (no body parts: any)."""

    key: int
    output_type: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]


def fits(offer: Offer, modalities: Iterable[str], body_part: str) -> bool:
    """Whether a scan belongs to the category; a scan that names no body part fits by modality."""
    if not set(offer.modalities) & set(modalities):
        return False
    return not offer.body_parts or not body_part or body_part.upper() in offer.body_parts


def choose(offers: Sequence[Offer], modalities: Iterable[str], body_part: str) -> list[int]:
    """Keys of the most specific fitting offer for each output type (seed 001, FIG. 5B).

    More specific: names body parts, then fewer of them, then fewer modalities; ties go to the newest key.
    """
    kinds = tuple(modalities)
    best: dict[str, Offer] = {}
    for offer in offers:
        if fits(offer, kinds, body_part):
            rival = best.get(offer.output_type)
            if rival is None or _narrowness(offer) > _narrowness(rival):
                best[offer.output_type] = offer
    return sorted(offer.key for offer in best.values())


def _narrowness(offer: Offer) -> tuple[int, int, int, int]:
    return (bool(offer.body_parts), -len(offer.body_parts), -len(offer.modalities), offer.key)
