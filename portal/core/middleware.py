"""A request id on every answer and log line, to give to support; long answers that are never whole in memory."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import structlog
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse

SAFE = re.compile(r"[A-Za-z0-9-]{8,64}")
STEP = 1 << 20  # bytes that are fetched at once


class RequestId:
    """Take X-Request-ID from a trusted-looking header or make one; bind it to the logs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request.id = given if SAFE.fullmatch(given) else uuid.uuid4().hex[:16]  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request=request.id):  # type: ignore[attr-defined]
            response = self.get_response(request)
        response["X-Request-ID"] = request.id  # type: ignore[attr-defined]
        return response


class Streamed:
    """Answers made piece by piece are sent piece by piece: Django would collect a plain iterator in memory first.

    The pieces are made in the request's own thread, with its connection to the database.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if isinstance(request, ASGIRequest) and response.streaming and not response.is_async:  # type: ignore[attr-defined]
            pieces = iter(response.streaming_content)  # type: ignore[attr-defined]
            response.streaming_content = _in_steps(pieces)  # type: ignore[attr-defined]
        return response


async def _in_steps(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while step := await sync_to_async(_step)(pieces):
        yield step


def _step(pieces: Iterator[bytes]) -> bytes:
    """The next pieces, about STEP bytes of them; nothing at the end."""
    taken, size = list[bytes](), 0
    while size < STEP and (piece := next(pieces, None)) is not None:
        taken.append(piece)
        size += len(piece)
    return b"".join(taken)
