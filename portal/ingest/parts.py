"""The parts of a multipart/related body (PS3.18 section 8.6.1.2), each written to a file as it arrives."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.http import HttpRequest
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from portal.core.errors import Refused
from portal.ingest import landing

CHUNK = 1 << 20
MAX_PARTS = 10_000
MAX_HEADER = 16 * 1024


@dataclass
class Part:
    """One part in a file of the landing store; `whole` is False when it grew beyond the limit and was cut off."""

    path: Path
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    whole: bool = True
    digest: landing.DataSetDigest = field(default_factory=landing.DataSetDigest)

    @property
    def kind(self) -> Message:
        """The Content-Type with its parameters."""
        return content_type(self.headers.get("content-type", ""))

    def drop(self) -> None:
        """Forget the bytes."""
        self.path.unlink(missing_ok=True)


Take = Callable[[Part], None]


def content_type(header: str) -> Message:
    """A Content-Type header, parsed; text/plain when it makes no sense."""
    message = Message()
    # the parser fails for line breaks, and there are none in a header that was sent
    message["Content-Type"] = " ".join(header.split())
    return message


def boundary_of(kind: Message) -> bytes:
    """The boundary of a multipart Content-Type. Raises Refused (400)."""
    boundary = kind.get_param("boundary")
    if not isinstance(boundary, str) or not boundary or len(boundary) > 256 or not boundary.isascii():
        raise Refused("boundary", "The multipart boundary is missing or too long.", status=400)
    return boundary.encode()


def read_parts(request: HttpRequest, boundary: bytes, take: Take) -> bool:
    """Give each part to `take`, which has to drop or move its file. False when the body broke off or is damaged.

    Raises Refused (413) for too many parts.
    """
    writer = _Writer(take)
    parser = MultipartParser(boundary, writer.callbacks())
    try:
        while chunk := request.read(CHUNK):
            parser.write(chunk)
        parser.finalize()
    except MultipartParseError:
        return False
    finally:
        writer.drop()
    return writer.ended


def read_single(request: HttpRequest, take: Take) -> bool:
    """Take the whole body as one part; True, since nothing can be wrong with it."""
    writer = _Writer(take)
    try:
        writer.begin()
        while chunk := request.read(CHUNK):
            writer.data(chunk, 0, len(chunk))
        writer.end()
    finally:
        writer.drop()
    return True


class _Writer:
    """Callbacks of the parser."""

    def __init__(self, take: Take) -> None:
        self.take, self.count, self.ended = take, 0, False
        self.part: Part | None = None
        self.file: BinaryIO | None = None
        self.name = self.value = b""

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self.begin,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_part_data": self.data,
            "on_part_end": self.end,
            "on_end": self.finish,
        }

    def begin(self) -> None:
        self.count += 1
        if self.count > min(MAX_PARTS, settings.MAX_UPLOAD_FILES):
            raise Refused("too_many", "The request holds too many parts.", status=413)
        self.part = Part(landing.incoming() / f"{uuid.uuid4()}.part")
        self.file = self.part.path.open("xb")

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name = (self.name + data[start:end])[:MAX_HEADER]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value = (self.value + data[start:end])[:MAX_HEADER]

    def header_end(self) -> None:
        if self.part and len(self.part.headers) < 32:
            self.part.headers[self.name.decode("latin-1").strip().lower()] = self.value.decode("latin-1").strip()
        self.name = self.value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        assert self.part and self.file
        self.part.size += end - start
        self.part.whole = self.part.size <= settings.MAX_INSTANCE_BYTES
        if self.part.whole:
            piece = data[start:end]
            self.file.write(piece)
            self.part.digest.update(piece)

    def end(self) -> None:
        assert self.part and self.file
        self.file.close()
        part, self.part, self.file = self.part, None, None
        self.take(part)

    def finish(self) -> None:
        self.ended = True

    def drop(self) -> None:
        """Forget a part that never ended."""
        if self.file:
            self.file.close()
        if self.part:
            self.part.drop()
