"""Similarity of a reading and a model's output, and what follows from it (seed 000, FIG. 5). Pure functions.

Rule `similarity.weighted`, version 1: the weighted mean of the parts that apply. Formulas in README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RULE_ID, RULE_VERSION = "similarity.weighted", "1"
WEIGHTS: dict[str, float] = {"call": 0.5, "rating": 0.2, "sides": 0.1, "marks": 0.2, "classes": 0.2}
KEY_QUESTIONS = ("recall", "abnormal")
RATINGS = ("malignancy", "suspicion")
MATCH_IOU = 0.1

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Place:
    """A mark or a lesion: image, box (x0, y0, x1, y1) in pixels, suspicion 0 … 1, side."""

    image: str
    box: Box
    weight: float = 1.0
    side: str = ""


@dataclass(frozen=True)
class Said:
    """What a reader, or a model, says of a case; None where it says nothing.

    rating   suspicion 0 … 1
    sides    sides held to be suspicious
    classes  class → weight 0 … 1 of the classes held to be present
    """

    call: bool | None
    rating: float | None
    sides: frozenset[str] | None
    places: tuple[Place, ...]
    classes: Mapping[str, float] | None


@dataclass(frozen=True)
class Part:
    name: str
    value: float
    weight: float
    words: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as a comparison stores it."""
        return {"name": self.name, "value": round(self.value, 4), "weight": self.weight, "words": self.words}


def scaled(score: float, threshold: float | None) -> float:
    """A score with its threshold moved to 0.5, linear on both sides; as it is without a threshold."""
    if threshold is None or not 0 < threshold < 1:
        return min(max(score, 0.0), 1.0)
    if score <= threshold:
        return 0.5 * max(score, 0.0) / threshold
    return 0.5 + 0.5 * (min(score, 1.0) - threshold) / (1 - threshold)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 for empty ones."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def closeness(a: Place, b: Place) -> float:
    """0 on different images; else the larger of IoU and 1 − centre distance in mean box diagonals, floored at 0."""
    if a.image != b.image:
        return 0.0
    ax, ay = (a.box[0] + a.box[2]) / 2, (a.box[1] + a.box[3]) / 2
    bx, by = (b.box[0] + b.box[2]) / 2, (b.box[1] + b.box[3]) / 2
    diagonals = [np.hypot(p.box[2] - p.box[0], p.box[3] - p.box[1]) for p in (a, b)]
    scale = float(np.mean(diagonals))
    near = 1 - float(np.hypot(ax - bx, ay - by)) / scale if scale > 0 else float((ax, ay) == (bx, by))
    return max(iou(a.box, b.box), near, 0.0)


def match(marks: Sequence[Place], lesions: Sequence[Place]) -> list[tuple[int, int, float]]:
    """Pairs (mark, lesion, closeness) of the best one-to-one assignment; pairs below MATCH_IOU do not count."""
    if not marks or not lesions:
        return []
    from scipy.optimize import linear_sum_assignment  # a quarter of a second, in every process that starts

    table = np.array([[closeness(m, x) for x in lesions] for m in marks])
    rows, columns = linear_sum_assignment(-table)
    return [
        (int(r), int(c), float(table[r, c])) for r, c in zip(rows, columns, strict=True) if table[r, c] >= MATCH_IOU
    ]


def marks_part(marks: Sequence[Place], lesions: Sequence[Place], weight: float) -> Part | None:
    """Matched weight over all weight: missed lesions and extra marks count by their suspicion."""
    if not marks and not lesions:
        return None
    pairs = match(marks, lesions)
    matched = sum((marks[m].weight + lesions[x].weight) / 2 for m, x, _ in pairs)
    missed = sum(x.weight for n, x in enumerate(lesions) if n not in {c for _, c, _ in pairs})
    extra = sum(m.weight for n, m in enumerate(marks) if n not in {r for r, _, _ in pairs})
    total = matched + missed + extra
    value = matched / total if total else 1.0
    n_missed, n_extra = len(lesions) - len(pairs), len(marks) - len(pairs)
    words = f"{len(pairs)} of {len(lesions)} lesions of the model marked, {n_missed} not marked, {n_extra} others"
    return Part("marks", value, weight, words)


def classes_part(a: Mapping[str, float], b: Mapping[str, float], weight: float) -> Part | None:
    """Weighted Jaccard index: Σ min / Σ max over the classes."""
    names = set(a) | set(b)
    top = sum(max(a.get(n, 0.0), b.get(n, 0.0)) for n in names)
    if not top:
        return None
    low = sum(min(a.get(n, 0.0), b.get(n, 0.0)) for n in names)
    shared = sorted(n for n in names if n in a and n in b)
    words = f"shared: {', '.join(shared).replace('_', ' ')}" if shared else "no class in common"
    return Part("classes", low / top, weight, words)


def compare(reader: Said, model: Said, weights: Mapping[str, float] | None = None) -> tuple[float | None, list[Part]]:
    """Return (similarity 0 … 1, its parts); None when no part applies. The weights are made to sum to 1."""
    wanted = {**WEIGHTS, **(weights or {})}
    parts: list[Part] = []
    if reader.call is not None and model.call is not None:
        words = f"reader says {_yes(reader.call)}, model says {_yes(model.call)}"
        parts.append(Part("call", float(reader.call == model.call), wanted["call"], words))
    if reader.rating is not None and model.rating is not None:
        words = f"reader {100 * reader.rating:.0f}, model {100 * model.rating:.0f} of 100"
        parts.append(Part("rating", 1 - abs(reader.rating - model.rating), wanted["rating"], words))
    if reader.sides is not None and model.sides is not None and (reader.sides or model.sides):
        value = sum((s in reader.sides) == (s in model.sides) for s in "LR") / 2
        words = f"reader {_sides(reader.sides)}, model {_sides(model.sides)}"
        parts.append(Part("sides", value, wanted["sides"], words))
    if found := marks_part(reader.places, model.places, wanted["marks"]):
        parts.append(found)
    if (
        reader.classes is not None
        and model.classes is not None
        and (found := classes_part(reader.classes, model.classes, wanted["classes"]))
    ):
        parts.append(found)
    total = sum(part.weight for part in parts)
    if not total:
        return None, parts
    return sum(part.value * part.weight for part in parts) / total, parts


def sentence(reader: Said, model: Said, similarity: float | None, threshold: float) -> str:
    """Why, in one sentence of plain words."""
    if similarity is None:
        return "There is nothing to compare: the model gave no output."
    if reader.call is not None and model.call is not None and reader.call != model.call:
        side = f" on the {_sides(model.sides)}" if model.call and model.sides else ""
        rating = f" ({100 * model.rating:.0f} of 100)" if model.rating is not None else ""
        start = f"The reader says {_yes(reader.call)}, the model says {_yes(model.call)}{rating}{side}"
    elif similarity < threshold:
        start = "Reader and model come to the same call and differ in rating or place"
    else:
        start = "Reader and model agree"
    relation = "below" if similarity < threshold else "not below"
    return f"{start}; similarity {similarity:.2f} is {relation} the threshold {threshold:.2f}."


def said_by_reader(answers: Mapping[str, Any], places: Sequence[Place]) -> Said:
    """What a submitted form says."""
    call = next((bool(answers[q]) for q in KEY_QUESTIONS if isinstance(answers.get(q), bool)), None)
    rating = next((float(answers[q]) / 100 for q in RATINGS if isinstance(answers.get(q), int | float)), None)
    sides = frozenset(p.side for p in places if p.side in {"L", "R"})
    known = sides if (sides or call is False) else None
    findings = answers.get("findings")
    classes = {str(f): 1.0 for f in findings} if isinstance(findings, list) else None
    return Said(call, rating, known, tuple(places), classes)


def said_by_model(case: Mapping[str, Any], images: Sequence[Mapping[str, Any]], lesions: Sequence[Place]) -> Said:
    """What a run says: case-level output and per-image classes (the shape of infer.queries.run_summary)."""
    threshold = case.get("threshold")
    sides = None
    if case.get("sides") and threshold is not None:
        sides = frozenset(s for s, value in case["sides"].items() if value > threshold)
    present: dict[str, float] = {}
    scores: list[float] = []
    for image in images:
        for name, probability in image.get("global", {}).items():
            limit = image.get("thresholds", {}).get(name)
            if threshold is None:
                scores.append(scaled(probability, limit))
            if image.get("present", {}).get(name):
                present[name] = max(present.get(name, 0.0), scaled(probability, limit))
    score = case.get("score")
    rating = max(scores, default=None) if threshold is None else scaled(score, threshold) if score is not None else None
    heat = threshold is None and bool(scores)
    return Said(case.get("call"), rating, sides, tuple(lesions), present if heat else None)


def _yes(call: bool) -> str:
    return "recall" if call else "no recall"


def _sides(sides: frozenset[str] | None) -> str:
    names = [{"L": "left", "R": "right"}[s] for s in sorted(sides or ())]
    return " and ".join(names) + " side" if names else "neither side"
