"""Cover regions of an instance's pixels with typed fiducials, on every frame (seed 001 FIG. 10B).

A fiducial is a rectangle of one grey value with a label of another, both of the image's own range. Where fiducials
lie is written into the header too (`mark`), so that what measures images need not guess: see inference.preprocess.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import get_encoder, iter_pixels
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from inference.preprocess.fiducials import BLOCK, CREATOR, GROUP
from portal.deidentify.pixels.shown import NotShown
from portal.deidentify.pixels.where import Box
from portal.ingest.inspect import Opened
from portal.ingest.pixels import PixelElement
from portal.ingest.rules import BIG_ENDIAN, NATIVE

PIXEL_DATA = 0x7FE00010
# Syntaxes that are lossy by their name (PS3.5 A.4.1, A.4.3); of the others the header says whether they are.
LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"})
DARK, BRIGHT = 0.25, 0.85  # of the shown range: the rectangle's value and the label's
COPY = 1 << 20
Paint = Callable[[int, NDArray[Any]], NDArray[Any]]  # (number of a frame from 0, its samples) → what is shown instead
LEAST_LETTER = 6  # pixels of height; a smaller label is left away


class NotCovered(Exception):
    """The pixels hold an identity and cannot be rewritten; the words name the kind of error."""


@dataclass(frozen=True)
class Region:
    """A rectangle to cover: x0, y0, x1, y1 with the ends not included, and the words that stand on it."""

    box: Box
    kind: str
    label: str


@dataclass(frozen=True)
class Ink:
    """Stored values of a fiducial: of its ground and of its label, one for each sample."""

    ground: tuple[int, ...]
    label: tuple[int, ...]


@contextmanager
def covered(found: Opened, regions: Sequence[Region], painted: Paint | None = None) -> Iterator[Opened]:
    """Give the instance with its regions covered on all frames; as it is where there is nothing to do.

    painted  gives what takes the place of a frame's stored values first (a face that was made generic)
    Native pixels are changed in place, byte for byte the same elsewhere. Compressed ones, and painted ones, are
    encoded again without loss: RLE as RLE, all others as JPEG 2000 (sub-sampled or YBR colour becomes RGB).
    `found.dataset` is changed where the encoding asks for it. Raises NotCovered.
    """
    if not regions and painted is None:
        yield found
        return
    if found.pixels is None or found.pixels.tag != PIXEL_DATA:
        raise NotCovered("other pixels than integers")
    with tempfile.TemporaryFile() as out:
        try:
            if found.pixels.fragments is None and painted is None and _plain(found):
                made = _in_place(found, regions, out)
            else:
                colour = int(found.dataset.get("SamplesPerPixel", 1) or 1) > 1
                ink = ink_of(found, raw=not colour) if regions else Ink((), ())
                made = _again(
                    found, lambda n, f: _cover(painted(n, f) if painted else f, regions, ink), not colour, out
                )
                if painted is not None and found.syntax in LOSSY:
                    found.dataset.LossyImageCompression = "01"
        except (OSError, MemoryError, NotCovered):
            raise
        except Exception as error:  # codecs raise what they like; all of it means the same here
            raise NotCovered(type(error).__name__) from error
        yield made


def mark(dataset: Dataset, regions: Sequence[Region], kept_lossy: bool) -> None:
    """Say in the header what was done: attributes of PS3.3 C.7.6.1 and PS3.15 E.1.1, and where the fiducials lie."""
    dataset.BurnedInAnnotation = "NO"
    if not regions:
        return
    dataset.DerivationDescription = f"Identifying text covered: {len(regions)} regions"
    if kept_lossy:
        dataset.LossyImageCompression = "01"
    block = dataset.private_block(GROUP, CREATOR, create=True)
    block.add_new(BLOCK["boxes"], "UL", [v for region in regions for v in region.box])
    block.add_new(BLOCK["kinds"], "LO", [region.kind for region in regions])


def _plain(found: Opened) -> bool:
    """Whether samples can be changed where they lie: whole bytes, one value a sample."""
    ds = found.dataset
    return ds.BitsAllocated % 8 == 0 and "422" not in str(ds.get("PhotometricInterpretation", ""))


def _in_place(found: Opened, regions: Sequence[Region], out: BinaryIO) -> Opened:
    element, ds = found.pixels, found.dataset
    assert element is not None
    found.stream.seek(element.start)
    left = element.end - element.start
    while left:
        block = found.stream.read(min(COPY, left))
        if not block:
            raise OSError("the landing file became shorter while it was read")
        out.write(block)
        left -= len(block)
    head, size = element.value - element.start, int(ds.BitsAllocated) // 8
    rows, columns, samples = int(ds.Rows), int(ds.Columns), int(ds.get("SamplesPerPixel", 1) or 1)
    planar = samples > 1 and int(ds.get("PlanarConfiguration", 0) or 0) == 1
    order = ">" if found.syntax == BIG_ENDIAN else "<"
    ink = ink_of(found, raw=True)
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    if rows * columns * samples * size * frames > element.length:
        raise NotCovered("fewer pixels than stated")
    for region in regions:
        plate = plate_of(region, ink).astype(f"{order}u{size}")
        x0, y0, _, y1 = region.box
        for frame in range(frames):
            start = head + frame * rows * columns * samples * size
            for y in range(y0, y1):
                line = plate[y - y0]
                if not planar:
                    out.seek(start + (y * columns + x0) * samples * size)
                    out.write(line.tobytes())
                    continue
                for sample in range(samples):
                    out.seek(start + ((sample * rows + y) * columns + x0) * size)
                    out.write(np.ascontiguousarray(line[:, sample]).tobytes())
    end = head + element.length
    return replace(found, stream=out, pixels=replace(element, start=0, value=head, end=end))


def _again(found: Opened, paint: Paint, raw: bool, out: BinaryIO) -> Opened:
    """Decode, paint and encode frame after frame; raw: samples as they are stored, not as RGB."""
    ds = found.dataset
    if int(ds.BitsAllocated) == 1:
        raise NotCovered("single bits")
    target = UID(ExplicitVRLittleEndian if found.syntax in NATIVE else _lossless(found.syntax))
    found.stream.seek(0)
    parts = (paint(number, frame) for number, frame in enumerate(iter_pixels(found.stream, raw=raw)))
    if not raw:
        ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
    if target.is_encapsulated:
        _fragments(out, (_encode(frame, ds, target) for frame in parts))
    else:
        _native(out, parts)
    end = out.tell()
    element = PixelElement(PIXEL_DATA, 0, 12, end, () if target.is_encapsulated else None)
    return replace(found, stream=out, syntax=str(target), pixels=element)


def _lossless(syntax: str) -> str:
    return RLELossless if syntax == RLELossless else JPEG2000Lossless


def _cover(frame: NDArray[Any], regions: Sequence[Region], ink: Ink) -> NDArray[Any]:
    covered = np.array(frame)  # what decoders give may not be written to
    for region in regions:
        x0, y0, x1, y1 = region.box
        plate = plate_of(region, ink).astype(covered.dtype)
        covered[y0:y1, x0:x1] = plate if covered.ndim == 3 else plate[..., 0]
    return covered


def _encode(frame: NDArray[Any], ds: Dataset, target: UID) -> bytes:
    return get_encoder(target).encode(
        np.ascontiguousarray(frame),
        rows=frame.shape[0],
        columns=frame.shape[1],
        number_of_frames=1,
        samples_per_pixel=frame.shape[2] if frame.ndim == 3 else 1,
        planar_configuration=0,
        bits_allocated=int(ds.BitsAllocated),
        bits_stored=int(ds.BitsStored),
        pixel_representation=int(ds.get("PixelRepresentation", 0)),
        photometric_interpretation=str(ds.PhotometricInterpretation),
    )


def _fragments(out: BinaryIO, frames: Iterator[bytes]) -> None:
    """Encapsulated pixel data, a fragment a frame, the offset table empty (PS3.5 A.4)."""
    out.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
    out.write(struct.pack("<HHL", 0xFFFE, 0xE000, 0))
    for frame in frames:
        frame += b"\0" * (len(frame) % 2)
        out.write(struct.pack("<HHL", 0xFFFE, 0xE000, len(frame)) + frame)
    out.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))


def _native(out: BinaryIO, frames: Iterator[NDArray[Any]]) -> None:
    out.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0))
    length = 0
    for frame in frames:
        length += out.write(np.ascontiguousarray(frame).astype(frame.dtype.newbyteorder("<"), copy=False).tobytes())
    length += out.write(b"\0" * (length % 2))
    out.seek(8)
    out.write(struct.pack("<L", length))
    out.seek(0, 2)


def ink_of(found: Opened, raw: bool) -> Ink:
    """The values of fiducials in an image: DARK and BRIGHT of what its first frame shows.

    raw  the samples are written as they are stored, not as RGB
    """
    ds = found.dataset
    photometric = str(ds.get("PhotometricInterpretation", ""))
    if int(ds.get("SamplesPerPixel", 1) or 1) > 1:
        top = 2 ** int(ds.BitsStored) - 1
        dark, bright = round(DARK * top), round(BRIGHT * top)
        neutral = (top + 1) // 2
        rest = (neutral, neutral) if raw and photometric.startswith("YBR_FULL") else None
        return Ink((dark, *(rest or (dark, dark))), (bright, *(rest or (bright, bright))))
    if photometric == "PALETTE COLOR":
        return _palette_ink(ds)
    found.stream.seek(0)
    try:
        first = next(iter(iter_pixels(found.stream, raw=True)))
    except Exception as error:  # see above
        raise NotShown(type(error).__name__) from error
    low, high = (float(v) for v in np.percentile(first, [0.5, 99.5]))
    if high <= low:
        low, high = 0.0, float(2 ** int(ds.BitsStored) - 1)
    dark, bright = (1 - DARK, 1 - BRIGHT) if photometric == "MONOCHROME1" else (DARK, BRIGHT)
    return Ink((round(low + dark * (high - low)),), (round(low + bright * (high - low)),))


def _palette_ink(ds: Dataset) -> Ink:
    """The entries of the palette that come nearest to DARK and BRIGHT grey."""
    descriptor = ds.RedPaletteColorLookupTableDescriptor
    tables = []
    for colour in ("Red", "Green", "Blue"):
        data = ds.get(f"{colour}PaletteColorLookupTableData")
        if data is None:
            raise NotCovered("a segmented palette")
        wide = "<u2" if int(descriptor[2]) == 16 and len(data) >= 2 * (int(descriptor[0]) or 65536) else "u1"
        tables.append(np.frombuffer(data, wide).astype(np.float64)[: int(descriptor[0]) or 65536])
    table = np.stack(tables) / max(float(np.max(tables)), 1.0)
    first = int(descriptor[1])
    chosen = [int(np.argmin(((table - level) ** 2).sum(0))) + first for level in (DARK, BRIGHT)]
    return Ink((chosen[0],), (chosen[1],))


def plate_of(region: Region, ink: Ink) -> NDArray[np.int64]:
    """(rows, columns, samples) of a fiducial: its ground, and its label as large as fits, standing where it is tall."""
    x0, y0, x1, y1 = region.box
    height, width = y1 - y0, x1 - x0
    standing = height > 1.5 * width
    letters = _letters(region.label, (width, height) if standing else (height, width))
    if standing:
        letters = np.rot90(letters)
    ground, label = np.array(ink.ground, np.int64), np.array(ink.label, np.int64)
    return np.where(letters[..., None], label, ground)


def _letters(label: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the label's strokes are; nowhere when no legible size fits."""
    height, width = shape
    plate = np.zeros(shape, np.uint8)
    face = cv2.FONT_HERSHEY_SIMPLEX
    for size in range(min(int(height * 0.7), 40), LEAST_LETTER - 1, -1):
        scale = cv2.getFontScaleFromHeight(face, size, 1)
        thick = max(1, size // 12)
        (long, tall), below = cv2.getTextSize(label, face, scale, thick)
        if long + 4 <= width and tall + below // 2 <= height:
            cv2.putText(plate, label, ((width - long) // 2, (height + tall) // 2), face, scale, 1, thick)
            break
    return plate > 0
