"""Read one DICOM image into display values from 0 (dark) to 1 (bright)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from inference.preprocess import fiducials
from inference.preprocess.errors import (
    ImageError,
    NoContrast,
    NotFinite,
    TooLarge,
    TooSmall,
    Unreadable,
    Unsupported,
)

Float = NDArray[np.float32]

MAMMOGRAPHY_VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "XCCL", "XCCM", "SIO")
# View codes of PS3.16 CID 4014 and CID 4010, SNOMED CT and the retired SRT values that files still hold.
VIEW_CODES = {
    "399162004": "CC", "R-10242": "CC",
    "399368009": "MLO", "R-10226": "MLO",
    "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM",
    "272479007": "PA", "R-10214": "PA",
    "399348003": "AP", "R-10206": "AP",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What is refused: more pixels than `pixels`, or a side shorter than `side`."""

    pixels: int = 80_000_000
    side: int = 16


@dataclass(frozen=True)
class ViewHint:
    """Laterality and view from elsewhere (a standardised header); they win over the file's tags."""

    laterality: str | None = None
    view: str | None = None


@dataclass(frozen=True)
class ScanImage:
    """One image ready to be measured.

    pixels      (rows, columns) float32 in [0, 1], 1 = white as displayed; the means of `factor`² stored values where
                the image was shrunk while it was read
    rows, columns  of the file
    spacing_mm  between pixel centres, (rows, columns), None when the file has none
    """

    pixels: Float
    sop_instance_uid: str
    study_instance_uid: str
    modality: str
    laterality: str | None
    view: str | None
    spacing_mm: tuple[float, float] | None
    rows: int
    columns: int
    factor: int = 1
    warnings: tuple[str, ...] = field(default=())


def read_image(
    path: Path, limits: Limits | None = None, hint: ViewHint | None = None, least: tuple[int, int] | None = None
) -> ScanImage:
    """Decode and display one single-frame image (PS3.3 C.7.6.3, C.11.1, C.11.2).

    Rescale, VOI window or LUT, MONOCHROME1 inversion; colour becomes luminance. What was missing or
    assumed is in `warnings`.

    least  (rows, columns) that are enough: a larger image is averaged over whole pixels down to twice that before it
           is windowed, which costs a fraction of windowing all of it. Lookup tables, padding and colour are read whole.
    Raises Unreadable, Unsupported, TooLarge, TooSmall, NotFinite or NoContrast (all ImageError).
    """
    limits, name = limits or Limits(), Path(path).name
    try:
        ds = dcmread(path, defer_size=1 << 20)  # so that what is too large is refused before its pixels are read
    except (InvalidDicomError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{name}: not a readable DICOM file ({error})") from error
    _check_size(ds, name, limits)
    warnings: list[str] = []
    try:
        stored = np.asarray(ds.pixel_array)
    except Exception as error:  # decoders raise what they like; all of it means the same here
        raise Unreadable(f"{name}: the pixels cannot be decoded ({error})") from error
    try:
        factor = _factor(ds, stored, least)
        if factor > 1:
            stored = np.asarray(Image.fromarray(stored.astype(np.float32)).reduce(factor))
        values = _display(ds, stored, name, warnings)
    except ImageError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise Unreadable(f"{name}: the values cannot be displayed ({error})") from error
    laterality, view = _laterality(ds), _view(ds)
    if hint:
        laterality, view = hint.laterality or laterality, hint.view or view
    return ScanImage(
        pixels=values,
        sop_instance_uid=str(ds.get("SOPInstanceUID", "")),
        study_instance_uid=str(ds.get("StudyInstanceUID", "")),
        modality=str(ds.get("Modality", "")),
        laterality=laterality,
        view=view,
        spacing_mm=_spacing(ds),
        rows=int(ds.Rows),
        columns=int(ds.Columns),
        factor=factor,
        warnings=tuple(warnings),
    )


def _check_size(ds: FileDataset, name: str, limits: Limits) -> None:
    if not any(key in ds for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Unsupported(f"{name}: holds no pixels")
    try:
        rows, columns = int(ds.Rows), int(ds.Columns)
        frames = int(ds.get("NumberOfFrames", 1) or 1)
    except (AttributeError, ValueError, TypeError) as error:
        raise Unreadable(f"{name}: rows or columns are missing ({error})") from error
    if frames > 1:
        raise Unsupported(f"{name}: has {frames} frames, one is expected")
    if rows * columns > limits.pixels:
        raise TooLarge(f"{name}: {columns} x {rows} pixels are over the limit of {limits.pixels}")
    if min(rows, columns) < limits.side:
        raise TooSmall(f"{name}: {columns} x {rows} pixels, each side must have {limits.side}")


def _factor(ds: FileDataset, stored: NDArray[Any], least: tuple[int, int] | None) -> int:
    """By how much the stored values may be averaged before they are displayed; 1 where that would change them."""
    whole = "PixelPaddingValue" in ds or "ModalityLUTSequence" in ds or "VOILUTSequence" in ds
    whole = whole or bool(fiducials.boxes(ds))
    grey = stored.ndim == 2 and str(ds.get("PhotometricInterpretation", "")).startswith("MONOCHROME")
    if least is None or whole or not grey or str(ds.get("VOILUTFunction", "LINEAR") or "LINEAR") == "SIGMOID":
        return 1
    return max(1, min(stored.shape[0] // (2 * least[0]), stored.shape[1] // (2 * least[1])))


def _display(ds: FileDataset, stored: NDArray[Any], name: str, warnings: list[str]) -> Float:
    interpretation = str(ds.get("PhotometricInterpretation", "MONOCHROME2"))
    if interpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, ds)
    if stored.ndim == 3 and stored.shape[-1] in (3, 4):
        warnings.append("colour image, luminance used")
        top = float(np.iinfo(stored.dtype).max) if stored.dtype.kind in "ui" else 1.0
        grey = stored[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        if (hidden := fiducials.mask(ds, grey.shape)) is not None:
            grey[hidden] = 0
        return _finish(grey / top, name)
    if stored.ndim != 2:
        raise Unsupported(f"{name}: pixels of shape {stored.shape}, one plane is expected")
    padding = _padding(ds, stored)
    if (hidden := fiducials.mask(ds, stored.shape)) is not None:
        padding = hidden if padding is None else padding | hidden
    values = apply_modality_lut(stored, ds) if "ModalityLUTSequence" in ds else _rescaled(ds, stored)
    if not np.isfinite(values).all():
        raise NotFinite(f"{name}: has values that are not finite")
    if "VOILUTSequence" in ds and len(ds.VOILUTSequence):
        bits = int(ds.VOILUTSequence[0].LUTDescriptor[2])
        shown = np.asarray(apply_voi_lut(values.astype(np.int64), ds), np.float32) / float(2**bits - 1)
    elif (window := _window(ds)) is not None:
        shown = _windowed(values, *window, str(ds.get("VOILUTFunction", "LINEAR") or "LINEAR"))
    else:
        warnings.append("no display window in the header, the range of the pixels used")
        low, high = np.percentile(values[::4, ::4], [0.2, 99.8])
        if high <= low:
            low, high = float(values.min()), float(values.max())
        if high <= low:
            raise NoContrast(f"{name}: all pixels are the same")
        shown = (values - np.float32(low)) / np.float32(high - low)
    if interpretation == "MONOCHROME1":
        shown = 1.0 - shown
    if padding is not None:
        shown = np.where(padding, np.float32(0), shown)
    return _finish(shown, name)


def _finish(shown: NDArray[Any], name: str) -> Float:
    if not np.isfinite(shown).all():
        raise NotFinite(f"{name}: has values that are not finite")
    out = np.clip(shown, 0.0, 1.0).astype(np.float32, copy=False)
    if float(out.max()) == float(out.min()):
        raise NoContrast(f"{name}: all pixels are the same")
    return out


def _padding(ds: FileDataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where Pixel Padding Value says there is no image (PS3.3 C.7.5.1.1.2)."""
    if "PixelPaddingValue" not in ds or not isinstance(ds.PixelPaddingValue, int):
        return None
    first = ds.PixelPaddingValue
    last = ds.get("PixelPaddingRangeLimit", first)
    last = last if isinstance(last, int) else first
    mask: NDArray[np.bool_] = (stored >= min(first, last)) & (stored <= max(first, last))
    return mask


def _rescaled(ds: FileDataset, stored: NDArray[Any]) -> Float:
    slope, intercept = float(ds.get("RescaleSlope", 1) or 1), float(ds.get("RescaleIntercept", 0) or 0)
    values = stored.astype(np.float32)
    if (slope, intercept) != (1.0, 0.0):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is refused by name
            values = values * np.float32(slope) + np.float32(intercept)
    return values


def _window(ds: FileDataset) -> tuple[float, float] | None:
    """The first window of the header; None when there is none or it is not usable."""
    found = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = ds.get(keyword)
        if value is None or value == "":
            return None
        if isinstance(value, (list, tuple)) or (hasattr(value, "__len__") and not isinstance(value, str)):
            if not len(value):
                return None
            value = value[0]
        found.append(float(value))
    if not np.isfinite(found).all() or found[1] < 1:
        return None
    return found[0], found[1]


def _windowed(values: Float, centre: float, width: float, function: str) -> Float:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, output 0 to 1."""
    if function == "SIGMOID":
        return (1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -60, 60)))).astype(np.float32)
    if function == "LINEAR_EXACT":
        return ((values - np.float32(centre)) / np.float32(width) + np.float32(0.5)).astype(np.float32)
    span = max(width - 1.0, 1e-6)
    return ((values - np.float32(centre - 0.5)) / np.float32(span) + np.float32(0.5)).astype(np.float32)


def _laterality(ds: FileDataset) -> str | None:
    for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
        value = str(ds.get(keyword, "") or "").strip().upper()
        if value in ("L", "R"):
            return value
    return None


def _view(ds: FileDataset) -> str | None:
    value = str(ds.get("ViewPosition", "") or "").strip().upper()
    if value:
        return value
    for item in ds.get("ViewCodeSequence") or []:
        if code := VIEW_CODES.get(str(item.get("CodeValue", ""))):
            return code
    return None


def _spacing(ds: FileDataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        value = ds.get(keyword)
        try:
            if value is not None and len(value) == 2 and float(value[0]) > 0 and float(value[1]) > 0:
                return float(value[0]), float(value[1])
        except (TypeError, ValueError):
            continue
    return None
