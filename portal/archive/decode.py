"""Frames that cannot be sent as they are stored: decoded to Explicit VR Little Endian bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from portal.core.errors import Refused


def frame_array(dataset: Dataset | Path, frame: int, raw: bool = False) -> NDArray[Any]:
    """(rows, columns[, samples]) of one frame, counted from 1; `raw` leaves colours as they are stored.

    Raises Refused (406) when no decoder can make it.
    """
    try:
        return pixel_array(dataset, index=frame - 1, raw=raw)
    except Exception as error:  # decoders raise what they like; all of it means the same here
        words = f"This frame cannot be decoded ({type(error).__name__})."
        raise Refused("not_acceptable", words, status=406) from error


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
