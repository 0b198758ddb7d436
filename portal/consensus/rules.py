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
Z95 = 1.959964
# rule → version; a protocol names one of CHOSEN, the others follow from what there is to merge
VERSIONS = {"majority": "1", "weighted": "1", "single": "1", "arbitration": "1"}
CHOSEN = ("majority", "weighted")
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


def merge(form: Form, readings: Sequence[Answers], weights: Sequence[float] | None = None) -> Merged:
    """Merge readings question by question.

    weights  None: rule `majority` 1 (votes count the same, scales by the median);
             one non-negative number for each reading: rule `weighted` 1 (votes and means by weight)
    Raises ValueError without readings, and for weights that do not fit them.
    """
    if not readings:
        raise ValueError("there is nothing to merge")
    if weights is not None and (len(weights) != len(readings) or min(weights) < 0 or not sum(weights)):
        raise ValueError("one non-negative weight for each reading, not all of them zero")
    shares = list(weights or [1.0] * len(readings))
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


def gap_of(question: Mapping[str, Any], values: Sequence[Any]) -> float:
    """Discrepancy 0 … 1 of the answers to one question; how far readers are apart, whoever they are."""
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
    whole = sum(weight for _, weight in pairs)
    if kind == "scale":
        if weighted and whole:
            return round(sum(value * weight for value, weight in pairs) / whole, 4)
        return median(values)
    if kind == "multi":
        votes: dict[str, float] = {}
        for chosen, weight in pairs:
            for name in set(chosen):
                votes[name] = votes.get(name, 0.0) + weight
        return sorted(name for name, weight in votes.items() if weight > whole / 2)
    if kind == "text":
        return "\n".join(dict.fromkeys(str(v) for v in values))
    counts: dict[Any, float] = {}
    for value, weight in pairs:
        counts[value] = counts.get(value, 0.0) + weight
    best = max(counts.values())
    winners = [value for value, n in counts.items() if n == best]
    # a tie has no majority: the answer is left to the arbiter
    return winners[0] if len(winners) == 1 else None


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


def cohen_kappa_interval(pairs: Sequence[tuple[Any, Any]]) -> tuple[float, float] | None:
    """95 % interval of Cohen's kappa by its large-sample standard error (Fleiss, Cohen and Everitt 1969, eq. 13).

    None where kappa is not defined. Cut to −1 … 1.
    """
    kappa = cohen_kappa(pairs)
    if kappa is None:
        return None
    values = list(dict.fromkeys(v for pair in pairs for v in pair))
    places = {v: n for n, v in enumerate(values)}
    table = np.zeros((len(values), len(values)))
    for a, b in pairs:
        table[places[a], places[b]] += 1 / len(pairs)
    left, right = table.sum(axis=1), table.sum(axis=0)
    expected = float(left @ right)
    diagonal = np.diag(table)
    a = float((diagonal * (1 - (left + right) * (1 - kappa)) ** 2).sum())
    off = table * (right[:, None] + left[None, :]) ** 2
    b = (1 - kappa) ** 2 * float(off.sum() - np.diag(off).sum())
    c = (kappa - expected * (1 - kappa)) ** 2
    error = float(np.sqrt(max(a + b - c, 0.0) / len(pairs))) / (1 - expected)
    return max(kappa - Z95 * error, -1.0), min(kappa + Z95 * error, 1.0)


def limits_of_agreement(pairs: Sequence[tuple[float, float]]) -> dict[str, float] | None:
    """Mean difference (first − second) and its 95 % limits (Bland and Altman 1986); None below two pairs."""
    if len(pairs) < 2:
        return None
    gaps = np.array([a - b for a, b in pairs], dtype=float)
    mean, spread = float(gaps.mean()), 1.96 * float(gaps.std(ddof=1))
    return {"mean": mean, "low": mean - spread, "high": mean + spread}


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
