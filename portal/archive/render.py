"""Pictures of a frame: VOI window, inversion, size (PS3.18 section 8.3.5.1.4, PS3.3 C.11.2)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

from portal.core.errors import Refused

MAX_SIDE = 8192


@dataclass(frozen=True)
class Look:
    """How a picture is asked for."""

    kind: str = "image/jpeg"
    width: int = 0
    height: int = 0
    window: tuple[float, float, str] | None = None
    quality: int = 90


def look_from(query: Any, kind: str, side: int = 0) -> Look:
    """Parse viewport=w,h window=c,w,function quality=1..100. Raises Refused."""
    try:
        width, height = side, side
        if given := query.get("viewport"):
            width, height = (int(float(v)) for v in given.split(",")[:2])
        window = None
        if given := query.get("window"):
            centre, span, *function = given.split(",")
            window = (float(centre), float(span), function[0].lower() if function else "linear")
        quality = int(query.get("quality") or 90)
    except (ValueError, TypeError):
        raise Refused("bad_query", "viewport=w,h window=centre,width,function quality=1..100", status=400) from None
    if not (0 <= width <= MAX_SIDE and 0 <= height <= MAX_SIDE and 1 <= quality <= 100):
        raise Refused("bad_query", f"A picture has at most {MAX_SIDE} pixels a side.", status=400)
    return Look(kind, width, height, window, quality)


def picture(path: Path, frame: int, look: Look) -> bytes:
    """Return one frame (counted from 1) as JPEG or PNG. Raises Refused when it cannot be decoded."""
    dataset = dcmread(path, force=True)
    try:
        pixels = pixel_array(dataset, index=frame - 1)
        grey = _grey(dataset, pixels, look) if pixels.ndim == 2 else _eight_bits(pixels)
    except Exception as error:
        raise Refused("not_rendered", f"This image cannot be shown as a picture ({type(error).__name__}).", 406)
    image = Image.fromarray(grey)
    if look.width and look.height:
        image.thumbnail((look.width, look.height), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if look.kind == "image/png":
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=look.quality)
    return out.getvalue()


def _grey(dataset: Dataset, pixels: np.ndarray, look: Look) -> np.ndarray:
    values = apply_modality_lut(pixels, dataset)
    if look.window:
        low, high = _bounds(*look.window[:2])
    elif "WindowCenter" in dataset or "VOILUTSequence" in dataset:
        values = apply_voi_lut(values, dataset)
        low, high = float(values.min()), float(values.max())
        if "VOILUTSequence" not in dataset:  # the window's ends, not the picture's
            bits = int(dataset.get("BitsStored", 8))
            shown = 2**bits - 1
            if low >= 0 and high <= shown and not dataset.get("ModalityLUTSequence"):
                low, high = _voi_range(dataset, low, high)
    else:
        low, high = float(values.min()), float(values.max())
    scaled = np.clip((values.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        scaled = 1 - scaled
    return (scaled * 255 + 0.5).astype(np.uint8)


def _voi_range(dataset: Dataset, low: float, high: float) -> tuple[float, float]:
    """The output range of pydicom's window: that of the stored bits, rescaled."""
    bits = int(dataset.get("BitsStored", 8))
    first = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") == 1 else 0
    last = first + 2**bits - 1
    slope, rest = float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    return min(first * slope + rest, low), max(last * slope + rest, high)


def _bounds(centre: float, width: float) -> tuple[float, float]:
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    top = float(pixels.max()) or 1.0
    return (pixels.astype(np.float32) / top * 255).astype(np.uint8)
