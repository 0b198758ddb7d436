"""Train, validation and test by patient; a leak is an error, not a warning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.datasets.base import LeakageError, ScanSet

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Names of the patients of each part. LeakageError when a patient is in two of them."""

    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]

    def __post_init__(self) -> None:
        for first, second in combinations(PARTS, 2):
            if both := getattr(self, first) & getattr(self, second):
                some = ", ".join(sorted(both)[:3])
                raise LeakageError(f"{len(both)} patients are in {first} and in {second}: {some}")

    def of(self, whole: ScanSet, part: str) -> ScanSet:
        """One part of a set."""
        return whole.of(getattr(self, part))

    def save(self, path: Path) -> None:
        """Write split.json: sorted names per part."""
        path.write_text(json.dumps({part: sorted(getattr(self, part)) for part in PARTS}))


def read_split(path: Path) -> Split:
    """split.json of a run. LeakageError when it was changed into one that leaks."""
    raw = json.loads(path.read_text())
    return Split(*(frozenset(raw[part]) for part in PARTS))


def split_patients(
    patients: NDArray[np.str_],
    seed: int,
    shares: tuple[float, float] = (0.7, 0.15),
    sealed: frozenset[str] | None = None,
) -> Split:
    """Random parts of whole patients.

    shares  of training and of validation; the rest is the test
    sealed  patients of a test set that is given (official lists); the others are then shared out
            between training and validation in the proportion of `shares`
    """
    names = np.unique(patients)
    if sealed is not None:
        names = names[~np.isin(names, sorted(sealed))]
        whole = sum(shares)
        shares = shares[0] / whole, shares[1] / whole
    np.random.default_rng([seed, 5]).shuffle(names)
    first = int(shares[0] * len(names))
    second = len(names) if sealed is not None else int(sum(shares) * len(names))
    rest = frozenset(names[second:].tolist()) if sealed is None else sealed & set(patients.tolist())
    return Split(frozenset(names[:first].tolist()), frozenset(names[first:second].tolist()), rest)
