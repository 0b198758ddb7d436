"""Faces of whole series of files: which series have one, and the files without it. No database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from portal.deidentify.faces import NoFace, NoVolume, Plan, Plane, apply, generic_face, header
from portal.deidentify.pixels.cover import repainted
from portal.ingest.inspect import Damaged, Opened, opened

VERSION = "1"


@dataclass(frozen=True)
class _Slice:
    path: Path
    plane: Plane
    modality: str
    sop: str


@dataclass
class Face:
    """What became of the face in a series: the plan of its replacement, or why there is none.

    open  a face may be in the pictures and could not be looked for
    """

    plan: Plan | None = None
    reason: str = ""
    open: bool = False


@dataclass
class Series:
    """The CT and MR series of a folder: `note` every file first, then ask for `face`."""

    _slices: dict[str, list[_Slice]] = field(default_factory=dict)
    _said: dict[str, bool | None] = field(default_factory=dict)
    _of: dict[Path, str] = field(default_factory=dict)
    _faces: dict[str, Face] = field(default_factory=dict)

    def note(self, path: Path, dataset: Dataset) -> None:
        """Remember a file by its uncleaned header."""
        kind, uid = header.modality(dataset), str(dataset.get("SeriesInstanceUID", ""))
        if kind is None and str(dataset.get("SOPClassUID", "")) not in header.CLASSES.keys() | header.ENHANCED:
            return
        self._of[path] = uid
        said = header.says_head(dataset)
        self._said[uid] = said if self._said.get(uid) is None else self._said[uid] or bool(said)
        place = header.plane(dataset)
        slices = self._slices.setdefault(uid, [])
        if kind and place:
            slices.append(_Slice(path, place, kind, str(dataset.get("SOPInstanceUID", ""))))

    def uid(self, path: Path) -> str | None:
        """The series of a file; None where no face can be."""
        return self._of.get(path)

    def state(self, path: Path) -> str:
        """Changes with the files of the series: a slice that comes later can change what its face is taken for."""
        slices = self._slices.get(self._of.get(path, ""), [])
        return "\n".join([VERSION, *sorted(f"{s.sop} {s.path.stat().st_size}" for s in slices)])

    def face(self, path: Path, key: bytes) -> Face:
        """What becomes of the face in this file's series; key: of the series. Raises OSError."""
        uid = self._of[path]
        if uid not in self._faces:
            self._faces[uid] = self._look(uid, key)
        return self._faces[uid]

    def _look(self, uid: str, key: bytes) -> Face:
        said = self._said[uid]
        stacks: list[list[_Slice]] = []
        for one in self._slices[uid]:
            stack = next((s for s in stacks if s[0].plane.alike(one.plane) and s[0].modality == one.modality), None)
            if stack is None:
                stacks.append([one])
            else:
                stack.append(one)
        if not stacks:
            return Face(reason="no_single_slices", open=bool(said))
        largest = max(stacks, key=len)
        try:
            values = [_values(one.path) for one in largest] if len(largest) > 2 else []
            planes = [one.plane for one in largest]
            return Face(generic_face(planes, values, largest[0].modality, said, key))
        except NoVolume as error:
            return Face(reason=error.reason, open=bool(said))
        except NoFace as error:
            return Face(reason=error.reason)
        except (Damaged, ValueError, TypeError, AttributeError, KeyError, NotImplementedError, RuntimeError) as error:
            return Face(reason=f"not_read: {type(error).__name__}", open=bool(said))


def _values(path: Path) -> Any:
    with opened(path) as file:
        return header.measured(file.dataset, _frame(file))


def _frame(file: Opened) -> NDArray[Any]:
    file.stream.seek(0)
    return next(islice(iter_pixels(file.stream, raw=True), 1))


@contextmanager
def replaced(found: Opened, face: Face | None) -> Iterator[Opened]:
    """Give the instance with a generic face, and say so in its (cleaned) header. Raises NotCovered, ValueError.

    A slice without a part of the face is given as it is, byte for byte.
    """
    place = header.plane(found.dataset)
    if face is None or face.plan is None or place is None:
        if face is not None and (face.open or face.plan is not None):
            found.dataset.RecognizableVisualFeatures = "YES"
        yield found
        return
    before = _frame(found)
    values, where = apply(face.plan, header.measured(found.dataset, before), place)
    if where.any():
        after = header.stored(found.dataset, values, where, before)
        with repainted(found, lambda _: after) as made:
            header.mark(found.dataset)
            yield made
    else:
        header.mark(found.dataset)
        yield found
