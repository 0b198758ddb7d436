"""Answers that nginx sends in our place (X-Accel-Redirect): a file as it lies, or one that is laid ready framed.

nginx can only send whole files. A stored instance and a kept picture are such files. A frame lies inside an instance,
and a multipart answer has a head and a tail: the body of such an answer is written down whole the first time that it
is asked for (`framed`), and is a file from then on. Its name follows from entity tag and Content-Type, which fix every
byte of it. Who may have it is decided here, at each request.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import structlog
from django.conf import settings

from portal.archive.plain import Made
from portal.archive.sending import GUARDS, Headers, Piece, Span, size_of
from portal.archive.shelf import Shelf
from portal.core import storage

log = structlog.get_logger(__name__)
ASKS = b"x-concord-accel"  # set by the proxy in front, which takes it from nobody: deploy/nginx/concord.conf
ARCHIVE, CACHE = "/_concord/archive/", "/_concord/cache/"  # its internal locations
# nginx would answer these by its own file's date and tag; the ranges of an instance are answered here
OWN = (b"range", b"if-range", b"if-modified-since", b"if-unmodified-since")
MOST_FRAMED = 64 * 1024 * 1024  # larger bodies are sent from here, without a copy
AT_ONCE = 2  # bodies written down at the same time
framed = Shelf("framed", settings.FRAMED_MB * 1024**2)
_writing: set[str] = set()
_tasks: set[asyncio.Task[None]] = set()


def wanted(headers: Mapping[bytes, str]) -> bool:
    """Whether the proxy in front of this request sends files for us."""
    return settings.X_ACCEL and headers.get(ASKS) == "1" and not any(name in headers for name in OWN)


def redirect(made: Made) -> Headers | None:
    """Headers of an answer whose body the proxy adds; None when it has to be sent from here.

    What could be a file and is none yet is written down meanwhile.
    """
    if made.status != 200:
        return None
    address = _whole_file(made.pieces) or _framed(made)
    if address is None:
        return None
    return [*made.kept, *made.headers, *GUARDS, (b"x-accel-redirect", address.encode()), (b"content-length", b"0")]


def _whole_file(pieces: list[Piece]) -> str | None:
    if len(pieces) != 1 or not isinstance(pieces[0], Span) or pieces[0].offset:
        return None
    try:
        return _address(pieces[0].path) if os.stat(pieces[0].path).st_size == pieces[0].length else None
    except OSError:
        return None


def _framed(made: Made) -> str | None:
    """Where the whole body lies; one that a series or study may outgrow is not written down."""
    spans = [piece for piece in made.pieces if isinstance(piece, Span)]
    if len({span.path for span in spans}) != 1 or size_of(made.pieces) > MOST_FRAMED or not framed.most:
        return None
    name = hashlib.sha256(b"\0".join([made.tag.encode(), *(value for _, value in made.headers)])).hexdigest()
    if found := framed.located(name):
        return _address(found[0]) if found[1] == size_of(made.pieces) else None
    if name not in _writing and len(_writing) < AT_ONCE:
        _writing.add(name)
        task = asyncio.create_task(_write(name, made.pieces))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
    return None


async def _write(name: str, pieces: list[Piece]) -> None:
    try:
        framed.keep(name, await asyncio.to_thread(_body, pieces))
    except OSError as error:  # the next request tries again
        log.warning("accel.not_written", error=str(error))
    finally:
        _writing.discard(name)


def _body(pieces: list[Piece]) -> bytes:
    out = bytearray()
    for piece in pieces:
        if isinstance(piece, bytes):
            out += piece
            continue
        with piece.path.open("rb") as file:
            file.seek(piece.offset)
            read = file.read(piece.length)
        if len(read) != piece.length:
            raise OSError(f"{piece.path.name} is shorter than its answer")
        out += read
    return bytes(out)


def _address(path: Path) -> str | None:
    """The internal location of a file; None for one that the proxy is not shown."""
    cache = Path(settings.HOME) / "cache"
    archive = storage.local_path(storage.archive(), "")
    for root, place in ((cache, CACHE), (archive, ARCHIVE)):
        if root is not None and path.is_relative_to(root):
            return place + quote(str(path.relative_to(root)))
    return None
