"""Answers made of bytes and of stretches of files, past Django: copied by the kernel where the server offers it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.core.zerocopy import EXTENSION

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
STEP = 1 << 20  # bytes read at once
SMALL = 1 << 15  # below this a copy costs less than the kernel's round
GUARDS = ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin"))


@dataclass(frozen=True)
class Span:
    """`length` bytes of a file from `offset`."""

    path: Path
    offset: int
    length: int


Piece = bytes | Span
Headers = list[tuple[bytes, bytes]]


def size_of(pieces: Iterable[Piece]) -> int:
    """Bytes of the whole body."""
    return sum(piece.length if isinstance(piece, Span) else len(piece) for piece in pieces)


async def answer(scope: Scope, send: Send, status: int, headers: Headers, pieces: Sequence[Piece]) -> bool:
    """Send an answer whole; False, before anything was sent, when a file is not there or too short.

    Raises OSError when a file goes away in between: the server then cuts the connection, and the client sees that
    Content-Length was not reached.
    """
    spans = [piece for piece in pieces if isinstance(piece, Span)]
    if len(spans) > 8:
        whole = await asyncio.to_thread(_whole, spans)
    else:
        whole = _whole(spans)
    if not whole:
        return False
    length = (b"content-length", str(size_of(pieces)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length, *GUARDS]})
    copying = EXTENSION in scope.get("extensions", {})
    with _Files() as files:
        for piece in pieces:
            if isinstance(piece, bytes):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            elif copying and piece.length > SMALL:
                message = {"file": files.open(piece.path), "offset": piece.offset, "count": piece.length}
                await send({"type": EXTENSION, "more_body": True, **message})
            else:
                await _read(send, files.open(piece.path), piece)
        await send({"type": "http.response.body", "body": b""})
    return True


class _Files:
    """The file that is being sent; frames of one file come one after the other."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.handle = -1

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def open(self, path: Path) -> int:
        if path != self.path:
            self.__exit__()
            self.handle, self.path = os.open(path, os.O_RDONLY), path
        return self.handle


def _whole(spans: Iterable[Span]) -> bool:
    ends: dict[Path, int] = {}
    for span in spans:
        ends[span.path] = max(ends.get(span.path, 0), span.offset + span.length)
    try:
        return all(os.stat(path).st_size >= end for path, end in ends.items())
    except OSError:
        return False


async def _read(send: Send, handle: int, span: Span) -> None:
    """Send a stretch by way of memory: what the page cache holds at once, the rest from a thread."""
    at, end = span.offset, span.offset + span.length
    while at < end:
        buffer = bytearray(min(STEP, end - at))
        got = _cached(handle, buffer, at) or await asyncio.to_thread(os.preadv, handle, [buffer], at)
        if not got:
            raise OSError(f"{span.path.name} became shorter while it was sent")
        body = buffer if got == len(buffer) else buffer[:got]
        await send({"type": "http.response.body", "body": body, "more_body": True})
        at += got


def in_memory(path: Path, size: int) -> bool:
    """Whether the system can give the file's bytes without waiting for a disk."""
    with _Files() as files:
        try:
            return _cached(files.open(path), bytearray(size), 0) == size
        except OSError:
            return False


def _cached(handle: int, buffer: bytearray, offset: int) -> int:
    try:
        return os.preadv(handle, [buffer], offset, os.RWF_NOWAIT)
    except (OSError, AttributeError):  # not in the cache, or a system without RWF_NOWAIT
        return 0
