"""Answers made piece by piece leave piece by piece, whatever serves them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from portal.core.middleware import STEP, Streamed


def asgi() -> ASGIRequest:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    return ASGIRequest(scope, io.BytesIO())


def parts(response: StreamingHttpResponse, most: int) -> list[bytes]:
    """The first parts, in a loop of their own: a browser's may run in this thread."""

    async def take() -> list[bytes]:
        found = []
        async for part in response:
            found.append(part)
            if len(found) == most:
                break
        return found

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, take()).result()


def test_a_long_answer_is_made_only_as_fast_as_it_is_taken() -> None:
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield bytes([number % 256]) * (STEP // 4)

    response = Streamed(lambda _: StreamingHttpResponse(pieces()))(asgi())
    first, second = parts(response, 2)
    assert len(first) == len(second) == STEP and len(made) == 8
    assert first == b"".join(bytes([n]) * (STEP // 4) for n in range(4))


def test_files_leave_whole_and_are_closed() -> None:
    content = bytes(range(256)) * 10_000
    file = io.BytesIO(content)
    response = Streamed(lambda _: FileResponse(file))(asgi())
    assert b"".join(parts(response, -1)) == content
    response.close()
    assert file.closed


def test_what_is_whole_or_served_without_asgi_stays_as_it_is() -> None:
    plain = HttpResponse(b"whole")
    assert Streamed(lambda _: plain)(asgi()).content == b"whole"
    response = Streamed(lambda _: StreamingHttpResponse(iter([b"a", b"b"])))(RequestFactory().get("/"))
    assert list(response.streaming_content) == [b"a", b"b"]
