"""Bodies end at a limit, for strangers much earlier."""

from __future__ import annotations

from typing import Any

import pytest

from portal.core.body_limit import BodyLimit
from tests.support import in_own_loop


async def reads_all(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@in_own_loop
async def ask(chunks: list[bytes], headers: list[tuple[bytes, bytes]], status: int) -> None:
    parts = [{"type": "http.request", "body": c, "more_body": n + 1 < len(chunks)} for n, c in enumerate(chunks)]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app = BodyLimit(reads_all, limit=100, stranger_limit=10)
    await app({"type": "http", "headers": headers}, receive, send)
    assert sent[0]["status"] == status


TOKEN = (b"authorization", b"Bearer x")


@pytest.mark.parametrize(
    ("sizes", "headers", "status"),
    [
        ([100], [TOKEN], 200),
        ([60, 41], [TOKEN], 413),
        ([1], [TOKEN, (b"content-length", b"101")], 413),
        ([10], [], 200),
        ([6, 6], [], 401),
        ([0], [(b"content-length", b"11")], 401),
        ([50], [(b"cookie", b"a=b; sessionid=c")], 200),
    ],
)
def test_a_body_ends_at_its_limit(sizes: list[int], headers: list[tuple[bytes, bytes]], status: int) -> None:
    ask([b"x" * n for n in sizes], headers, status)
