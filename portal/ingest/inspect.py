"""Read a received file's header tolerantly and say what, if anything, is wrong with it."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import pydicom
from django.conf import settings
from pydicom import config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID

from portal.ingest.pixels import UNDEFINED, PixelElement, PixelsDamaged, locate, stated_size
from portal.ingest.rules import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    NATIVE,
    Header,
    check_header,
    check_native,
)

# Elements above this lie in the file until asked for, so a hostile header costs little memory.
DEFER = 64 * 1024
# VRs (PS3.5 table 6.2-1) whose values pydicom takes as they are, and those that are sound when their length is.
TEXTS = {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT", "OB", "OW"}
SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "SV": 8, "UV": 8, "OD": 8, "OF": 4, "OL": 4}
META_BYTES = 1 << 16  # in which a transfer syntax is looked for
CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
MAX_HEADER = 256 * 1024 * 1024
# Values of hospitals break rules often; what counts is checked here, so pydicom need not warn of each.
config.settings.reading_validation_mode = config.IGNORE


class Damaged(Exception):
    """The file cannot be taken as it is; `reason` is a code of ingest.rules.REASONS."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason, self.detail = reason, detail


@dataclass
class Opened:
    """A readable instance: its header, and where its pixel data lie in `stream`.

    stream is the file itself, or the inflated data set of a deflated one; `syntax` describes stream.
    """

    dataset: FileDataset
    header: Header
    stream: BinaryIO
    syntax: str
    pixels: PixelElement | None


@contextmanager
def opened(path: Path, *, defer: bool = False) -> Iterator[Opened]:
    """Open an instance for reading. Raises Damaged for everything that is not a sound DICOM instance.

    defer  leave elements of more than 64 KiB in the file; they can then not be read from the data set
    """
    with path.open("rb") as file:
        dataset, stream = _read(file, defer)
        with closing(stream):
            header = header_of(dataset)
            syntax, pixels = check(stream, header)
            yield Opened(dataset, header, stream, syntax, pixels)


def check(stream: BinaryIO, header: Header) -> tuple[str, PixelElement | None]:
    """Check a header and the pixel data at the stream's place; return (syntax of stream, pixel element).

    Raises Damaged with the first fault found.
    """
    if fault := check_header(header):
        raise Damaged(*fault)
    syntax = EXPLICIT if header.transfer_syntax == DEFLATED else header.transfer_syntax
    if not UID(syntax).is_transfer_syntax:
        raise Damaged("unknown_syntax")
    return syntax, _pixels(stream, header, syntax)


def inspect(path: Path) -> tuple[Header | None, tuple[str, str] | None]:
    """Return (header, fault): fault is (reason code, detail) or None; header is None when unreadable."""
    header: Header | None = None
    try:
        with path.open("rb") as file:
            dataset, stream = _read(file)
            with closing(stream):
                header = header_of(dataset)
                check(stream, header)
    except Damaged as error:
        return header, (error.reason, error.detail)
    return header, None


def _read(file: BinaryIO, defer: bool = True) -> tuple[FileDataset, BinaryIO]:
    if file.read(132)[128:] != b"DICM":
        raise Damaged("not_dicom")
    file.seek(0)
    try:
        stream = file
        if _may_be_deflated(file):  # pydicom would inflate a bomb without a word
            meta = pydicom.filereader.read_file_meta_info(file.name)
            stream = _inflate(file, meta) if str(meta.get("TransferSyntaxUID", "")) == DEFLATED else file
        stream.seek(0)
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, defer_size=DEFER if defer else None)
        if stream is not file:
            dataset.file_meta.TransferSyntaxUID = UID(DEFLATED)
        if not len(dataset.file_meta) and "SOPClassUID" not in dataset:
            raise Damaged("unreadable", "Neither file meta information nor a data set could be found.")
        if stream.tell() > MAX_HEADER:
            raise Damaged("impossible_size", "The header is larger than 256 MiB.")
        # Values are decoded here, so that damage inside them shows now and not at the archive.
        here = stream.tell()
        _decode(dataset.file_meta)
        _decode(dataset)
        stream.seek(here)
    except Damaged:
        raise
    except (Exception, RecursionError) as error:
        # pydicom raises a dozen kinds of error for malformed input; all of them mean the same here.
        raise Damaged("unreadable", f"{type(error).__name__} while reading the header.") from error
    return dataset, stream


def _decode(dataset: Dataset) -> None:
    """Decode every value that is in memory. Raises Damaged when one is shorter than it says."""
    for tag, raw in list(dataset.items()):
        known = isinstance(raw, RawDataElement) and raw.value is not None and raw.length != UNDEFINED
        if known and len(raw.value) < raw.length:  # type: ignore[arg-type,union-attr]
            raise Damaged("truncated", "The file ends inside an element of the header.")
        if isinstance(raw, RawDataElement) and (_sound(raw) or (raw.value is None and raw.length)):
            continue  # nothing can be wrong with it; or deferred: it stays in the file
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                _decode(item)


def _may_be_deflated(file: BinaryIO) -> bool:
    """Whether the beginning names the deflated syntax, or the file meta goes on behind it."""
    head = file.read(META_BYTES)
    stated = struct.unpack("<L", head[140:144])[0] if head[132:138] == b"\x02\x00\x00\x00UL" else META_BYTES
    return DEFLATED.encode() in head or stated + 144 > META_BYTES


def _sound(raw: RawDataElement) -> bool:
    """Whether the value can be decoded for sure, which need not be tried then: most of a header is plain text."""
    if raw.VR in TEXTS:
        return True
    size = SIZES.get(raw.VR or "", 0)
    return bool(size) and raw.value is not None and len(raw.value) % size == 0


def _inflate(file: BinaryIO, meta: FileMetaDataset) -> BinaryIO:
    """Write the data set of a deflated file, inflated, behind a new file meta; bounded against bombs."""
    size = os.fstat(file.fileno()).st_size
    limit = min(settings.MAX_INSTANCE_BYTES, max(size * settings.MAX_ZIP_RATIO, 1 << 20))
    file.seek(144)
    # (0002,0000) UL 4: the group length that PS3.10 section 7.1 requires first
    file.seek(132)
    head = file.read(12)
    if head[:6] != b"\x02\x00\x00\x00UL":
        raise Damaged("unreadable", "The file meta information has no group length.")
    file.seek(144 + struct.unpack("<L", head[8:])[0])
    out = TemporaryFile()  # noqa: SIM115 - handed to the caller
    meta.TransferSyntaxUID = UID(EXPLICIT)
    out.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(out, meta, enforce_standard=False)  # type: ignore[arg-type]
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    while block := file.read(1 << 18):
        while block:
            data = inflate.decompress(block, 1 << 20)
            total += len(data)
            if total > limit:
                out.close()
                raise Damaged("too_large", "The deflated content grows beyond the limit.")
            out.write(data)
            block = inflate.unconsumed_tail
    if not inflate.eof:
        out.close()
        raise Damaged("truncated", "The deflated content ends early.")
    return out


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        raw = dataset.get_item(keyword)
        if isinstance(raw, RawDataElement) and raw.VR in {"UI", "CS"} and raw.value is not None:
            return raw.value.decode("latin-1").strip(" \0")
        value = dataset.get(keyword)
    except Exception as error:  # see _read: pydicom decodes when asked
        raise Damaged("unreadable", f"{type(error).__name__} while reading {keyword}.") from error
    return "" if value is None else str(value).strip(" \0")


def _count(dataset: Dataset, keyword: str) -> int | None:
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else int(value)
    except Exception:
        raise Damaged("contradiction", f"{keyword} is not one whole number.") from None


def header_of(dataset: FileDataset) -> Header:
    """Return the values the checks need. Raises Damaged when a number is not one."""
    meta = dataset.file_meta
    return Header(
        sop_class=_text(dataset, "SOPClassUID"),
        sop_uid=_text(dataset, "SOPInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        transfer_syntax=_text(meta, "TransferSyntaxUID") or _guess(dataset),
        modality=_code(_text(dataset, "Modality")),
        meta_sop_class=_text(meta, "MediaStorageSOPClassUID"),
        meta_sop_uid=_text(meta, "MediaStorageSOPInstanceUID"),
        rows=_count(dataset, "Rows"),
        columns=_count(dataset, "Columns"),
        frames=_count(dataset, "NumberOfFrames") or 1,
        samples=_count(dataset, "SamplesPerPixel") or 1,
        bits_allocated=_count(dataset, "BitsAllocated") or 0,
        bits_stored=_count(dataset, "BitsStored") or _count(dataset, "BitsAllocated") or 0,
        high_bit=_count(dataset, "HighBit") or 0,
        photometric=_text(dataset, "PhotometricInterpretation"),
    )


def _code(text: str) -> str:
    """A code string (PS3.5 VR CS), "" for anything else: what a sender wrote there is shown on pages."""
    return text if CODE.fullmatch(text) else ""


def is_image(sop_class: str) -> bool:
    """Whether instances of a storage class always have pixel data (PS3.4 table B.5-1, by the class's name)."""
    name = UID(sop_class).name
    return "Image Storage" in name or name == "RT Dose Storage"


def _guess(dataset: FileDataset) -> str:
    """File meta without a transfer syntax: what pydicom found out by reading."""
    implicit, little = dataset.original_encoding
    return IMPLICIT if implicit else BIG_ENDIAN if little is False else EXPLICIT


def _pixels(stream: BinaryIO, header: Header, syntax: str) -> PixelElement | None:
    start = stream.tell()
    size = os.fstat(stream.fileno()).st_size
    try:
        found = locate(stream, start, size, implicit=syntax == IMPLICIT, big=syntax == BIG_ENDIAN)
    except PixelsDamaged as error:
        raise Damaged(error.reason, error.detail) from error
    if found is None:
        if header.rows is not None or is_image(header.sop_class):
            raise Damaged("truncated", "This kind of object is an image, and no pixel data follow.")
        return None
    if header.rows is None:
        raise Damaged("contradiction", "There are pixel data, and the header states no rows.")
    if found.fragments is None:
        if syntax not in NATIVE:
            raise Damaged("contradiction", "The transfer syntax is compressed and the pixel data are not.")
        fault = check_native(header, found.length)
    else:
        fault = _check_fragments(stream, found, header, syntax)
    if fault:
        raise Damaged(*fault)
    return found


def _check_fragments(stream: BinaryIO, found: PixelElement, header: Header, syntax: str) -> tuple[str, str] | None:
    fragments = found.fragments or ()
    if syntax in NATIVE:
        return "contradiction", "The pixel data are compressed and the transfer syntax is not."
    video = syntax.startswith(("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.4.11"))
    if not fragments or (len(fragments) < header.frames and not video):
        return (
            "pixel_mismatch",
            f"{header.frames} frames were announced, {len(fragments)} fragments are there.",
        )
    at, length = fragments[0]
    stream.seek(at)
    stated = stated_size(stream.read(min(length, 65536)))
    if stated and not video and stated != (header.rows, header.columns):
        return "contradiction", "The compressed image has another size than the header states."
    return None
