"""Faces of the series of a folder: which have one, by files. No database."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from portal.deidentify.faces import Plane, header
from portal.deidentify.faces.whole import VERSION, Face, Slice, frame, look, saying
from portal.ingest.inspect import opened


@dataclass(frozen=True)
class _File:
    path: Path
    plane: Plane
    modality: str
    sop: str


@dataclass
class Series:
    """The CT and MR series of a folder: `note` every file first, then ask for `face`."""

    _files: dict[str, list[_File]] = field(default_factory=dict)
    _said: dict[str, list[bool | None]] = field(default_factory=dict)
    _of: dict[Path, str] = field(default_factory=dict)
    _faces: dict[str, Face] = field(default_factory=dict)

    def note(self, path: Path, dataset: Dataset) -> None:
        """Remember a file by its uncleaned header."""
        if str(dataset.get("SOPClassUID", "")) not in header.LOOKED_AT:
            return
        kind, place, uid = header.modality(dataset), header.plane(dataset), str(dataset.get("SeriesInstanceUID", ""))
        self._of[path] = uid
        self._said.setdefault(uid, []).append(header.says_head(dataset))
        files = self._files.setdefault(uid, [])
        if kind and place:
            files.append(_File(path, place, kind, str(dataset.get("SOPInstanceUID", ""))))

    def uid(self, path: Path) -> str | None:
        """The series of a file; None where no face can be."""
        return self._of.get(path)

    def state(self, path: Path) -> str:
        """Changes with the files of the series: a slice that comes later can change what its face is taken for."""
        files = self._files.get(self._of.get(path, ""), [])
        return "\n".join([VERSION, *sorted(f"{one.sop} {one.path.stat().st_size}" for one in files)])

    def face(self, path: Path, key: bytes) -> Face:
        """What becomes of the face in this file's series; key: of the series. Raises OSError."""
        uid = self._of[path]
        if uid not in self._faces:
            slices = (Slice(one.plane, one.modality, partial(_values, one.path)) for one in self._files[uid])
            self._faces[uid] = look(slices, saying(self._said[uid]), key)
        return self._faces[uid]


def _values(path: Path) -> Any:
    with opened(path) as file:
        return header.measured(file.dataset, frame(file))
