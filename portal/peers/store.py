"""C-STORE as provider (PS3.4 Annex B): every instance goes through the one door, `ingest.actions.receive_path`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog
from django.db import DatabaseError, close_old_connections, connection
from pydicom.dataset import Dataset

from portal.ingest.actions import receive_path, refuse_oversized
from portal.ingest.models import Receipt
from portal.ingest.rules import REASONS
from portal.peers.callers import Caller

log = structlog.get_logger(__name__)
GOOD = {Receipt.State.RECEIVED, Receipt.State.DUPLICATE}
NOT_AUTHORISED = 0x0124


def on_store(event: Any) -> Any:
    """Take over the file that was written, and answer when it is durable and known."""
    path: Path = event.dataset_path
    caller: Caller = event.assoc.concord
    try:
        close_old_connections()
        return take(caller, path)
    finally:
        path.unlink(missing_ok=True)
        connection.close()


def take(caller: Caller, path: Path) -> Any:
    """Receive one file of a caller; returns the C-STORE status."""
    if caller.source is None:
        return status(NOT_AUTHORISED, "This peer may not store here.")
    try:
        if caller.oversized:
            size, caller.oversized = caller.oversized, 0
            receipt = refuse_oversized(caller.source, size, batch=caller.batch)
        else:
            receipt = receive_path(caller.source, path, batch=caller.batch)
    except OSError as error:
        log.error("dimse.no_room", error=str(error))
        return status(REASONS["no_room"].status, REASONS["no_room"].words)
    except DatabaseError as error:
        log.error("dimse.database_away", error=type(error).__name__)
        return status(0xA700, "The database does not answer; send again later.")
    if receipt.state in GOOD:
        return 0x0000
    reason = REASONS.get(receipt.reason, REASONS["unreadable"])
    return status(reason.status, reason.words)


def status(code: int, words: str) -> Dataset:
    """A status with its comment (PS3.7 C: 64 characters)."""
    found = Dataset()
    found.Status, found.ErrorComment = code, words[:64]
    return found


def drop_unfinished(association: Any) -> None:
    """Delete the file of an instance that broke off."""
    message = association.dimse.message if association.dimse else None
    file = getattr(message, "_data_set_file", None)
    if file is not None:
        file.close()
        Path(file.name).unlink(missing_ok=True)
