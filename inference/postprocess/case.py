"""From scores of images to a case (seed 000, FIG. 9-10), and the gate for lesions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from inference.findings import CaseFindings, Lesion

EXPECTED_VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")
UNKNOWN_VIEW = "other"


@dataclass(frozen=True)
class ViewScore:
    """Malignancy of one image by one or several models, each score in [0, 1].

    view  "CC", "MLO" …; None when it is not known, such images form a view of their own
    """

    laterality: str
    view: str | None
    scores: tuple[float, ...]


def case_score(images: Iterable[ViewScore]) -> tuple[float, dict[str, float], dict[str, float]]:
    """Mean over models and over the images of a view → mean of a side's views → largest side.

    Returns (score, sides, views) with keys "L", "R" and "L-CC" and so on. A side without images takes no
    part. Models are averaged within an image first, so that an image weighs the same however many models
    saw it. ValueError without any image, for a score outside [0, 1], or for a side other than L and R.
    """
    collected: dict[str, list[float]] = {}
    for image in images:
        if image.laterality not in ("L", "R"):
            raise ValueError(f"side {image.laterality!r} is neither L nor R")
        if not image.scores or not all(0.0 <= score <= 1.0 for score in image.scores):
            raise ValueError(f"scores {image.scores} of {image.laterality} are not in [0, 1]")
        key = f"{image.laterality}-{image.view or UNKNOWN_VIEW}"
        collected.setdefault(key, []).append(fmean(image.scores))
    if not collected:
        raise ValueError("a case needs at least one image")
    views = {key: fmean(scores) for key, scores in sorted(collected.items())}
    sides = {
        side: fmean(score for key, score in views.items() if key.startswith(f"{side}-"))
        for side in ("L", "R")
        if any(key.startswith(f"{side}-") for key in views)
    }
    return max(sides.values()), sides, views


def gate(call: bool, lesions: Sequence[Lesion]) -> tuple[Lesion, ...]:
    """Lesions leave the function only when the case is called malignant (seed 000, FIG. 10)."""
    return tuple(lesions) if call else ()


def case_findings(
    images: Sequence[ViewScore],
    lesions: Sequence[Lesion],
    threshold: float,
    expected: Sequence[str] = EXPECTED_VIEWS,
) -> CaseFindings:
    """The case rule with threshold (call when score ≥ threshold), missing views and gate."""
    score, sides, views = case_score(images)
    call = score >= threshold
    missing = tuple(view for view in expected if view not in views)
    return CaseFindings(score, call, threshold, sides, views, missing, gate(call, lesions))
