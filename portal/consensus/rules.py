"""Agreement and merging: pure, versioned rules. Formulas and worked numbers in README.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from portal.second_read.rules import KEY_QUESTIONS, iou

Answers = Mapping[str, Any]
Form = Sequence[Mapping[str, Any]]
FUSE_IOU = 0.3


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


def merge(form: Form, readings: Sequence[Answers], weights: Sequence[float] | None = None) -> Merged:
    """Merge readings question by question: majority (weighted when weights are given), median for scales.

    Raises ValueError without readings. Rules `majority` 1 and `weighted` 1.
    """
    if not readings:
        raise ValueError("there is nothing to merge")
    shares = list(weights or [1.0] * len(readings))
    merged: dict[str, Any] = {}
    parts: list[dict[str, Any]] = []
    key_gap, gaps = 0.0, []
    for question in form:
        key = question["key"]
        pairs = [(r[key], w) for r, w in zip(readings, shares, strict=True) if r.get(key) not in (None, "")]
        if not pairs:
            continue
        value, gap = _merge_one(question, pairs)
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
    confidence = 0.5 if len(readings) == 1 else 1 - total
    return Merged(merged, parts, total, confidence)


def _merge_one(question: Mapping[str, Any], pairs: Sequence[tuple[Any, float]]) -> tuple[Any, float]:
    kind = question["type"]
    values = [value for value, _ in pairs]
    if kind == "scale":
        span = float(question.get("max", 100)) - float(question.get("min", 0)) or 1.0
        return median(values), (max(values) - min(values)) / span
    if kind == "multi":
        votes: Counter[str] = Counter()
        for chosen, weight in pairs:
            votes.update(dict.fromkeys(chosen, weight))
        half = sum(weight for _, weight in pairs) / 2
        sets = [set(v) for v in values]
        union = set.union(*sets)
        gap = 1 - len(set.intersection(*sets)) / len(union) if union else 0.0
        return sorted(name for name, weight in votes.items() if weight > half), gap
    if kind == "text":
        return "\n".join(dict.fromkeys(str(v) for v in values)), 0.0
    counts: Counter[Any] = Counter()
    for value, weight in pairs:
        counts[value] += weight  # type: ignore[assignment]
    best = max(counts.values())
    winners = [value for value, n in counts.items() if n == best]
    gap = 1 - best / sum(counts.values())
    # a tie has no majority: the answer is left to the arbiter
    return (winners[0] if len(winners) == 1 else None), gap


def fuse_boxes(groups: Sequence[Sequence[Mapping[str, Any]]], threshold: float = FUSE_IOU) -> list[dict[str, Any]]:
    """Fuse the boxes of several readers: boxes of one image that overlap by IoU ≥ threshold are averaged.

    groups  one list of {"sop_uid", "box", …} for each reader
    Returns boxes that more than half of the readers drew, with the share of readers as `support`.
    """
    clusters: list[dict[str, Any]] = []
    for reader, boxes in enumerate(groups):
        for item in boxes:
            near = [
                c for c in clusters
                if c["sop_uid"] == item["sop_uid"] and reader not in c["readers"]
                and iou(tuple(c["box"]), tuple(item["box"])) >= threshold
            ]  # fmt: skip
            if near:
                best = max(near, key=lambda c: iou(tuple(c["box"]), tuple(item["box"])))
                best["readers"].add(reader)
                best["boxes"].append(item["box"])
                best["box"] = [float(v) for v in np.mean(best["boxes"], axis=0)]
            else:
                clusters.append(
                    {"sop_uid": item["sop_uid"], "box": list(item["box"]), "readers": {reader},
                     "boxes": [item["box"]], "label": item.get("label")}
                )  # fmt: skip
    return [
        {"sop_uid": c["sop_uid"], "box": c["box"], "label": c["label"], "support": len(c["readers"]) / len(groups)}
        for c in clusters
        if len(c["readers"]) * 2 > len(groups) or len(groups) == 1
    ]


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
