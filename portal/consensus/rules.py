"""Agreement and merging: pure, versioned rules. Formulas and worked numbers in README.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from statistics import median
from typing import Any

import numpy as np

from portal.second_read.rules import KEY_QUESTIONS, iou

Answers = Mapping[str, Any]
Form = Sequence[Mapping[str, Any]]
Weights = Sequence[float] | np.ndarray[Any, Any]
FUSE_IOU = 0.3
EQUAL = 1e-9  # weights that differ by less are a tie
# rule → version; a protocol names one of CHOSEN, the others follow from what there is to merge
VERSIONS = {"majority": "2", "weighted": "2", "single": "1", "arbitration": "1"}
CHOSEN = ("majority", "weighted")
# what a coordinator reads who chooses one
WORDS = {
    "majority": "Majority: every reader counts the same. Yes/no and choices go by most votes (a tie stays open), "
    "scales by the median, several-choice and marks by more than half.",
    "weighted": "Weighted: readers with better scores count more. Yes/no and choices go by the sum of weights, scales "
    "by the weighted mean. While nobody is scored, all count the same.",
}
CONFIDENCE = {"single": 0.5, "arbitration": 0.9}


@dataclass(frozen=True)
class Merged:
    """Merged answers with what each question's merge is worth.

    parts        one for each question: {"key", "label", "answers", "merged", "discrepancy"}
    discrepancy  1 when the key question is not unanimous, else the mean over the other questions; 0 … 1
    confidence   1 − discrepancy for several readings, 0.5 for a single one
    """

    answers: dict[str, Any]
    parts: list[dict[str, Any]]
    discrepancy: float
    confidence: float


def merge(form: Form, readings: Sequence[Answers], weights: Weights | None = None) -> Merged:
    """Merge readings question by question.

    weights  None: rule `majority` 2 (votes count the same, scales by the median);
             one number ≥ 0 for each reading: rule `weighted` 2 (votes by weight, scales by the weighted mean)
    Raises ValueError without readings, and for weights that do not fit them.
    """
    if not readings:
        raise ValueError("there is nothing to merge")
    shares = _shares(len(readings), weights)
    merged: dict[str, Any] = {}
    parts: list[dict[str, Any]] = []
    key_gap, gaps = 0.0, []
    for question in form:
        key = question["key"]
        pairs = [(r[key], w) for r, w in zip(readings, shares, strict=True) if r.get(key) not in (None, "")]
        if not pairs:
            continue
        value = _merge_one(question, pairs, weights is not None)
        gap = gap_of(question, [v for v, _ in pairs])
        if value is not None:
            merged[key] = value
        if question["type"] != "text":
            if key in KEY_QUESTIONS:
                key_gap = max(key_gap, float(len({v for v, _ in pairs}) > 1))
            else:
                gaps.append(gap)
        parts.append(
            {
                "key": key,
                "label": question.get("label", key),
                "answers": [r.get(key) for r in readings],
                "merged": value,
                "discrepancy": round(gap, 4),
            }
        )
    total = 1.0 if key_gap else (sum(gaps) / len(gaps) if gaps else 0.0)
    confidence = CONFIDENCE["single"] if len(readings) == 1 else 1 - total
    return Merged(merged, parts, total, confidence)


def _shares(number: int, weights: Weights | None) -> list[float]:
    if weights is None:
        return [1.0] * number
    shares = [float(w) for w in weights]
    if len(shares) != number or not all(isfinite(w) and w >= 0 for w in shares) or not sum(shares):
        raise ValueError("one weight of 0 or more for each reading, not all of them 0")
    return shares


def gap_of(question: Mapping[str, Any], values: Sequence[Any]) -> float:
    """Discrepancy 0 … 1 of the answers to one question: how far readers are apart, whatever their weights."""
    kind = question["type"]
    if kind == "text" or not values:
        return 0.0
    if kind == "scale":
        span = float(question.get("max", 100)) - float(question.get("min", 0)) or 1.0
        return float(max(values) - min(values)) / span
    if kind == "multi":
        sets = [set(v) for v in values]
        union = set.union(*sets)
        return 1 - len(set.intersection(*sets)) / len(union) if union else 0.0
    return 1 - max(Counter(values).values()) / len(values)


def _merge_one(question: Mapping[str, Any], pairs: Sequence[tuple[Any, float]], weighted: bool) -> Any:
    kind = question["type"]
    values = [value for value, _ in pairs]
    if not any(weight for _, weight in pairs):  # nobody who counts answered this one: all count the same
        pairs, weighted = [(value, 1.0) for value in values], False
    whole = fsum(weight for _, weight in pairs)
    if kind == "scale":
        return round(fsum(value * weight for value, weight in pairs) / whole, 4) if weighted else median(values)
    if kind == "text":
        return "\n".join(dict.fromkeys(str(v) for v in values))
    votes: dict[Any, list[float]] = {}
    for value, weight in pairs:
        for name in set(value) if kind == "multi" else [value]:
            votes.setdefault(name, []).append(weight)
    counts = {name: fsum(weights) for name, weights in votes.items()}
    if kind == "multi":
        return sorted(name for name, n in counts.items() if n > whole / 2 + EQUAL)
    best = max(counts.values())
    winners = [value for value, n in counts.items() if n >= best - EQUAL]
    # a tie has no majority: the answer is left to the arbiter
    return winners[0] if len(winners) == 1 else None


def fuse_boxes(
    groups: Sequence[Sequence[Mapping[str, Any]]], threshold: float = FUSE_IOU, weights: Weights | None = None
) -> list[dict[str, Any]]:
    """Fuse the boxes of several readers; the order of readers and of their boxes does not matter.

    groups   one list of {"sop_uid", "box", "label", "frame"} for each reader
    weights  how much each reader counts; None: all the same
    The box that most of the readers agree with (IoU ≥ threshold, one box of each) is averaged with theirs, then
    the next of what is left. Returns boxes that more than half of the readers drew, by weight, as {"sop_uid",
    "frame", "box", "label", "support"}; support is their share.
    """
    if not groups:
        return []
    shares = _shares(len(groups), weights)
    drawn = [
        _Drawn(reader, shares[reader], item, (_content(item), shares[reader], sorted(map(_content, boxes))))
        for reader, boxes in enumerate(groups)
        for item in boxes
    ]
    drawn.sort(key=lambda d: d.sign)
    near = [[(n, v) for n, b in enumerate(drawn) if (v := _overlap(a, b)) >= threshold] for a in drawn]
    left, fused = set(range(len(drawn))), []
    while left:
        clusters = [_around(seed, drawn, near[seed], left) for seed in sorted(left)]
        cluster, _ = max(clusters, key=lambda c: (fsum(drawn[n].weight for n in c[0]), c[1]))
        left -= set(cluster)
        support = fsum(drawn[n].weight for n in cluster) / fsum(shares)
        if support > 0.5 + EQUAL:
            fused.append(_fused([drawn[n] for n in cluster], min(support, 1.0)))
    return sorted(fused, key=lambda f: (f["sop_uid"], f["frame"], f["box"]))


@dataclass(frozen=True)
class _Drawn:
    """A reader's box; `sign` tells boxes apart by content alone, so that ties do not hang on the readers' order."""

    reader: int
    weight: float
    item: Mapping[str, Any]
    sign: tuple[Any, ...]

    @property
    def place(self) -> tuple[Any, ...]:
        return self.item["sop_uid"], self.item.get("frame", 1)


def _content(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return item["sop_uid"], item.get("frame", 1), [float(v) for v in item["box"]], str(item.get("label") or "")


def _overlap(a: _Drawn, b: _Drawn) -> float:
    """IoU of two readers' boxes; 0 on other images and for boxes of one reader."""
    if a.reader == b.reader or a.place != b.place:
        return 0.0
    return iou(tuple(a.item["box"]), tuple(b.item["box"]))


def _around(
    seed: int, drawn: Sequence[_Drawn], near: Sequence[tuple[int, float]], left: set[int]
) -> tuple[list[int], float]:
    """The seed with the box of each other reader that overlaps it most, and the sum of the overlaps."""
    best: dict[int, tuple[float, int]] = {}
    for n, value in near:
        reader = drawn[n].reader
        if n in left and (reader not in best or value > best[reader][0]):
            best[reader] = (value, n)
    return [seed, *(n for _, n in best.values())], fsum(value for value, _ in best.values())


def _fused(drawn: Sequence[_Drawn], support: float) -> dict[str, Any]:
    weights = [d.weight for d in drawn] if any(d.weight for d in drawn) else [1.0] * len(drawn)
    whole = fsum(weights)
    box = [fsum(w * float(d.item["box"][n]) for w, d in zip(weights, drawn, strict=True)) / whole for n in range(4)]
    votes: dict[str, list[float]] = {}
    for weight, d in zip(weights, drawn, strict=True):
        votes.setdefault(str(d.item.get("label") or ""), []).append(weight)
    label = max(sorted(votes), key=lambda name: fsum(votes[name]))
    first = drawn[0].item
    return {
        "sop_uid": first["sop_uid"],
        "frame": first.get("frame", 1),
        "box": box,
        "label": label or None,
        "support": support,
    }


def percent_agreement(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Share of equal pairs; None without pairs."""
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def cohen_kappa(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Cohen's kappa of two raters (Cohen 1960): (po − pe) / (1 − pe); None when pe is 1 or there are no pairs."""
    if not pairs:
        return None
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    left, right = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(left[v] * right[v] for v in left) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def fleiss_kappa(table: Sequence[Sequence[int]]) -> float | None:
    """Fleiss' kappa (Fleiss 1971) of a table subjects × categories of counts; None when it is not defined."""
    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or not counts.size:
        return None
    raters = counts.sum(axis=1)
    n = raters[0]
    if n < 2 or not np.all(raters == n):
        return None
    each = (np.square(counts).sum(axis=1) - n) / (n * (n - 1))
    expected = float(np.square(counts.sum(axis=0) / counts.sum()).sum())
    return None if expected == 1 else (float(each.mean()) - expected) / (1 - expected)
