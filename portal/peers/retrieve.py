"""C-GET and C-MOVE as provider (PS3.4 Annex C): a peer fetches its own organisation's instances, pseudonymous."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import structlog
from django.db import DatabaseError, close_old_connections, connection
from django.db.models import QuerySet
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
)

from portal.archive.models import Instance
from portal.core.errors import Refused
from portal.peers import sending, tls
from portal.peers.callers import Caller
from portal.peers.find import level_of
from portal.peers.models import Peer
from portal.peers.store import status
from portal.peers.wire import Wire

log = structlog.get_logger(__name__)
PENDING, CANCELLED = 0xFF00, 0xFE00
BAD_IDENTIFIER, UNABLE, NOT_CALCULATED = 0xA900, 0xC001, 0xA701
PATIENT_ROOTS = {PatientRootQueryRetrieveInformationModelGet, PatientRootQueryRetrieveInformationModelMove}
MOST_LISTED = 1000  # UIDs in one identifier
# keyword → column, from the top of the hierarchy; each level's own key has to be there (PS3.4 C.4.2.2.1)
COLUMNS = {
    "PatientID": "study__patient__pseudonym",
    "StudyInstanceUID": "study__study_uid",
    "SeriesInstanceUID": "series__series_uid",
    "SOPInstanceUID": "sop_uid",
}
NEEDED = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}


class Entity(AE):
    """Our application entity; the associations it opens read within bounds and send stored files as streams."""

    def _create_socket(self, assoc: Any, address: Any, tls_args: Any) -> Wire:
        wire = Wire(assoc, address=address)
        if tls_args:
            wire.tls_args = tls_args
        return wire

    def associate(self, *args: Any, **options: Any) -> Any:
        """Open an association, ready for `sending.Stored` objects."""
        association = super().associate(*args, **options)
        if association.is_established:
            sending.stream(association)
        return association


def instances(organisation_id: int, identifier: Dataset, patient_root: bool) -> QuerySet[Instance]:
    """What an identifier names in one organisation's archive. Raises Refused when it names nothing."""
    level = level_of(identifier, patient_root)
    rows = Instance.objects.filter(organisation=organisation_id)
    for keyword, column in COLUMNS.items():
        if values := _values(identifier, keyword):
            rows = rows.filter(**{f"{column}__in": values})
        elif keyword == NEEDED[level]:
            raise Refused("bad_query", f"{keyword} is missing at level {level}.", status=400)
        if keyword == NEEDED[level]:
            break
    columns = ("name", "sop_class", "sop_uid", "transfer_syntax", "size")
    return rows.order_by("study_id", "series__number", "series_id", "number", "pk").only(*columns)


def _values(identifier: Dataset, keyword: str) -> list[str]:
    value = identifier.get(keyword)
    found = [value] if isinstance(value, str) else list(value or [])
    if len(found) > MOST_LISTED:
        raise Refused("bad_query", f"At most {MOST_LISTED} values in one list.", status=400)
    return [str(one).strip() for one in found if str(one).strip()]


def on_get(event: Any) -> Iterator[Any]:
    """Send what is asked for over the caller's own association."""
    found, refusal = _found(event)
    yield len(found)
    if refusal is not None:
        yield refusal, None
        return
    sending.stream(event.assoc)
    yield from _one_by_one(event, found)


def on_move(event: Any) -> Iterator[Any]:
    """Send what is asked for to another registered peer of the same organisation."""
    caller: Caller = event.assoc.concord
    found, refusal = _found(event)
    try:
        peer = _destination(caller, str(event.move_destination or "").strip())
        context = (tls.client_context(), peer.host) if peer and peer.tls else None
    except (DatabaseError, tls.NoTls) as error:
        log.error("dimse.no_destination", error=type(error).__name__)
        peer = context = None
    if peer is None:
        yield None, None  # A801: move destination unknown
        return
    handlers = [(evt.EVT_CONN_OPEN, sending.no_delay)]
    yield peer.host, peer.port, {"contexts": sending.contexts(found), "tls_args": context, "evt_handlers": handlers}
    yield len(found) or int(refusal is not None)
    if refusal is not None:
        yield refusal, None
        return
    yield from _one_by_one(event, found, originator=(caller.title, event.request.MessageID))


def _found(event: Any) -> tuple[list[sending.Stored], Any]:
    """The instances, or a status why there are none; the database is left before anything is sent."""
    caller: Caller = event.assoc.concord
    try:
        close_old_connections()
        root = event.request.AffectedSOPClassUID in PATIENT_ROOTS
        rows = instances(caller.organisation_id, event.identifier, root)
        return [sending.Stored.of(row) for row in rows[: 2**16]], None
    except Refused as error:
        return [], status(BAD_IDENTIFIER, error.message)
    except DatabaseError as error:
        log.error("dimse.database_away", error=type(error).__name__)
        return [], status(NOT_CALCULATED, "The database does not answer; ask again later.")
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        log.warning("dimse.query_not_understood", error=type(error).__name__)
        return [], status(UNABLE, "The identifier cannot be understood.")
    finally:
        connection.close()


def _one_by_one(event: Any, found: list[Any], originator: tuple[str, int] | None = None) -> Iterator[Any]:
    for one in found:
        if event.is_cancelled:
            yield CANCELLED, None
            return
        one.originator = originator
        yield PENDING, one


def _destination(caller: Caller, title: str) -> Peer | None:
    try:
        rows = Peer.objects.filter(organisation=caller.organisation_id, active=True, may_retrieve=True)
        return rows.exclude(host="").filter(ae_title=title).first()
    finally:
        connection.close()
