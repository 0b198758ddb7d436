"""Frames that cannot be sent as they are stored: decoded to Explicit VR Little Endian bytes."""

from __future__ import annotations

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


def frame_array(dataset: Dataset | Path, frame: int, raw: bool = False) -> NDArray[Any]:
    """(rows, columns[, samples]) of one frame, counted from 1; `raw` leaves colours as they are stored.

    Raises Refused (406) when no decoder can make it.
    """
    try:
        return pixel_array(dataset, index=frame - 1, raw=raw)
    except Exception as error:  # decoders raise what they like; all of it means the same here
        words = f"This frame cannot be decoded ({type(error).__name__})."
        raise Refused("not_acceptable", words, status=406) from error


def native_frame(path: Path, frame: int) -> tuple[Dataset, NDArray[Any]] | None:
    """(header, pixels) of a frame of one sample of 8 or 16 bits that is stored as it is; only the frame is read.

    None for everything else, which `frame_array` decodes: also where more than the pixel stands in its bits.
    """
    with path.open("rb") as file:
        try:
            header = dcmread(file, stop_before_pixels=True, force=True)
            syntax = UID(header.file_meta.TransferSyntaxUID)
            if syntax.is_encapsulated or syntax.is_deflated or not syntax.is_little_endian:
                return None
            rows, columns, bits, stored = (int(header[name].value) for name in NEEDED)
            signed = bool(header.PixelRepresentation)
            element = pixel_element(file, syntax)
            each = rows * columns * bits // 8
            if header.SamplesPerPixel != 1 or bits not in {8, 16} or element is None or element.tag != PIXEL_DATA:
                return None
            if not 0 < stored <= bits or frame * each > element.length:
                return None
        except (AttributeError, KeyError, TypeError, ValueError, InvalidDicomError, BrokenPixels):
            return None
        file.seek(element.offset + (frame - 1) * each)
        pixels = np.fromfile(file, f"<{'i' if signed else 'u'}{bits // 8}", rows * columns)
    if pixels.size != rows * columns or not pixels.size:
        return None
    ends = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    if stored < bits and not ends[0] <= pixels.min() <= pixels.max() <= ends[1]:
        return None
    return header, pixels.reshape(rows, columns)


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
