"""Storage commitment (PS3.4 Annex J): peers ask us with N-ACTION, and answer us with N-EVENT-REPORT."""

from __future__ import annotations

from typing import Any

import structlog
from django.db import DatabaseError, close_old_connections, connection
from pydicom.dataset import Dataset
from pynetdicom.sop_class import StorageCommitmentPushModelInstance  # type: ignore[attr-defined]

from portal.peers import actions
from portal.peers.callers import Caller
from portal.peers.store import NOT_AUTHORISED

log = structlog.get_logger(__name__)
ASK, ANSWER = 1, {1, 2}  # action type; event types: all kept, failures exist
PROCESSING_FAILURE, NO_SUCH_ACTION, NO_SUCH_EVENT, BAD_ARGUMENT = 0x0110, 0x0123, 0x0113, 0x0115
MOST_ITEMS = 20_000


def on_action(event: Any) -> tuple[int, Dataset | None]:
    """Take a question: is it kept? The answer goes out later, on an association of our own."""
    caller: Caller = event.assoc.concord
    if event.action_type != ASK or event.request.RequestedSOPInstanceUID != StorageCommitmentPushModelInstance:
        return NO_SUCH_ACTION, None
    if caller.peer is None or not caller.may("commit") or not caller.peer.host:
        return NOT_AUTHORISED, None
    try:
        asked = event.action_information
        transaction = str(asked.TransactionUID)
        items = [(str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID)) for i in asked.ReferencedSOPSequence]
    except (AttributeError, ValueError, TypeError, NotImplementedError):
        return BAD_ARGUMENT, None
    if not items or len(items) > MOST_ITEMS or not transaction or len(transaction) > 64:
        return BAD_ARGUMENT, None
    return _in_database(lambda: actions.commitment_asked(caller.peer, transaction, items)), None


def on_report(event: Any) -> tuple[int, None]:
    """Take the answer to a question of our own."""
    return _report(event), None


def _report(event: Any) -> int:
    caller: Caller = event.assoc.concord
    if event.event_type not in ANSWER:
        return NO_SUCH_EVENT
    try:
        told = event.event_information
        transaction = str(told.TransactionUID)
        kept = [str(item.ReferencedSOPInstanceUID) for item in told.get("ReferencedSOPSequence", [])]
        refused = {
            str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", PROCESSING_FAILURE))
            for item in told.get("FailedSOPSequence", [])
        }
    except (AttributeError, ValueError, TypeError, NotImplementedError):
        return BAD_ARGUMENT
    if caller.peer is None:
        return NOT_AUTHORISED
    return _in_database(lambda: actions.commitment_answered(caller.peer, transaction, kept, refused))


def _in_database(work: Any) -> int:
    try:
        close_old_connections()
        return 0x0000 if work() else BAD_ARGUMENT
    except DatabaseError as error:
        log.error("dimse.database_away", error=type(error).__name__)
        return PROCESSING_FAILURE
    finally:
        connection.close()
