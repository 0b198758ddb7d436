"""Frames that cannot be sent as they are stored: decoded to Explicit VR Little Endian bytes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import pixel_array
from pydicom.uid import UID

from portal.archive.frames import BrokenPixels, pixel_element
from portal.core.errors import Refused

NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored")
PIXEL_DATA = 0x7FE00010
MOST_HEADER = 1 << 20  # bytes before the pixels of what is read this way, since headers are kept


def frame_array(dataset: Dataset | Path, frame: int, raw: bool = False) -> NDArray[Any]:
    """(rows, columns[, samples]) of one frame, counted from 1; `raw` leaves colours as they are stored.

    Raises Refused (406) when no decoder can make it.
    """
    try:
        return pixel_array(dataset, index=frame - 1, raw=raw)
    except Exception as error:  # decoders raise what they like; all of it means the same here
        words = f"This frame cannot be decoded ({type(error).__name__})."
        raise Refused("not_acceptable", words, status=406) from error


@dataclass(frozen=True)
class _Native:
    """Pixels that lie in a file as numpy has them: one sample of 8 or 16 bits."""

    header: Dataset
    shape: tuple[int, int]
    bits: int
    stored: int
    signed: bool
    offset: int
    length: int


def native_frame(path: Path, frame: int) -> tuple[Dataset, NDArray[Any]] | None:
    """(header, pixels) of a frame of one sample of 8 or 16 bits that is stored as it is; only the frame is read.

    The header is shared between calls and must not be changed.
    None for everything else, which `frame_array` decodes: also where more than the pixel stands in its bits.
    """
    about = path.stat()
    found = _native(path, about.st_ino, about.st_mtime_ns, about.st_size)
    if found is None:
        return None
    count = found.shape[0] * found.shape[1]
    each = count * found.bits // 8
    if not count or not 0 < frame * each <= found.length:
        return None
    kind = f"<{'i' if found.signed else 'u'}{found.bits // 8}"
    pixels = np.fromfile(path, kind, count, offset=found.offset + (frame - 1) * each)
    if pixels.size != count:
        return None
    half = 1 << found.stored - 1
    ends = (-half, half - 1) if found.signed else (0, 2 * half - 1)
    if found.stored < found.bits and not ends[0] <= pixels.min() <= pixels.max() <= ends[1]:
        return None
    return found.header, pixels.reshape(found.shape)


@functools.lru_cache(128)  # whoever moves a window asks for the same image again and again
def _native(path: Path, *_state: int) -> _Native | None:
    """Where the pixels lie; _state is what changes when another file takes this one's place."""
    with path.open("rb") as file:
        try:
            header = dcmread(file, stop_before_pixels=True, force=True)
            syntax = UID(header.file_meta.TransferSyntaxUID)
            if syntax.is_encapsulated or syntax.is_deflated or not syntax.is_little_endian:
                return None
            rows, columns, bits, stored = (int(header[name].value) for name in NEEDED)
            element = pixel_element(file, syntax)
            if header.SamplesPerPixel != 1 or bits not in {8, 16} or element is None or element.tag != PIXEL_DATA:
                return None
            if not 0 < stored <= bits or element.offset > MOST_HEADER:
                return None
            signed = bool(header.PixelRepresentation)
            return _Native(header, (rows, columns), bits, stored, signed, element.offset, element.length)
        except (AttributeError, KeyError, TypeError, ValueError, InvalidDicomError, BrokenPixels):
            return None


def decoded_frames(path: Path, frames: list[int]) -> list[bytes]:
    """Uncompressed little-endian bytes of frames, as the file's metadata describes them.

    Sub-sampled colour (YBR_FULL_422) cannot be described without its sub-sampling and becomes RGB, as other
    servers send it. Raises Refused (406).
    """
    dataset = dcmread(path, force=True)
    subsampled = str(dataset.get("PhotometricInterpretation", "")) == "YBR_FULL_422"
    return [_as_described(dataset, frame_array(dataset, n, raw=not subsampled)) for n in frames]


def _as_described(dataset: Dataset, frame: NDArray[Any]) -> bytes:
    if dataset.get("BitsAllocated") == 1:
        return np.packbits(frame.reshape(-1), bitorder="little").tobytes()
    if frame.ndim == 3 and dataset.get("PlanarConfiguration") == 1:
        frame = frame.transpose(2, 0, 1)
    return frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()
