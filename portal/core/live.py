"""Live events: leave from actions, on commit, with a schema; a lost channel never stops an action."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from portal.core.aside import Aside

log = structlog.get_logger(__name__)
MOST_WAITING = 5000  # events of one process that are not sent yet; more are dropped
SECONDS = 5.0  # for one event
Event = tuple[list[str], dict[str, Any]]  # groups, message

# type → the fields its data must have, no more and no fewer
SCHEMA: dict[str, frozenset[str]] = {
    "study.arrived": frozenset({"study_uid", "state"}),
    "receipt.changed": frozenset({"id", "state", "reason"}),
    "input.alert": frozenset({"id", "study_uid", "state"}),
    "pixels.changed": frozenset({"id", "state"}),
    "terms.changed": frozenset({"id", "state"}),
    "look.answered": frozenset({"id"}),  # to the one who asked
    "run.progress": frozenset({"run", "study_uid", "function", "progress", "stage"}),
    "run.finished": frozenset({"run", "study_uid", "state"}),
    "return.changed": frozenset({"id", "state"}),
    "data_set.changed": frozenset({"id", "state"}),
    "peer.changed": frozenset({"id"}),
    "sender.changed": frozenset({"id", "code"}),  # of HL7 messages, and what its last one was answered
    "query.changed": frozenset({"id", "state"}),
    "fetch.changed": frozenset({"id", "state"}),
    "worklist.changed": frozenset({"programme", "assignment", "kind"}),
    "case.changed": frozenset({"case", "programme", "state"}),
    "reading.submitted": frozenset({"assignment", "case"}),
    "reading.alerted": frozenset({"assignment", "case", "number"}),  # to its reader alone: the model differs
    "reading.cancel_asked": frozenset({"assignment", "case", "number", "why"}),  # to its holder: please give it back
    "usage.changed": frozenset(),
    "membership.changed": frozenset(),  # for the server's end of a connection; browsers are not told
}


def audience_group(pk: object, audience: str) -> str:
    """Group of those members of one organisation whose roles make them an audience (`accounts.queries.AUDIENCES`)."""
    return f"org.{pk}.{audience}"


def user_group(pk: object) -> str:
    """Group of one user's browsers."""
    return f"user.{pk}"


def announce(groups: Iterable[str], kind: str, data: dict[str, Any]) -> None:
    """Send one event to each group once the transaction commits. Raises ValueError off-schema."""
    if SCHEMA.get(kind) != frozenset(data):
        raise ValueError(f"live event {kind!r} does not fit its schema: {sorted(data)}")
    message = {"type": "live.event", "kind": kind, "at": timezone.now().isoformat(), "data": data}
    names = sorted(set(groups))
    transaction.on_commit(lambda: _send(names, message), robust=True)


def _sender() -> Callable[[list[Event]], None]:
    """Sends events one after another over one connection that stays open.

    Nobody waits for it: an action is done when it is committed, however slow or lost the channel is.
    """
    loop = asyncio.Runner()
    return lambda events: loop.run(_send_all(events))


async def _send_all(events: list[Event]) -> None:
    for groups, message in events:
        try:
            try:
                await _once(groups, message)
            except (OSError, RedisError):  # the server went away and may be back
                await _once(groups, message)
        except Exception as error:  # the channel is a convenience; pages also poll
            log.warning("live.not_sent", kind=message["kind"], error=str(error))


async def _once(groups: list[str], message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        async with asyncio.timeout(SECONDS):
            for group in groups:
                await layer.group_send(group, message)


_post = Aside("live", _sender, MOST_WAITING)
flush = _post.flush


def _send(groups: list[str], message: dict[str, Any]) -> None:
    if not _post.put([(groups, message)]):
        log.warning("live.not_sent", kind=message["kind"], error="too many wait")
