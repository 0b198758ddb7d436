"""Live events: leave from actions, on commit, with a schema; a lost channel never stops an action."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone

log = structlog.get_logger(__name__)

# type → the fields its data must have, no more and no fewer
SCHEMA: dict[str, frozenset[str]] = {
    "study.arrived": frozenset({"study_uid", "state"}),
    "receipt.changed": frozenset({"id", "state", "reason"}),
    "run.progress": frozenset({"run", "study_uid", "function", "progress", "stage"}),
    "run.finished": frozenset({"run", "study_uid", "state"}),
    "return.changed": frozenset({"id", "state"}),
    "data_set.changed": frozenset({"id", "state"}),
    "worklist.changed": frozenset({"programme", "assignment", "kind"}),
    "case.changed": frozenset({"case", "programme", "state"}),
    "reading.submitted": frozenset({"assignment", "case"}),
    "membership.changed": frozenset(),  # for the server's end of a connection; browsers are not told
}


def org_group(pk: object) -> str:
    """Group of every signed-in member of one organisation."""
    return f"org.{pk}"


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


def _send(groups: list[str], message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        for group in groups:
            async_to_sync(layer.group_send)(group, message)
    except Exception as error:  # the channel is a convenience; pages also poll
        log.warning("live.not_sent", kind=message["kind"], error=str(error))
