"""Faces of the series of a folder: which have one, by files. No database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydicom.dataset import Dataset

from portal.deidentify.faces import header
from portal.deidentify.faces.borrowed import borrowed, may_borrow
from portal.deidentify.faces.frames import Files, Frame, frames
from portal.deidentify.faces.whole import VERSION, Face, Slice, look, saying
from portal.ingest.inspect import opened


@dataclass
class _One:
    """A series: its files by path with what tells them apart, and what their headers say."""

    files: dict[Path, tuple[str, str, list[Frame]]] = field(default_factory=dict)  # modality, SOP Instance UID, frames
    said: list[bool | None] = field(default_factory=list)
    places: set[tuple[str, str]] = field(default_factory=set)  # study, frame of reference

    @property
    def place(self) -> tuple[str, str] | None:
        """The system of coordinates that all its slices share; None where they say several or none."""
        [*found] = self.places
        return found[0] if len(found) == 1 and all(found[0]) else None


@dataclass
class Series:
    """The CT and MR series of a folder: `note` every file first, then ask for `face`.

    key  gives the key of a series by its UID
    """

    key: Callable[[str], bytes]
    _series: dict[str, _One] = field(default_factory=dict)
    _of: dict[Path, str] = field(default_factory=dict)
    _own: dict[str, Face] = field(default_factory=dict)
    _faces: dict[str, Face] = field(default_factory=dict)

    def note(self, path: Path, dataset: Dataset) -> None:
        """Remember a file by its uncleaned header."""
        if str(dataset.get("SOPClassUID", "")) not in header.LOOKED_AT:
            return
        uid = str(dataset.get("SeriesInstanceUID", ""))
        self._of[path] = uid
        one = self._series.setdefault(uid, _One())
        one.said.append(header.says_head(dataset))
        if found := frames(dataset):
            one.files[path] = (header.modality(dataset) or "", str(dataset.get("SOPInstanceUID", "")), found)
            one.places.add((str(dataset.get("StudyInstanceUID", "")), str(dataset.get("FrameOfReferenceUID") or "")))

    def noted(self, path: Path) -> bool:
        """Whether a face can be in this file."""
        return path in self._of

    def state(self, path: Path) -> str:
        """Changes with the files of the series: a slice that comes later can change what its face is taken for.

        So can files of the series from which a face can be borrowed.
        """
        uid = self._of.get(path, "")
        files = {p: found for near in (uid, *self._near(uid)) for p, found in self._files(near).items()}
        return "\n".join([VERSION, *sorted(f"{sop} {path.stat().st_size}" for path, (_, sop, _) in files.items())])

    def face(self, path: Path) -> Face:
        """What becomes of the face in this file's series. Raises OSError."""
        uid = self._of[path]
        if uid not in self._faces:
            self._faces[uid] = self._face(uid)
        return self._faces[uid]

    def _face(self, uid: str) -> Face:
        own = self._look(uid)
        near = self._near(uid)
        planes = [one.plane for _, _, found in self._files(uid).values() for one in found if not one.projection]
        if own.reason == "projection":  # a head that another series shows
            return Face(reason=own.reason, open=own.open or any(self._look(other).plan for other in near))
        if not near or not may_borrow(own, planes):
            return own
        plans = (plan for other in near if (plan := self._look(other).plan))
        with Files(opened) as files:
            return borrowed(plans, self._slices(uid, files)) or own

    def _look(self, uid: str) -> Face:
        if uid not in self._own:
            with Files(opened) as files:
                self._own[uid] = look(self._slices(uid, files), saying(self._series[uid].said), self.key(uid))
        return self._own[uid]

    def _slices(self, uid: str, files: Files) -> list[Slice]:
        return [
            Slice(one.plane, kind, partial(files.values, path, one.number), one.kind, one.first, one.projection)
            for path, (kind, _, found) in self._files(uid).items()
            for one in found
        ]

    def _files(self, uid: str) -> dict[Path, tuple[str, str, list[Frame]]]:
        return self._series[uid].files if uid in self._series else {}

    def _near(self, uid: str) -> list[str]:
        """Other series of the study in the same frame of reference."""
        place = self._series[uid].place if uid in self._series else None
        return [other for other, one in self._series.items() if other != uid and place and one.place == place]
