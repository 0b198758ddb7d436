"""What is shown and exported: the probability maps of one image, with the function they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference.findings import Findings, ImageFindings

FINEST = 64
NOTICE = "Research use only"


class NoMaps(ValueError):
    """There is nothing that may be shown: no matrix of this row, or the gate holds the places back."""


@dataclass(frozen=True)
class MapSet:
    """Probability maps of one image or volume, classes in the order of the matrix.

    sop_instance_uid  of the image; of a volume's first slice, the other slices' are `others`
    matrix         (K, N, N) uint8, probability × 255; cell (i, j) lies over the i-th N-th of the image's rows
                   and the j-th N-th of its columns. Volumes: (K, M, N, N), where slice m lies over the m-th M-th
                   of the volume's slices, in their own order
    probabilities  of the whole image, one per class
    present        by each class's own threshold on that probability
    thresholds     on the map, one per class: where a place counts as salient
    """

    sop_instance_uid: str
    function_id: str
    version: str
    weights_sha256: str
    code_version: str
    names: tuple[str, ...]
    matrix: NDArray[np.uint8]
    probabilities: Mapping[str, float]
    present: Mapping[str, bool]
    thresholds: Mapping[str, float]
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """ValueError when shapes and names do not fit."""
        shape = self.matrix.shape
        if self.matrix.dtype != np.uint8 or len(shape) not in {3, 4} or shape[-2] != shape[-1]:
            raise ValueError(f"a matrix of {self.matrix.dtype} {shape} is neither (K, N, N) nor (K, M, N, N) of uint8")
        if len(self.names) != len(self.matrix):
            raise ValueError(f"{len(self.names)} classes for {len(self.matrix)} maps")
        for what in (self.probabilities, self.present, self.thresholds):
            if missing := set(self.names) - set(what):
                raise ValueError(f"no value for {', '.join(sorted(missing))}")

    @property
    def cells(self) -> int:
        """N."""
        return int(self.matrix.shape[-1])

    @property
    def slices(self) -> int | None:
        """M of a volume, None of an image."""
        return int(self.matrix.shape[1]) if self.matrix.ndim == 4 else None

    def order(self) -> list[str]:
        """Classes, the most probable first; equal ones in the order of the matrix."""
        return sorted(self.names, key=lambda name: -self.probabilities[name])

    def shown(self) -> list[str]:
        """The present classes, the most probable first; the most probable alone when none is present."""
        return [name for name in self.order() if self.present[name]] or self.order()[:1]

    def of(self, name: str) -> NDArray[np.uint8]:
        """(N, N) or (M, N, N) uint8 of a class. ValueError for a class that is not there."""
        if name not in self.names:
            raise ValueError(f"class {name!r} is none of {', '.join(self.names)}")
        return self.matrix[self.names.index(name)]

    def select(self, names: Sequence[str]) -> MapSet:
        """Only these classes, in this order. ValueError for none or one that is not there."""
        if not names:
            raise ValueError("no class was chosen")
        return replace(self, names=tuple(names), matrix=np.stack([self.of(name) for name in names]))

    def salient(self, name: str) -> NDArray[np.bool_]:
        """(N, N) or (M, N, N): where the probability reaches the class's threshold on the map."""
        return self.of(name) / 255.0 >= self.thresholds[name]

    def uid(self, *what: str) -> str:
        """A UID (2.25, PS3.5 B.2) that follows from the image, function, values and `what` it is made for, so that
        the same export made twice is the same object."""
        seed = "/".join(
            [
                self.sop_instance_uid,
                *self.others,
                self.function_id,
                self.version,
                self.weights_sha256,
                *self.names,
                *what,
            ]
        )
        digest = hashlib.sha256(seed.encode() + b"\0" + self.matrix.tobytes()).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def maps_of(findings: Findings, image: ImageFindings, row: int = FINEST) -> MapSet:
    """The maps of one image at a row. Raises NoMaps when the row is not there.

    A malignancy function gives no map of a case that it does not call (seed 000, FIG. 10).
    """
    if findings.case is not None and not findings.case.call:
        raise NoMaps("the case is not called malignant, so no place leaves the function")
    if row not in image.matrices:
        there = ", ".join(map(str, sorted(image.matrices))) or "none"
        raise NoMaps(f"no map of row {row}, there is {there}")
    names = tuple(findings.parameters["classes"])
    return MapSet(
        sop_instance_uid=image.sop_instance_uid,
        function_id=findings.function_id,
        version=findings.version,
        weights_sha256=findings.weights_sha256,
        code_version=findings.code_version,
        names=names,
        matrix=image.matrices[row],
        probabilities=image.global_probabilities,
        present=image.present,
        thresholds=findings.parameters["region_thresholds"],
    )
