"""The frames of an instance: where each lies, how its values are meant, and its stored values, in any order.

A single slice is an instance of one frame. Enhanced instances say it in functional groups, shared by all frames or one
item a frame (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import as_pixel_options, get_decoder
from pydicom.uid import UID

from portal.deidentify.faces import header
from portal.deidentify.faces.geometry import Floats, Plane
from portal.ingest.inspect import Damaged, Opened

RESCALED = "PixelValueTransformationSequence"
KEYWORDS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
# What tells frames at one place apart (PS3.3 C.7.6.16.2.2, C.8.13, C.8.15): the group, and the attribute in it.
TOLD_APART = (
    ("FrameContentSequence", "StackID"),
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue"),
    ("MRDiffusionSequence", "DiffusionDirectionality"),
    ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    ("MRImageFrameTypeSequence", "FrameType"),
    ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    ("CTImageFrameTypeSequence", "FrameType"),
    ("CTReconstructionSequence", "ConvolutionKernel"),
)
# Pointers of dimensions (PS3.3 C.7.6.17) that tell where a frame lies in its volume, or that number the frames.
SPATIAL = frozenset(
    {
        0x00200032,  # Image Position (Patient)
        0x00209057,  # In-Stack Position Number
        0x00201041,  # Slice Location
        0x00200013,  # Instance Number
        0x00209156,  # Frame Acquisition Number
    }
)


@dataclass(frozen=True)
class Frame:
    """A frame of grey values whose place is known.

    number  in the instance, from 0; slope, intercept: of stored values (PS3.3 C.11.1)
    kind    what frames of one volume have in common: stack, time, echo, …; and then the dimensions that say so too
    first   whether a look begins with such frames rather than others: magnitudes, not phases
    projection  all that lies along a ray is in each pixel: no slice
    """

    number: int
    plane: Plane
    slope: float = 1.0
    intercept: float = 0.0
    kind: tuple[str, ...] = ()
    first: bool = True
    projection: bool = False

    def measured(self, stored: NDArray[np.generic]) -> Floats:
        """Stored values as HU, or as MR measured them."""
        return (stored.astype(np.float32) * self.slope + self.intercept).astype(np.float32)

    def stored(
        self, values: Floats, where: NDArray[np.bool_], before: NDArray[np.generic], ends: tuple[int, int]
    ) -> NDArray[np.generic]:
        """New values as they are stored, between the ends of the bits' range; elsewhere what was stored before."""
        out = before.copy()
        out[where] = np.clip(np.round((values[where] - self.intercept) / self.slope), *ends).astype(before.dtype)
        return out


def ends(dataset: Dataset) -> tuple[int, int]:
    """The least and the largest value that can be stored."""
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0) or 0)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def count(dataset: Dataset) -> int:
    """How many frames an instance says it has."""
    return int(dataset.get("NumberOfFrames", 1) or 1)


def frames(dataset: Dataset) -> list[Frame]:
    """The frames of an (uncleaned) header whose place is known; none where there is nothing to look for."""
    if header.modality(dataset) is None:
        return []
    if str(dataset.SOPClassUID) in header.ENHANCED:
        return list(_enhanced(dataset))
    place, scale = header.plane(dataset), _scale(dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))
    flat = header.projection(dataset.get("ImageType"), header.modality(dataset) or "")
    return [Frame(0, place, *scale, projection=flat)] if place and scale and count(dataset) == 1 else []


def _scale(slope: Any, intercept: Any) -> tuple[float, float] | None:
    """(slope, intercept) as numbers, 1 and 0 where there are none; None where they are impossible."""
    try:
        found = float(slope or 1), float(intercept or 0)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


def _enhanced(dataset: Dataset) -> Iterator[Frame]:
    shared = _first(dataset.get("SharedFunctionalGroupsSequence")) or Dataset()
    dimensions = _dimensions(dataset)
    size = (int(dataset.Rows), int(dataset.Columns))
    kind = header.modality(dataset)
    known: dict[tuple[str, ...], Plane | None] = {}  # of a place: 2,000 frames may be 40 places in 50 moments
    for number, own in enumerate(list(dataset.get("PerFrameFunctionalGroupsSequence") or [])[: count(dataset)]):
        groups = _Groups(own, shared)
        position = groups.value("PlanePositionSequence", "ImagePositionPatient")
        orientation = groups.value("PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = groups.value("PixelMeasuresSequence", "PixelSpacing")
        key = (str(position), str(orientation), str(spacing))
        if key not in known:
            known[key] = header.placed(position, orientation, spacing, size)
        place = known[key]
        scale = _scale(groups.value(RESCALED, "RescaleSlope"), groups.value(RESCALED, "RescaleIntercept"))
        if place is None or scale is None:
            continue
        told = [str(groups.value(group, keyword) or "") for group, keyword in TOLD_APART]
        indices = groups.value("FrameContentSequence", "DimensionIndexValues")
        indices = indices if isinstance(indices, MultiValue) else [indices]
        others = [str(indices[n]) for n in dimensions if n < len(indices)]
        image = groups.value(f"{kind}ImageFrameTypeSequence", "FrameType") or dataset.get("ImageType")
        part = groups.value("MRImageFrameTypeSequence", "ComplexImageComponent")
        yield Frame(
            number,
            place,
            *scale,
            ("\n".join(told), "\n".join(others)),
            str(part or "MAGNITUDE") in {"MAGNITUDE", "MIXED"},
            header.projection(image, kind or ""),
        )


@dataclass(frozen=True)
class _Groups:
    """The functional groups of one frame: its own, else the shared ones."""

    own: Dataset
    shared: Dataset

    def value(self, group: str, keyword: str) -> Any:
        for groups in (self.own, self.shared):
            item = _first(groups.get(group))
            if item is not None and item.get(keyword) is not None:
                return item.get(keyword)
        return None


def _first(sequence: Any) -> Dataset | None:
    return sequence[0] if sequence is not None and len(sequence) else None


def _dimensions(dataset: Dataset) -> list[int]:
    """Which of the dimensions tell volumes apart, not the places in one."""
    found = dataset.get("DimensionIndexSequence") or []
    return [n for n, item in enumerate(found) if int(item.get("DimensionIndexPointer", 0) or 0) not in SPATIAL]


def hull(found: Sequence[Frame]) -> list[Plane]:
    """The outermost planes of the stacks in an instance: what of 2,000 frames has to be remembered."""
    ends: dict[tuple[Any, ...], list[Plane]] = {}
    for plane in {frame.plane: None for frame in found}:
        ends.setdefault((plane.along, plane.down, plane.spacing, plane.shape), []).append(plane)
    kept: dict[Plane, None] = {}
    for planes in ends.values():
        kept |= dict.fromkeys([min(planes, key=lambda p: p.place), max(planes, key=lambda p: p.place)])
    return list(kept)


class Reader:
    """The stored values of an instance's frames, each decoded when it is asked for, in any order."""

    def __init__(self, found: Opened) -> None:
        if found.pixels is None:
            raise Damaged("no_pixels")
        self._stream, self._start = found.stream, found.pixels.value
        syntax = UID(found.syntax)
        options: dict[str, Any] = {"pixel_keyword": KEYWORDS[found.pixels.tag]}
        if not syntax.is_implicit_VR:
            found.stream.seek(found.pixels.start + 4)
            options["pixel_vr"] = found.stream.read(2).decode("ascii", "replace")
        options = as_pixel_options(found.dataset, transfer_syntax_uid=syntax, **options)
        fragments = found.pixels.fragments or ()
        if len(fragments) > 1 and len(fragments) == options["number_of_frames"]:  # no need to go through all of them
            first = fragments[0][0]
            options["extended_offsets"] = ([at - first for at, _ in fragments], [length for _, length in fragments])
        self._options, self._decoder = options, get_decoder(syntax)

    def __call__(self, number: int) -> NDArray[Any]:
        """(rows, columns) of one frame, counted from 0. Raises what pydicom's decoders raise."""
        self._stream.seek(self._start)
        return self._decoder.as_array(self._stream, index=number, raw=True, **self._options)[0]


class Files:
    """Instances whose frames are asked for in any order; those that were asked last stay open.

    opens  gives an instance by its key
    """

    KEPT = 2

    def __init__(self, opens: Callable[[Any], AbstractContextManager[Opened]]) -> None:
        self._opens = opens
        self._open: OrderedDict[Any, tuple[ExitStack, dict[int, Frame], Reader]] = OrderedDict()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1][0].close()

    def frames(self, key: Any) -> list[Frame]:
        """The frames of an instance. Raises what `opens` raises, and Damaged."""
        return list(self._get(key)[1].values())

    def values(self, key: Any, number: int) -> Floats:
        """What was measured in one frame (see Frame.measured). Raises what decoders raise, too."""
        _, found, reader = self._get(key)
        return found[number].measured(reader(number))

    def _get(self, key: Any) -> tuple[ExitStack, dict[int, Frame], Reader]:
        if key not in self._open:
            while len(self._open) >= self.KEPT:
                self._open.popitem(last=False)[1][0].close()
            with ExitStack() as stack:
                file = stack.enter_context(self._opens(key))
                found = {frame.number: frame for frame in frames(file.dataset)}
                reader = Reader(file)
                self._open[key] = (stack.pop_all(), found, reader)
        self._open.move_to_end(key)
        return self._open[key]
