"""The DICOM listener: C-ECHO and C-STORE as provider (PS3.4 Annexes A and B, PS3.7)."""

from __future__ import annotations

import socket
import tempfile
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, _config, dimse_messages, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from portal.ingest import landing
from portal.ingest.actions import receive_path, refuse_oversized
from portal.ingest.models import Receipt, Source
from portal.ingest.rules import REASONS

log = structlog.get_logger(__name__)
MAX_PDU = 131072
IDLE_SECONDS = 60
SYNTAXES = [str(uid) for uid in AllTransferSyntaxes]
GOOD = {Receipt.State.RECEIVED, Receipt.State.DUPLICATE}


def source_of(calling_ae: str) -> Source | None:
    """The active source of a calling AE title, else the one that accepts any (`*`), else None."""
    title = calling_ae.strip()
    rows = Source.objects.filter(kind=Source.Kind.DIMSE, active=True, ae_title__in=[title, "*"])
    found = {row.ae_title: row for row in rows.select_related("organisation")}
    return found.get(title) or found.get("*")


def listen(host: str, port: int) -> Any:
    """Start the listener in threads of its own; returns the server, which `shutdown()` ends.

    Incoming fragments go to files of the landing store as they arrive; no data set is decoded or held.
    """
    _config.STORE_RECV_CHUNKED_DATASET = True
    # pynetdicom names no folder; on the landing store's own disk a rename is enough to keep the file
    dimse_messages.NamedTemporaryFile = partial(tempfile.NamedTemporaryFile, dir=landing.incoming())  # type: ignore[attr-defined,assignment]
    ae = AE(ae_title=settings.DICOM_AET)
    ae.maximum_pdu_size = MAX_PDU
    ae.maximum_associations = settings.MAX_ASSOCIATIONS
    ae.network_timeout = IDLE_SECONDS
    ae.acse_timeout = ae.dimse_timeout = 30
    ae.require_called_aet = False
    ae.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, SYNTAXES)  # type: ignore[arg-type]
    handlers = [
        (evt.EVT_CONN_OPEN, _no_delay),
        (evt.EVT_REQUESTED, _admit),
        (evt.EVT_PDU_RECV, _bound),
        (evt.EVT_C_ECHO, lambda event: 0x0000),
        (evt.EVT_C_STORE, _store),
        (evt.EVT_CONN_CLOSE, _closed),
    ]
    return ae.start_server((host, port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]


def _no_delay(event: Any) -> None:
    """Answer small messages at once: with Nagle's algorithm each instance waits 40 ms."""
    wire = event.assoc.dul.socket.socket
    if wire is not None:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _admit(event: Any) -> None:
    """Refuse callers that no administrator has entered (PS3.8 9.3.4: calling AE title not recognised)."""
    title = event.assoc.requestor.primitive.calling_ae_title or ""
    try:
        close_old_connections()
        source = source_of(title)
        # 1 permanent, by the service user, 3 calling AE title not recognised
        refusal = None if source else (1, 1, 3)
    except DatabaseError as error:
        log.error("dimse.database_away", error=type(error).__name__)
        source, refusal = None, (2, 3, 1)  # transient, by the provider, temporary congestion
    finally:
        connection.close()
    if refusal:
        log.warning("dimse.refused", calling=title[:16])
        event.assoc.acse.send_reject(*refusal)
        event.assoc.kill()
        return
    event.assoc.concord_source, event.assoc.concord_batch = source, uuid.uuid4()
    event.assoc.concord_size = 0


def _bound(event: Any) -> None:
    """Keep an endless instance from filling the disk: beyond the limit its bytes are thrown away."""
    message = event.assoc.dimse.message if event.assoc.dimse else None
    file = getattr(message, "_data_set_file", None)
    if file is None or not isinstance(event.pdu, P_DATA_TF):
        return
    if file.tell() > settings.MAX_INSTANCE_BYTES:
        event.assoc.concord_size += file.tell()
        file.seek(0)
        file.truncate()


def _closed(event: Any) -> None:
    """Drop what a sender left unfinished, and give the database connection back."""
    message = event.assoc.dimse.message if event.assoc.dimse else None
    file = getattr(message, "_data_set_file", None)
    if file is not None:
        file.close()
        Path(file.name).unlink(missing_ok=True)
    connection.close()


def _store(event: Any) -> Any:
    """Take over the file that was written, and answer when it is durable and known."""
    path: Path = event.dataset_path
    assoc = event.assoc
    try:
        close_old_connections()
        if assoc.concord_size:
            size, assoc.concord_size = assoc.concord_size, 0
            receipt = refuse_oversized(assoc.concord_source, size, batch=assoc.concord_batch)
        else:
            receipt = receive_path(assoc.concord_source, path, batch=assoc.concord_batch)
    except OSError as error:
        log.error("dimse.no_room", error=str(error))
        return _status(REASONS["no_room"].status, REASONS["no_room"].words)
    except DatabaseError as error:
        log.error("dimse.database_away", error=type(error).__name__)
        return _status(0xA700, "The database does not answer; send again later.")
    finally:
        path.unlink(missing_ok=True)
        connection.close()
    if receipt.state in GOOD:
        return 0x0000
    reason = REASONS.get(receipt.reason, REASONS["unreadable"])
    return _status(reason.status, reason.words)


def _status(code: int, words: str) -> Dataset:
    status = Dataset()
    status.Status, status.ErrorComment = code, words[:64]
    return status
