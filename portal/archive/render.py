"""Pictures of a frame: VOI window, inversion, region, size (PS3.18 section 8.3.5.1, PS3.3 C.11.2)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

from portal.archive.decode import frame_array, native_frame
from portal.core.errors import Refused

VERSION = 3  # part of the cache key: grows when the same request makes another picture
MAX_SIDE = 4096
THUMBNAIL = 256
MOST_FRAMES = 500  # of one GIF
PROFILES = ("no", "yes", "srgb")
cv2.setNumThreads(1)  # pictures are made beside each other; OpenCV's own threads would wait for a core by spinning
ANNOTATIONS = {
    "patient": ("PatientName", "PatientID", "PatientSex", "PatientAge", "StudyDate"),
    "technique": ("Modality", "ViewPosition", "ImageLaterality", "KVP", "ExposureTime", "SliceThickness"),
}
FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
Shade = Callable[[NDArray[Any]], NDArray[np.float32]]
Window = tuple[float, float, str]  # centre, width, VOI LUT function


@dataclass(frozen=True)
class Look:
    """How a picture is asked for; region is (x, y, width, height) in image pixels."""

    kind: str = "image/jpeg"
    width: int = 0
    height: int = 0
    region: tuple[int, int, int, int] | None = None
    window: Window | None = None
    quality: int = 90
    annotation: tuple[str, ...] = ()
    profile: str = "no"

    @property
    def as_it_is(self) -> bool:
        """Whether a JPEG of the whole frame is asked for, with nothing in it or beside it."""
        return self == Look(window=self.window, quality=self.quality)


def digest(sha256: str, frames: list[int], look: Look) -> str:
    """The name of a picture: what it shows and how, and the version of this module."""
    return hashlib.sha256(f"{VERSION}/{sha256}/{frames}/{look}".encode()).hexdigest()


def look_from(query: Any, kind: str, side: int = 0) -> Look:
    """Parse viewport=w,h[,x,y,w,h] window=centre,width[,function] quality=1..100 annotation=patient,technique
    iccprofile=no|yes|srgb. Raises Refused (400).
    """
    width, height, region, window = side, side, None, None
    try:
        if given := query.get("viewport"):
            numbers = [int(float(v)) for v in given.split(",") if v.strip()]
            width, height, *rest = numbers
            if rest:
                x, y, w, h = rest
                region = (x, y, w, h)
        if given := query.get("window"):
            centre, span, *function = given.split(",")
            window = (float(centre), float(span), FUNCTIONS[(function or ["linear"])[0].strip().lower()])
            if not np.isfinite(window[:2]).all() or window[1] < 1e-6:
                raise ValueError
        quality = int(query.get("quality") or 90)
    except (ValueError, TypeError, KeyError, OverflowError):
        words = "viewport=w,h[,x,y,w,h] window=centre,width,linear|linear-exact|sigmoid quality=1..100"
        raise Refused("bad_query", words, status=400) from None
    if not (0 <= width <= MAX_SIDE and 0 <= height <= MAX_SIDE and 1 <= quality <= 100):
        raise Refused("bad_query", f"A picture has at most {MAX_SIDE} pixels a side.", status=400)
    annotation = tuple(sorted({word.strip() for word in (query.get("annotation") or "").split(",") if word.strip()}))
    profile = (query.get("iccprofile") or "no").strip().lower()
    if not set(annotation) <= set(ANNOTATIONS) or profile not in PROFILES:
        words = f"annotation is any of {','.join(ANNOTATIONS)}; iccprofile one of {', '.join(PROFILES)}."
        raise Refused("bad_query", words, status=400)
    return Look(kind, width, height, region, window, quality, annotation, profile)


def picture(path: Path, frames: list[int], look: Look) -> bytes:
    """Frames (counted from 1) as JPEG or PNG (the first) or GIF (all). Raises Refused when they cannot be shown."""
    dataset = None
    images = []
    for frame in frames[: MOST_FRAMES if look.kind == "image/gif" else 1]:
        found = native_frame(path, frame) if dataset is None else None
        if found:
            header, pixels = found
        else:
            header = dataset = dcmread(path, force=True) if dataset is None else dataset
            pixels = frame_array(dataset, frame)
        try:
            shades = shown(header, pixels, look.window)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError) as error:
            words = f"This image cannot be shown as a picture ({type(error).__name__})."
            raise Refused("not_rendered", words, status=406) from error
        if look.as_it_is:
            return _jpeg(shades, look.quality)
        images.append(annotated(_sized(Image.fromarray(shades), look), header, look.annotation))
    out, profile = io.BytesIO(), colour_profile(header, look.profile, images[0].mode)
    extra = {"icc_profile": profile} if profile else {}
    match look.kind:
        case "image/png":
            images[0].save(out, "PNG", compress_level=1, **extra)
        case "image/gif":
            rest = {"save_all": True, "append_images": images[1:], "loop": 0} if len(images) > 1 else {}
            images[0].save(out, "GIF", duration=_milliseconds(header), **rest)
        case _ if extra:
            images[0].save(out, "JPEG", quality=look.quality, **extra)
        case _:
            return _jpeg(np.asarray(images[0]), look.quality)
    return out.getvalue()


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """As Pillow writes it, which keeps other threads waiting meanwhile."""
    blue_first = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def _milliseconds(dataset: Dataset) -> float:
    """How long a frame is shown: Frame Time, else Recommended Display Frame Rate, else ten a second."""
    try:
        time = float(dataset.get("FrameTime") or 0) or 1000 / float(dataset.get("RecommendedDisplayFrameRate") or 10)
    except (TypeError, ValueError, ZeroDivisionError):
        time = 100
    return min(max(time, 20), 10_000)


def colour_profile(dataset: Dataset, wanted: str, mode: str) -> bytes | None:
    """The ICC profile to embed: the image's own where it has one, else sRGB for colour."""
    if wanted == "no" or mode == "L":
        return None
    own = dataset.get("ICCProfile")
    if wanted == "yes" and isinstance(own, bytes) and own:
        return own
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def annotated(image: Image.Image, dataset: Dataset, kinds: tuple[str, ...]) -> Image.Image:
    """Burn in what identifies the (pseudonymous) patient, and how the image was made (PS3.18 8.3.5.1.1)."""
    draw = ImageDraw.Draw(image)
    size = max(9, min(image.size) // 40)
    for kind in kinds:
        values = [str(dataset.get(keyword) or "") for keyword in ANNOTATIONS[kind]]
        text = "\n".join(value for value in values if value)
        place, anchor, align = ((4, 4), "la", "left") if kind == "patient" else ((image.width - 4, 4), "ra", "right")
        draw.multiline_text(
            place, text, fill="white", anchor=anchor, align=align, font_size=size, stroke_width=1, stroke_fill="black"
        )
    return image


def _sized(image: Image.Image, look: Look) -> Image.Image:
    if look.region:
        x, y, w, h = look.region
        box = (max(0, x), max(0, y), min(image.width, x + w), min(image.height, y + h))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise Refused("bad_query", "The region lies outside the image.", status=400)
        image = image.crop(box)
    if look.width and look.height:
        scale = min(look.width / image.width, look.height / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return image


def shown(dataset: Dataset, pixels: NDArray[Any], window: Window | None = None) -> NDArray[np.uint8]:
    """Display values 0..255 of decoded pixels, (rows, columns) or (rows, columns, 3)."""
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    if pixels.ndim == 3:
        if pixels.dtype == np.uint8:
            return np.ascontiguousarray(pixels[..., :3])
        top = float(2 ** int(dataset.get("BitsStored", 16)) - 1) if pixels.dtype == np.uint16 else float(pixels.max())
        top = max(top, float(pixels.max()), 1e-6)
        return (pixels[..., :3].astype(np.float32) / top * 255 + 0.5).astype(np.uint8)
    shade = _shading(dataset, pixels, window)
    if pixels.dtype.itemsize <= 2 and pixels.dtype.kind in "iu" and pixels.size > 1 << 16:
        # one look-up for each possible value is cheaper than arithmetic for each pixel
        bits = 8 * pixels.dtype.itemsize
        values = np.arange(int(pixels.min()), int(pixels.max()) + 1, dtype=np.int32)
        table = np.zeros((1, 1 << bits), np.uint8)
        table[0, values & (1 << bits) - 1] = _eight_bits(shade(values))
        return np.asarray(cv2.LUT(np.ascontiguousarray(pixels).view(f"u{bits // 8}"), table), np.uint8)
    return _eight_bits(shade(pixels))


def _eight_bits(shades: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (np.clip(np.nan_to_num(shades), 0, 1) * 255 + 0.5).astype(np.uint8)


def _shading(dataset: Dataset, pixels: NDArray[Any], window: Window | None) -> Shade:
    """Stored values → 0 (dark) to 1 (bright): modality LUT, VOI, MONOCHROME1."""
    window = window or _header_window(dataset)
    table = None if window else _voi_table(dataset)
    low, high = (0.0, 1.0) if window or table else _ends(dataset, pixels)
    inverse = dataset.get("PhotometricInterpretation") == "MONOCHROME1"

    def shade(stored: NDArray[Any]) -> NDArray[np.float32]:
        values = apply_modality_lut(stored, dataset)
        if window:
            out = windowed(values.astype(np.float32), *window)
        elif table:
            out = apply_voi_lut(values.astype(np.int32), dataset, prefer_lut=True).astype(np.float32) / table
        else:
            out = (values.astype(np.float32) - low) / max(high - low, 1e-6)
        return 1 - out if inverse else out

    return shade


def windowed(values: NDArray[np.float32], centre: float, width: float, function: str) -> NDArray[np.float32]:
    """0..1 by a window (PS3.3 C.11.2.1.2.1 LINEAR, C.11.2.1.3.1 SIGMOID, C.11.2.1.3.2 LINEAR_EXACT)."""
    if function == "SIGMOID":
        return (1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -60, 60)))).astype(np.float32)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1).astype(np.float32)
    return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1).astype(np.float32)


def _header_window(dataset: Dataset) -> Window | None:
    """The first window of the header; a VOI LUT sequence, where there is one, comes before it."""
    if len(dataset.get("VOILUTSequence") or []):
        return None
    found = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = dataset.get(keyword)
        if value is not None and not isinstance(value, (str, float, int)) and hasattr(value, "__len__"):
            value = value[0] if len(value) else None
        if value is None or value == "":
            return None
        found.append(float(value))
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR")
    if not np.isfinite(found).all() or found[1] < (1 if function == "LINEAR" else 1e-6):
        return None
    return found[0], found[1], function


def _voi_table(dataset: Dataset) -> float | None:
    items = dataset.get("VOILUTSequence") or []
    return float(2 ** int(items[0].LUTDescriptor[2]) - 1) if len(items) else None


def _ends(dataset: Dataset, pixels: NDArray[Any]) -> tuple[float, float]:
    """Where black and white lie without a window: the range of the pixels that are no padding."""
    padding = dataset.get("PixelPaddingValue")
    kept = pixels[pixels != padding] if isinstance(padding, int) else pixels
    kept = kept if kept.size else pixels
    ends = apply_modality_lut(np.array([kept.min(), kept.max()], dtype=pixels.dtype), dataset)
    return float(min(ends)), float(max(ends))
