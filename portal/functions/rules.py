"""Which functions fit a scan: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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


def figures(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A package's figures in words: [(what, value with its interval)]."""
    rows: list[tuple[str, str]] = []
    if "mean_auc" in metrics:
        low, high = metrics.get("mean_auc_low"), metrics.get("mean_auc_high")
        interval = f" ({low:.3f}–{high:.3f})" if low is not None and high is not None else ""
        rows.append(("Mean AUC (95 %)", f"{metrics['mean_auc']:.3f}{interval}"))
    case = metrics.get("case") or {}
    for key, word in (("auc", "Case AUC"), ("sensitivity", "Sensitivity"), ("specificity", "Specificity")):
        if key in case:
            rows.append((word, f"{case[key]:.3f}"))
    if "test_images" in metrics:
        rows.append(("Images in the test", str(metrics["test_images"])))
    return rows


def auc_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """AUC by class, best first: name, value, width of its bar in percent."""
    rows = sorted((metrics.get("auc") or {}).items(), key=lambda item: -item[1])
    return [{"name": n.replace("_", " "), "value": v, "width": f"{100 * v:.1f}"} for n, v in rows]
