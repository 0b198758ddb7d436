"""A set of labelled scans: the table in memory, the images in memory or read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Box = tuple[float, float, float, float]


class SetError(ValueError):
    """Why a set of scans cannot be used; names the file and the entry."""


class LeakageError(SetError):
    """A patient would be in two parts of a split."""


@dataclass(frozen=True)
class ScanSet:
    """n scans with what is known of them.

    classes   K names
    labels    (n, K) uint8, 1 = present
    patients  (n,) one name per patient, the unit of splitting
    views     (n,) "L-CC", "PA", "AP" …, "" where unknown
    ages      (n,) years, NaN where unknown
    sexes     (n,) "M", "F" or ""
    names     (n,) file or instance names, for messages and reports
    read      row number of the whole set → (H, W) uint8, as the network of the family sees it
    regions   row number → (K, h, w) uint8 patches known to be abnormal, or None where that is not known
    rows      (n,) row numbers of the whole set that `read` and `regions` understand
    boxed     (n, K) uint8, 1 where the class has a drawn place in this scan; no column where none is known
    """

    classes: tuple[str, ...]
    labels: Bytes
    patients: NDArray[np.str_]
    views: NDArray[np.str_]
    ages: NDArray[np.float32]
    sexes: NDArray[np.str_]
    names: NDArray[np.str_]
    read: Callable[[int], Bytes] = field(repr=False)
    regions: Callable[[int], Bytes | None] = field(repr=False, default=lambda row: None)
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    boxed: Bytes = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def __post_init__(self) -> None:
        n = len(self.patients)
        if not len(self.rows) and n:
            object.__setattr__(self, "rows", np.arange(n))
        if self.labels.shape != (n, len(self.classes)):
            raise SetError(f"labels are {self.labels.shape}, not {(n, len(self.classes))}")

    def __len__(self) -> int:
        return len(self.patients)

    def image(self, index: int) -> Bytes:
        """(H, W) uint8 of the index-th scan of this part."""
        return self.read(int(self.rows[index]))

    def region(self, index: int) -> Bytes | None:
        """(K, h, w) uint8 of the index-th scan of this part, or None."""
        return self.regions(int(self.rows[index]))

    def take(self, index: NDArray[np.int64]) -> ScanSet:
        """The chosen scans, in that order."""
        changed: dict[str, Any] = {
            item.name: getattr(self, item.name)[index]
            for item in fields(self)
            if item.name in {"labels", "patients", "views", "ages", "sexes", "names", "rows"}
        }
        if len(self.boxed):
            changed["boxed"] = self.boxed[index]
        return replace(self, **changed)

    def of(self, patients: Sequence[str] | set[str] | frozenset[str]) -> ScanSet:
        """The scans of some patients."""
        return self.take(np.flatnonzero(np.isin(self.patients, sorted(patients))))


def in_memory(
    images: Bytes,
    labels: Bytes,
    classes: tuple[str, ...],
    patients: Sequence[str],
    regions: Bytes | None = None,
    **more: Any,
) -> ScanSet:
    """A set whose images (n, H, W) and regions (n, K, h, w) are arrays; `more` as the fields of ScanSet."""
    n = len(images)
    table: dict[str, Any] = {
        "views": np.array([""] * n),
        "ages": np.full(n, np.nan, np.float32),
        "sexes": np.array([""] * n),
        "names": np.array([str(i) for i in range(n)]),
    } | more
    if regions is not None:
        table["regions"] = lambda row: regions[row]
        table["boxed"] = regions.any(axis=(2, 3)).astype(np.uint8)
    return ScanSet(classes, labels, np.array(patients, dtype=np.str_), read=lambda row: images[row], **table)
