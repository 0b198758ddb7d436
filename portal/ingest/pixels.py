"""Where pixel data lie in a DICOM file, found without decoding them (PS3.5 sections 7.1 and A.4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
MAX_FRAGMENTS = 2_000_000


class PixelsDamaged(Exception):
    """The element cannot be followed to its end; `reason` is a code of ingest.rules.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class PixelElement:
    """One pixel data element: it begins at `start`, its value at `value`, it ends before `end`.

    fragments  (offset, length) of each fragment of encapsulated data, without the offset table
    """

    tag: int
    start: int
    value: int
    end: int
    fragments: tuple[tuple[int, int], ...] | None

    @property
    def length(self) -> int:
        return self.end - self.value


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise PixelsDamaged("truncated", "The file ends inside the pixel data.")
    return data


def locate(stream: BinaryIO, start: int, size: int, *, implicit: bool, big: bool) -> PixelElement | None:
    """Return the pixel data element that begins at `start`, or None when another element is there.

    stream  seekable; size is the number of bytes in it
    Raises PixelsDamaged when the file ends first or the fragments make no sense.
    """
    order = ">" if big else "<"
    stream.seek(start)
    head = stream.read(8)
    if len(head) < 8:
        if head.strip(b"\0"):
            raise PixelsDamaged("truncated", "The file ends inside an element.")
        return None
    group, element = struct.unpack(order + "HH", head[:4])
    tag = group << 16 | element
    if tag not in PIXEL_TAGS:
        return None
    if implicit:
        (length,) = struct.unpack(order + "L", head[4:])
    elif head[4:6] in {b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV"}:
        (length,) = struct.unpack(order + "L", _exactly(stream, 4))
    else:
        (length,) = struct.unpack(order + "H", head[6:])
    value = stream.tell()
    if length == UNDEFINED:
        return _encapsulated(stream, tag, start, value, size)
    if value + length > size:
        raise PixelsDamaged("truncated", f"{value + length - size} bytes of pixel data are missing.")
    return PixelElement(tag, start, value, value + length, None)


def _encapsulated(stream: BinaryIO, tag: int, start: int, value: int, size: int) -> PixelElement:
    fragments: list[tuple[int, int]] = []
    first = True
    while True:
        group, element, length = struct.unpack("<HHL", _exactly(stream, 8))
        here = group << 16 | element
        at = stream.tell()
        if here == SEQUENCE_END:
            return PixelElement(tag, start, value, at, tuple(fragments))
        if here != ITEM or length == UNDEFINED:
            raise PixelsDamaged("pixel_mismatch", "The fragments of the compressed pixel data are damaged.")
        if at + length > size:
            raise PixelsDamaged("truncated", f"{at + length - size} bytes of a fragment are missing.")
        if not first:
            fragments.append((at, length))
        if len(fragments) > MAX_FRAGMENTS:
            raise PixelsDamaged("impossible_size", "There are too many fragments.")
        first = False
        stream.seek(length, 1)


def stated_size(codestream: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream states, None when it says neither.

    codestream  the first bytes of a frame; ISO 10918-1 B.2.2, 14495-1 C.2.2, 15444-1 A.5.1
    """
    if codestream[:4] == b"\xff\x4f\xff\x51" and len(codestream) >= 24:
        right, bottom, left, top = struct.unpack(">4L", codestream[8:24])
        return bottom - top, right - left
    if codestream[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        frame = 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}
        if frame or marker == 0xF7:
            rows, columns = struct.unpack(">HH", codestream[at + 5 : at + 9])
            return rows, columns
        at += 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    return None
