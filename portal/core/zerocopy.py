"""uvicorn's HTTP protocol with ASGI's `http.response.zerocopysend`: files go from the page cache to the socket.

Without it every byte of an image is copied into Python and out again, which costs most of the time of a large one.
The server is told of it by `--http portal.core.zerocopy:Protocol`; applications look for the extension in the scope
and read the file themselves where it is not offered (TLS in the server itself, other servers).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "http.response.zerocopysend"
STEP = 1 << 20  # bytes that may have to come from the disk at once
Send = Callable[[Any], Awaitable[None]]


class Protocol(HttpToolsProtocol):
    """One connection; plain ones are offered the extension."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = offering(self.app)  # type: ignore[assignment]


def offering(app: Any) -> Any:
    """The application with the extension in its scope, where the connection allows it."""

    async def inner(scope: Any, receive: Any, send: Send) -> None:
        cycle = getattr(send, "__self__", None)
        if scope["type"] != "http" or scope["scheme"] != "http" or not isinstance(cycle, RequestResponseCycle):
            await app(scope, receive, send)
            return
        scope.setdefault("extensions", {})[EXTENSION] = {}

        async def send_or_copy(message: Any) -> None:
            if message["type"] == EXTENSION:
                await _copy(cycle, message)
                if not message.get("more_body", False):
                    await send({"type": "http.response.body", "body": b""})
            else:
                await send(message)

        await app(scope, receive, send_or_copy)

    return inner


async def _copy(cycle: RequestResponseCycle, message: Any) -> None:
    """Send `count` bytes of `file` from `offset`. The answer needs a Content-Length, and the file these bytes."""
    file, offset, left = message["file"], message["offset"], message["count"]
    if not isinstance(file, int):
        file = file.fileno()
    if not cycle.response_started or cycle.chunked_encoding or left > cycle.expected_content_length:
        raise RuntimeError(f"{EXTENSION} needs an answer with a Content-Length that holds it")
    if cycle.scope["method"] == "HEAD":
        return
    cycle.expected_content_length -= left
    transport: Any = cycle.transport
    transport.set_write_buffer_limits(high=0)
    try:
        if cycle.flow.write_paused:  # what was written before has to leave first
            await cycle.flow.drain()
        await _send_file(cycle, transport, file, offset, left)
    finally:
        transport.set_write_buffer_limits()


async def _send_file(cycle: RequestResponseCycle, transport: Any, file: int, offset: int, left: int) -> None:
    socket = transport.get_extra_info("socket")
    while left and not cycle.disconnected and not transport.is_closing():
        step = min(left, STEP)
        if not _in_memory(file, offset, step):
            await asyncio.to_thread(os.pread, file, step, offset)
            if cycle.disconnected or transport.is_closing():
                return
        try:
            sent = os.sendfile(socket.fileno(), file, offset, step)
        except BlockingIOError:
            await _writable(socket)
            continue
        except OSError:  # the client is gone; the transport finds out by itself
            transport.abort()
            return
        if not sent:
            transport.abort()
            raise OSError("the file became shorter while it was sent")
        offset, left = offset + sent, left - sent


def _in_memory(file: int, offset: int, count: int) -> bool:
    """Whether the first and the last byte are in the page cache."""
    try:
        return all(os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) for at in {offset, offset + count - 1})
    except (OSError, AttributeError):  # EAGAIN: not there; or a system without RWF_NOWAIT
        return False


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _writable(socket: Any) -> None:
    """Wait until the socket takes more; on a copy of its handle, since the transport watches the handle itself."""
    loop = asyncio.get_running_loop()
    handle = os.dup(socket.fileno())
    ready = loop.create_future()
    try:
        loop.add_writer(handle, _wake, ready)
        await ready
    finally:
        loop.remove_writer(handle)
        os.close(handle)
