"""One at a time, over all processes of the house."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def one_at_a_time(*what: object) -> Iterator[None]:
    """Wait until nobody else is in here for the same `what`; held over commits, and let go when the process dies.

    A session-level advisory lock of PostgreSQL: whoever holds it twice has to leave twice.
    """
    key = _key(what)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [key])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [key])


def alone_until_commit(*what: object) -> None:
    """Wait until no other transaction is here for the same `what`; this one is, until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_key(what)])


def _key(what: tuple[object, ...]) -> int:
    name = "\n".join(map(str, what)).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big", signed=True)
