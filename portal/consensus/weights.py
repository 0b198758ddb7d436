"""How much each reader's vote counts under rule `weighted`. A later step knows the scores and registers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

Source = Callable[[int, Collection[int]], Mapping[int, float]]
LEAST = 0.05
_sources: list[Source] = []


def register(source: Source) -> None:
    """Set who knows the weights: (organisation key, reader keys) → reader key → weight 0 … 1."""
    _sources[:] = [source]


def of(organisation_id: int, readers: Collection[int]) -> dict[int, float]:
    """Weight of each reader, at least LEAST so that nobody is silenced; 1 for all while nobody is scored."""
    known = _sources[0](organisation_id, readers) if _sources else {}
    return {pk: max(known.get(pk, 1.0), LEAST) for pk in readers}
