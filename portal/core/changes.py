"""Word from the database that somebody's access changed, for what a process remembers about people.

Triggers on users, memberships, tokens and sessions (portal.accounts.models, its migrations) notify ACCESS whenever a
right may have ended, whoever wrote the row. The payload is empty, so PostgreSQL joins those of one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import structlog
from django.db import connections
from psycopg import sql

log = structlog.get_logger(__name__)
ACCESS = "concord_access"
TELL = f"PERFORM pg_notify('{ACCESS}', ''); RETURN NULL;"  # body of the triggers
AGAIN_SECONDS = 1.0
# a link that died without a word is noticed in a few seconds
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3}


class Watch:
    """Listens on a connection of its own; `forget` is called at each word and whenever listening begins or ends.

    Ask `mark()` before looking somebody up and `holds(mark)` before remembering what was found: it holds only while
    this listens and nothing has changed in between.
    """

    def __init__(self, forget: Callable[[], None], channel: str = ACCESS) -> None:
        self.forget = forget
        self.channel = channel
        self.listening = False
        self.changes = 0
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen in the running loop; again and again has the effect of once."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    def mark(self) -> int:
        return self.changes

    def holds(self, mark: int) -> bool:
        return self.listening and mark == self.changes

    def _changed(self) -> None:
        self.changes += 1
        self.forget()

    async def _run(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**database_address(), autocommit=True) as link:
                    await link.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self.channel)))
                    self.listening = True
                    self._changed()
                    async for _ in link.notifies():
                        self._changed()
            except psycopg.Error as error:
                log.warning("changes.not_listening", channel=self.channel, error=str(error))
            finally:
                self.listening = False
                self._changed()
            await asyncio.sleep(AGAIN_SECONDS)


def database_address() -> dict[str, Any]:
    """Where the database is, for links beside the pool of Django's requests."""
    given = connections["default"].settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    plain = {key: value for key, value in given["OPTIONS"].items() if key.startswith("ssl")}
    return {name: given[key] for key, name in names.items() if given.get(key)} | plain | KEEPALIVE
