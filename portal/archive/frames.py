"""Where each frame lies in a file, found once when the file is stored (PS3.5 A.4, PS3.3 C.7.6.3.1.8).

A frame is then served by offset and length; nothing is decoded and the rest of the file is not read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ExplicitVRBigEndian, RLELossless

FrameTable = list[list[int]]
ITEM, DELIMITER = 0xFFFEE000, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
END_OF_CODESTREAM = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000


class BrokenPixels(ValueError):
    """The pixel data does not hold what the header promises."""


@dataclass(frozen=True)
class Fragment:
    item: int  # offset of the item tag in the file
    offset: int  # of its first value byte
    length: int


@dataclass(frozen=True)
class PixelElement:
    """Float Pixel Data, Double Float Pixel Data or Pixel Data: where its value lies in the file."""

    tag: int
    offset: int
    length: int  # UNDEFINED: encapsulated


def pixel_element(file: BinaryIO, syntax: UID) -> PixelElement | None:
    """The element at which the file stands, None when it is not pixel data. Raises BrokenPixels."""
    order = "<" if syntax.is_little_endian else ">"
    start = file.read(8)
    if len(start) < 8:
        return None
    group, element = struct.unpack(f"{order}HH", start[:4])
    tag = group << 16 | element
    if tag not in PIXEL_KEYWORDS:
        return None
    if syntax.is_implicit_VR:
        return PixelElement(tag, file.tell(), struct.unpack(f"{order}L", start[4:])[0])
    rest = file.read(4)
    if len(rest) < 4:
        raise BrokenPixels("the pixel data element is cut off")
    return PixelElement(tag, file.tell(), struct.unpack(f"{order}L", rest)[0])


def frame_table(file: BinaryIO, header: Dataset, syntax: UID, pixels: PixelElement | None) -> FrameTable:
    """[[offset, length, offset, length, …], …]: the pieces of each frame, in bytes of the file.

    Empty when there are no pixels, and for files whose frames must be decoded to be served: deflated,
    big-endian, and packed bits that do not begin on a byte. Raises BrokenPixels.
    """
    if pixels is None or syntax.is_deflated or syntax == ExplicitVRBigEndian:
        return []
    frames = frame_count(header)
    if pixels.length == UNDEFINED:
        return _encapsulated(file, header, syntax, pixels.offset, frames)
    return _native(file, header, pixels.offset, pixels.length, frames)


def frame_count(header: Dataset) -> int:
    """Number of Frames, 1 when it is absent or not a positive number."""
    try:
        return max(1, int(header.get("NumberOfFrames", 1) or 1))
    except (TypeError, ValueError):
        return 1


def _native(file: BinaryIO, header: Dataset, offset: int, length: int, frames: int) -> FrameTable:
    try:
        bits = get_expected_length(header, unit="bytes") * 8
        if int(header.BitsAllocated) == 1:
            bits = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel", 1)) * frames
    except (AttributeError, TypeError, ValueError) as error:
        raise BrokenPixels(f"rows, columns or bits are missing ({error})") from error
    if not bits:
        raise BrokenPixels("the header describes no pixels")
    size = file.seek(0, 2)
    if (bits + 7) // 8 > length or offset + length > size + 1:
        raise BrokenPixels(f"{length} bytes of pixel data where the header asks for {(bits + 7) // 8}")
    if bits % (8 * frames):
        return [] if frames > 1 else [[offset, (bits + 7) // 8]]
    each = bits // 8 // frames
    return [[offset + n * each, each] for n in range(frames)]


def _encapsulated(file: BinaryIO, header: Dataset, syntax: UID, offset: int, frames: int) -> FrameTable:
    items = _fragments(file, offset)
    if not items:
        raise BrokenPixels("the encapsulated pixel data holds no items")
    table, fragments = items[0], items[1:]
    if not fragments:
        raise BrokenPixels("the encapsulated pixel data holds no fragments")
    starts = [f.item - fragments[0].item for f in fragments]
    extended = _extended(header, fragments, starts, frames)
    if extended:
        return extended
    if frames == 1:
        return [_pieces(fragments)]
    if len(fragments) == frames or syntax == RLELossless:
        if len(fragments) != frames:
            raise BrokenPixels(f"{len(fragments)} fragments for {frames} frames")
        return [_pieces([f]) for f in fragments]
    basic = _basic(file, table, starts, frames)
    if basic:
        return [_pieces(fragments[a:b]) for a, b in zip(basic, [*basic[1:], len(fragments)], strict=True)]
    return _by_marker(file, fragments, frames)


def _fragments(file: BinaryIO, offset: int) -> list[Fragment]:
    """All items up to the sequence delimiter; the first is the Basic Offset Table."""
    found: list[Fragment] = []
    size = file.seek(0, 2)
    file.seek(offset)
    while len(head := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", head)
        tag = group << 16 | element
        if tag == DELIMITER:
            return found
        if tag != ITEM or length == UNDEFINED or file.tell() + length > size:
            raise BrokenPixels(f"the fragment at byte {file.tell() - 8} is broken or cut off")
        found.append(Fragment(file.tell() - 8, file.tell(), length))
        file.seek(length, 1)
    return found  # a missing delimiter at the very end loses nothing


def _pieces(fragments: list[Fragment]) -> list[int]:
    return [number for f in fragments for number in (f.offset, f.length)]


def _extended(header: Dataset, fragments: list[Fragment], starts: list[int], frames: int) -> FrameTable:
    """By the Extended Offset Table; its lengths leave out the padding byte."""
    offsets, lengths = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
    if not offsets or not lengths or len(offsets) != 8 * frames or len(lengths) != 8 * frames:
        return []
    at = dict(zip(starts, fragments, strict=True))
    pairs = zip(struct.unpack(f"<{frames}Q", offsets), struct.unpack(f"<{frames}Q", lengths), strict=True)
    table = [[at[o].offset, n] for o, n in pairs if o in at and n <= at[o].length]
    return table if len(table) == frames else []  # a table that does not fit the items is not believed


def _basic(file: BinaryIO, table: Fragment, starts: list[int], frames: int) -> list[int]:
    """Index of each frame's first fragment by the Basic Offset Table; empty when it does not fit."""
    if table.length != 4 * frames:
        return []
    file.seek(table.offset)
    offsets = struct.unpack(f"<{frames}L", file.read(table.length))
    index = {start: n for n, start in enumerate(starts)}
    first = [index[o] for o in offsets if o in index]
    return first if len(first) == frames and first[0] == 0 and first == sorted(set(first)) else []


def _by_marker(file: BinaryIO, fragments: list[Fragment], frames: int) -> FrameTable:
    """Without a usable table a frame ends with the fragment that ends a codestream."""
    table: FrameTable = []
    pieces: list[int] = []
    for fragment in fragments:
        pieces += [fragment.offset, fragment.length]
        file.seek(fragment.offset + max(0, fragment.length - 10))
        if END_OF_CODESTREAM in file.read(min(10, fragment.length)):
            table.append(pieces)
            pieces = []
    if pieces or len(table) != frames:
        raise BrokenPixels(f"{len(fragments)} fragments cannot be shared out to {frames} frames")
    return table
