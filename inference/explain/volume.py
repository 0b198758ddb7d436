"""Maps of volumes (seed 001, FIG. 7A): one multi-frame object over parallel slices or the frames of one file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from inference.explain import pm, seg
from inference.explain.maps import MapSet
from inference.explain.objects import finish, identity
from inference.explain.source import Place, place_of, read_header
from inference.preprocess.errors import Unsupported

NEAR = 1e-3  # mm, and of direction cosines
SAME = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Rows", "Columns")
KINDS = ("seg", "seg-binary", "pm")


@dataclass(frozen=True)
class Stack:
    """Parallel slices at even distances.

    headers  one for each slice in the order of `order`, or the one of a file with several frames
    place    of the first slice along the normal
    step     (3,) mm from one slice to the next
    order    places of the slices, as they were given, along the normal (row × column)
    """

    headers: tuple[Dataset, ...]
    place: Place
    step: NDArray[np.float64]
    order: tuple[int, ...]

    @property
    def slices(self) -> int:
        """S."""
        return len(self.order)

    def origins(self, cells: int, slices: int) -> NDArray[np.float64]:
        """(M, 3) patient coordinates of the first cell's centre in each slice of an (M, N, N) grid over the stack."""
        middles = (np.arange(slices) + 0.5) * self.slices / slices - 0.5  # in slices of the source
        return np.asarray(self.place.cell_origin(cells) + middles[:, None] * self.step)

    def planes(self, cells: int, slices: int) -> dict[str, Any]:
        """Arguments for highdicom that put an (M, N, N) grid into the patient."""
        spacing = self.place.cell_spacing(cells)
        along, down = self.place.along_row, self.place.along_column
        if spacing is None or along is None or down is None:
            raise ValueError("the slices have no patient coordinates")
        between = float(np.linalg.norm(self.step)) * self.slices / slices
        positions = [[float(value) for value in origin] for origin in self.origins(cells, slices)]
        cosines = [float(value) for value in (*along, *down)]
        return {
            "pixel_measures": hd.PixelMeasuresSequence(spacing, between, between),
            "plane_orientation": hd.PlaneOrientationSequence(hd.CoordinateSystemNames.PATIENT, cosines),
            "plane_positions": [
                hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, position) for position in positions
            ],
        }


def read_stack(paths: Sequence[Path]) -> Stack:
    """The stack of several single-frame files, or of one file with several frames.

    Raises Unreadable, or Unsupported for what is no stack of parallel slices at even distances (all ImageError).
    """
    headers = [read_header(path, frames=True) for path in paths]
    if len(headers) == 1:
        return _of_frames(headers[0])
    if any(int(header.get("NumberOfFrames", 1) or 1) != 1 for header in headers):
        raise Unsupported("several files of several frames are no stack")
    first = headers[0]
    for header in headers[1:]:
        if other := [name for name in SAME if header.get(name) != first.get(name)]:
            raise Unsupported(f"the slices differ in {', '.join(other)}")
    return _stack(headers, [place_of(header) for header in headers])


def _of_frames(header: Dataset) -> Stack:
    """Places of the frames of an enhanced image by their functional groups (PS3.3 C.7.6.16)."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    flat = Dataset()
    flat.Rows, flat.Columns = header.Rows, header.Columns
    if "FrameOfReferenceUID" in header:
        flat.FrameOfReferenceUID = header.FrameOfReferenceUID
    places = []
    for group in header.get("PerFrameFunctionalGroupsSequence") or []:
        for sequence, keyword in (
            ("PixelMeasuresSequence", "PixelSpacing"),
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
        ):
            item = (group.get(sequence) or shared.get(sequence) or [Dataset()])[0]
            if keyword in item:
                setattr(flat, keyword, item[keyword].value)
        places.append(place_of(flat))
    if len(places) < 2:
        raise Unsupported("one slice is no volume")
    return _stack([header], places)


def _stack(headers: list[Dataset], places: list[Place]) -> Stack:
    first = places[0]
    if any(not place.in_patient for place in places):
        raise Unsupported("a slice has no patient coordinates")
    origins = np.array([place.origin for place in places])
    cosines = np.array([[*_three(place.along_row), *_three(place.along_column)] for place in places])
    spacings = np.array([place.spacing for place in places])
    if np.abs(cosines - cosines[0]).max() > NEAR or np.abs(spacings - spacings[0]).max() > NEAR:
        raise Unsupported("the slices are not parallel, or have other spacings")
    heights = origins @ np.cross(_three(first.along_row), _three(first.along_column))
    order = np.argsort(heights, kind="stable")
    steps = np.diff(origins[order], axis=0)
    if np.linalg.norm(steps, axis=1).min() < NEAR or np.abs(steps - steps.mean(axis=0)).max() > NEAR:
        raise Unsupported("the slices are not at even distances")
    sorted_headers = [headers[i] for i in order] if len(headers) > 1 else headers
    return Stack(tuple(sorted_headers), places[int(order[0])], steps.mean(axis=0), tuple(int(i) for i in order))


def _three(vector: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return np.zeros(3) if vector is None else vector


def along(maps: MapSet, stack: Stack) -> MapSet:
    """The maps with their slices along the stack's normal instead of in the order in which the slices were given.

    ValueError when a map coarser than the stack lies over slices that were given in neither direction.
    """
    if maps.slices is None:
        raise ValueError("these are the maps of an image, not of a volume")
    if maps.slices == stack.slices:
        return replace(maps, matrix=np.ascontiguousarray(maps.matrix[:, list(stack.order)]))
    if stack.order == tuple(range(stack.slices)):
        return maps
    if stack.order == tuple(reversed(range(stack.slices))):
        return replace(maps, matrix=np.ascontiguousarray(maps.matrix[:, ::-1]))
    raise ValueError("the slices of the volume are out of order, so a coarser map cannot be laid over them")


def volume_of(images: Sequence[MapSet]) -> MapSet:
    """The maps of a series' slices as those of a volume, in the order given. ValueError for maps that differ in kind.

    Probability and presence of a class are those of its most probable slice.
    """
    first = images[0]
    same = {(m.function_id, m.version, m.weights_sha256, m.names, m.matrix.shape) for m in images}
    if len(same) != 1 or first.slices is not None:
        raise ValueError("the slices' maps are not of one function and one size")
    return replace(
        first,
        others=tuple(one.sop_instance_uid for one in images[1:]),
        matrix=np.stack([one.matrix for one in images], axis=1),
        probabilities={name: max(one.probabilities[name] for one in images) for name in first.names},
        present={name: any(one.present[name] for one in images) for name in first.names},
    )


def volume_objects(
    maps: MapSet, stack: Stack, kind: str, when: dt.datetime, classes: Sequence[str] | None = None, each: bool = False
) -> Iterator[tuple[str, Dataset]]:
    """(name for a file without suffix, object) of a volume: frames of N×N, M slices for every class.

    kind     seg, seg-binary or pm
    classes  instead of all
    each     PM: one object for each class
    ValueError for another kind, a class that is not there, or maps that are of no volume.
    """
    if kind not in KINDS:
        raise ValueError(f"format {kind!r} is none of {', '.join(KINDS)}")
    wanted = along(maps.select(classes) if classes else maps, stack)
    header, sources = stack.headers[0], list(stack.headers)
    placed = stack.planes(wanted.cells, wanted.slices or 1)
    if kind != "pm":
        segments = seg.on_planes(wanted, sources, "binary" if kind == "seg-binary" else "fractional", placed)
        finish(segments, wanted, header, "seg", when, stack.place)
        yield kind, segments
        return
    for name in wanted.names if each else (None,):
        number = wanted.names.index(name) + 1 if name else 1
        own = identity(wanted, "pm", "alone" if name else "all", name or "", number)
        made = pm.on_planes(wanted.select([name]) if name else wanted, sources, own, placed)
        pm.anatomy(made, header)
        finish(made, wanted, header, "pm", when, stack.place)
        yield f"pm-{name}" if name else "pm", made
