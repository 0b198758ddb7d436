"""What flow, browser and fault tests share: the running processes, clients with tokens, waiting."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from asgiref.sync import sync_to_async
from django.db import connections
from psycopg.rows import dict_row

from deploy.embedded.config import Home

T = TypeVar("T")

# Debian's Chromium without a display, without calls home
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
]


def wait_for(condition: Callable[[], T | None], seconds: float, what: str) -> T:
    """Return the first truthy answer of `condition`; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.1)


def in_own_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in a thread with a loop of its own: the browser's keeps the main thread's loop."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def body() -> None:
            try:
                await test(*args, **kwargs)
            finally:
                await sync_to_async(connections.close_all)()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, body()).result()

    return run


class Client:
    """One person's requests by API token."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def raw(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.http.request(method, path, json=body)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.raw(method, path, body)
        if answer.is_error:
            text = f"{method} {path}: {answer.status_code} {answer.text[:500]}"
            raise httpx.HTTPStatusError(text, request=answer.request, response=answer)
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self._ask("PUT", path, body)


@dataclass
class Stack:
    """A whole portal started by the command of the README."""

    home: Home
    info: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.info["url"])

    @property
    def aet(self) -> str:
        return str(self.info["dicom"]["aet"])

    @property
    def dicom_port(self) -> int:
        return int(self.info["dicom"]["port"])

    @property
    def hl7_port(self) -> int:
        return int(self.info["hl7"]["port"])

    def user(self, name: str) -> dict[str, Any]:
        return next(u for u in self.info["users"] if u["name"] == name)

    def as_(self, name: str) -> Client:
        return Client(self.url, self.user(name)["token"])

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows by SQL as the database's owner, to look at what the API does not show."""
        with psycopg.connect(self.home.database_url("owner"), row_factory=dict_row) as db:
            return db.execute(sql, values).fetchall()

    def ledger(self) -> list[dict[str, Any]]:
        return self.query("SELECT * FROM billing_ledgerentry ORDER BY id")

    def pid(self, name: str) -> int:
        return int(json.loads((self.home.path / "run" / "pids.json").read_text())[name])

    def kill(self, name: str) -> int:
        """kill -9 a process and its children; returns its pid. The supervisor starts it again."""
        pid = self.pid(name)
        os.killpg(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, name: str, before: int, seconds: float = 60) -> None:
        wait_for(lambda: self.pid(name) != before, seconds, f"{name} is started again")

    def log(self, name: str) -> str:
        path: Path = self.home.path / "log" / f"{name}.log"
        return path.read_text(errors="replace")
