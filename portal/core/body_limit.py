"""No request body is endless: Django spools a body to disk before any view, so the limit stands before Django."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class TooLong(Exception):
    """The body went on beyond the limit."""


class BodyLimit:
    """ASGI: answers 413 to bodies that announce, or turn out to have, more than `limit` bytes.

    Strangers (no session cookie, no Authorization) may send no more than `stranger_limit`.
    """

    def __init__(self, app: Any, limit: int, stranger_limit: int) -> None:
        self.app, self.limit, self.stranger_limit = app, limit, stranger_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope.get("headers") or [])
        known = b"authorization" in headers or b"sessionid=" in headers.get(b"cookie", b"")
        limit = self.limit if known else self.stranger_limit
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            await self._refuse(send, known)
            return
        taken, started = 0, False

        async def counted() -> dict[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise TooLong
            return message

        async def watched(message: dict[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except TooLong:
            if not started:
                await self._refuse(send, known)

    async def _refuse(self, send: Send, known: bool) -> None:
        words = "The request is larger than this portal takes." if known else "Sign in or send a token first."
        status = 413 if known else 401
        body = json.dumps({"error": {"code": "too_large", "message": words, "id": ""}}).encode()
        kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": body})
