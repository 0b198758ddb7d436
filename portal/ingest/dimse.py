"""The DICOM listener: C-ECHO and C-STORE as provider (PS3.4 Annexes A and B, PS3.7)."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import close_old_connections
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from portal.ingest import landing
from portal.ingest.actions import receive_path
from portal.ingest.models import Receipt, Source
from portal.ingest.rules import REASONS

log = structlog.get_logger(__name__)
MAX_PDU = 131072
IDLE_SECONDS = 60
SYNTAXES = [str(uid) for uid in AllTransferSyntaxes]


def source_of(calling_ae: str) -> Source | None:
    """The active source of a calling AE title, else the one that accepts any (`*`), else None."""
    titles = [calling_ae.strip(), "*"]
    rows = Source.objects.filter(kind=Source.Kind.DIMSE, active=True, ae_title__in=titles)
    found = {row.ae_title: row for row in rows}
    return found.get(titles[0]) or found.get("*")


def listen(host: str, port: int) -> Any:
    """Start the listener in threads of its own; returns the server, which `shutdown()` ends."""
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
        (evt.EVT_C_ECHO, lambda event: 0x0000),
        (evt.EVT_C_STORE, _store),
        (evt.EVT_CONN_CLOSE, _closed),
    ]
    return ae.start_server((host, port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]


def _no_delay(event: Any) -> None:
    """Answer small messages at once: with Nagle's algorithm each instance waits 40 ms."""
    connection = event.assoc.dul.socket.socket
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _admit(event: Any) -> None:
    """Refuse callers that no administrator has entered (PS3.8 9.3.4: calling AE title not recognised)."""
    close_old_connections()
    title = event.assoc.requestor.ae_title
    source = source_of(title)
    if source is None:
        log.warning("dimse.refused", calling=title[:16])
        event.assoc.acse.send_reject(0x01, 0x01, 0x03)
        event.assoc.kill()
        return
    event.assoc.concord_source = source
    event.assoc.concord_batch = uuid.uuid4()


def _closed(event: Any) -> None:
    close_old_connections()


def _store(event: Any) -> Any:
    """Write the encoded bytes as they came, under file meta of our own, and answer when they are durable."""
    try:
        path = _write(event)
    except OSError as error:
        log.error("dimse.no_room", error=str(error))
        return _status(0xA700, REASONS["no_room"].words)
    receipt = receive_path(event.assoc.concord_source, path, batch=event.assoc.concord_batch)
    if receipt.state in {Receipt.State.RECEIVED, Receipt.State.DUPLICATE}:
        return 0x0000
    reason = REASONS.get(receipt.reason, REASONS["unreadable"])
    return _status(reason.status, reason.words)


def _write(event: Any) -> Path:
    path = landing.incoming() / f"{uuid.uuid4()}.part"
    meta = event.file_meta
    meta.TransferSyntaxUID = UID(event.context.transfer_syntax)
    try:
        with path.open("xb") as out:
            out.write(b"\0" * 128 + b"DICM")
            write_file_meta_info(out, meta)
            data = event.request.DataSet
            data.seek(0)
            while chunk := data.read(1 << 20):
                out.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _status(code: int, words: str) -> Any:
    from pydicom.dataset import Dataset

    status = Dataset()
    status.Status = code
    status.ErrorComment = words[:64]
    return status
