"""What the check's figures mean and what follows from them. Pure; the rules by name are in README.md."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from inference.check import CATEGORIES, Category, InputCheck
from inference.check.categories import PROJECTION, Claim, agrees

Verdict = Literal["agrees", "mismatch", "uncertain", "unclaimed", "unseen"]
Z95 = 1.959963984540054
IMAGES_A_SERIES = 3
IMAGES_A_STUDY = 48
# what a category is called in a header: modality, body part
FILED: dict[Category, tuple[str, str]] = {
    "chest_frontal": ("DX", "CHEST"),
    "chest_lateral": ("DX", "CHEST"),
    "mammogram": ("MG", "BREAST"),
    "ct": ("CT", ""),
    "other": ("OT", ""),
}


def representatives(count: int, most: int) -> list[int]:
    """Positions, evenly spread and none at an end, of at most `most` out of `count` images."""
    if count <= most:
        return list(range(count))
    return [int((i + 0.5) * count / most) for i in range(most)]


def mean_probabilities(images: Sequence[Mapping[str, float]]) -> dict[Category, float]:
    """Mean probability of each category over the images of a series. ValueError for none."""
    if not images:
        raise ValueError("no image to take the mean of")
    return {name: sum(image[name] for image in images) / len(images) for name in CATEGORIES}


def best(probabilities: Mapping[Category, float]) -> Category:
    """The most probable category; of equal ones the first."""
    return max(CATEGORIES, key=lambda name: probabilities[name])


def verdict(claim: Claim, probabilities: Mapping[Category, float], thresholds: Mapping[str, float]) -> Verdict:
    """CHECK-1: whether a picture is what its header claims.

    thresholds  of the package, by category: from where on the check is certain of it

    A header that claims nothing is never contradicted. A certain contradiction is a mismatch, any other one is
    uncertain; so is every contradiction of "none of the others", which the check knows least about.
    """
    found = best(probabilities)
    if claim.category is None and agrees(claim, "other"):
        return "unclaimed"
    if agrees(claim, found):
        return "agrees"
    certain = probabilities[found] >= thresholds[found]
    return "mismatch" if certain and claim.category != "other" else "uncertain"


def outcome(said: Verdict, noteworthy: bool, policy: str, found: str) -> str:
    """CHECK-2: the state that a check leaves a series in.

    noteworthy  tones or orientation are wrong, which changes no category
    policy      of the source: hold, correct or note
    found       the category that the picture shows; "other" is nothing to correct to, so that waits for a person
    """
    if said == "mismatch" and policy == "correct" and found != "other":
        return "reassigned"
    if said == "mismatch" and policy != "note":
        return "held"
    return "noted" if noteworthy or said in {"mismatch", "uncertain"} else "passed"


def filed_under(category: Category, modality: str, body_part: str) -> tuple[str, str]:
    """(modality, body part) for a category; what the header says stays where it fits the category."""
    given, part = FILED[category]
    if given == "DX" and modality.upper() in PROJECTION:
        given = modality
    if category in {"ct", "other"}:
        part = body_part if category == "ct" and body_part.upper() != "BREAST" else ""
    return given, part


@dataclass(frozen=True)
class Said:
    """What the images of a series say together.

    inverted  of more than half of the images in which tones can be told; None where it can be told in none
    rotation  the one that more than half of them have, else 0; None likewise
    cut_off, poor  what is said of at least half of the images
    """

    claim: Claim
    found: Category
    probabilities: dict[Category, float]
    verdict: Verdict
    inverted: bool | None
    rotation: int | None
    cut_off: list[str]
    poor: list[str]

    @property
    def noteworthy(self) -> bool:
        return bool(self.inverted or self.rotation)


def together(claim: Claim, images: Sequence[InputCheck], thresholds: Mapping[str, float]) -> Said:
    """The images of one series as one. ValueError for none."""
    probabilities = mean_probabilities([image.probabilities for image in images])
    toned = [image.inverted for image in images if image.inverted is not None]
    turns = [image.rotation for image in images if image.rotation is not None]
    turn, times = Counter(turns).most_common(1)[0] if turns else (None, 0)
    return Said(
        claim,
        best(probabilities),
        probabilities,
        verdict(claim, probabilities, thresholds),
        2 * sum(toned) > len(toned) if toned else None,
        (turn if 2 * times > len(turns) else 0) if turns else None,
        _common([image.cut_off for image in images]),
        _common([image.poor for image in images]),
    )


def _common(said: Sequence[Sequence[str]]) -> list[str]:
    """Sentences by their beginning (figures differ from image to image), of at least half of the images."""
    first: dict[str, str] = {}
    heads: Counter[str] = Counter()
    for sentences in said:
        for head in {text.partition(":")[0] for text in sentences}:
            heads[head] += 1
        for text in sentences:
            first.setdefault(text.partition(":")[0], text)
    return [first[head] for head in first if 2 * heads[head] >= len(said)]


def wilson(right: int, of: int, z: float = Z95) -> tuple[float, float] | None:
    """Wilson's score interval of a share (JASA 22, 1927); None of nothing. ValueError outside 0 … of."""
    if of == 0:
        return None
    if not 0 <= right <= of:
        raise ValueError(f"{right} of {of} is no share")
    share, spread = right / of, z * z / of
    centre = share + spread / 2
    width = z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    low, high = (centre - width) / (1 + spread), (centre + width) / (1 + spread)
    return max(0.0, low), min(1.0, high)


@dataclass(frozen=True)
class Share:
    """`right` out of `of`, as people read it: value and interval are None where there is nothing to count."""

    right: int
    of: int

    @property
    def value(self) -> float | None:
        return self.right / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.right, self.of)
