"""The DICOM listener: who may call, for which services, and what answers them (PS3.4, PS3.7, PS3.8)."""

from __future__ import annotations

import threading
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from pydicom.uid import AllTransferSyntaxes, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from portal.peers import commitment, find, retrieve, store, tls
from portal.peers.callers import Caller, admit, seat
from portal.peers.prompt import INVALID_PDU
from portal.peers.rules import BUSY
from portal.peers.wire import MAX_PDU, Server, Slots, listening_socket, prepare_pynetdicom

log = structlog.get_logger(__name__)
SYNTAXES = frozenset(str(uid) for uid in AllTransferSyntaxes)
PLAIN = [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)]
STORAGE = frozenset(str(c.abstract_syntax) for c in AllStoragePresentationContexts)
QUERY = frozenset({PatientRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelFind})
GET = frozenset({PatientRootQueryRetrieveInformationModelGet, StudyRootQueryRetrieveInformationModelGet})
MOVE = frozenset({PatientRootQueryRetrieveInformationModelMove, StudyRootQueryRetrieveInformationModelMove})
MAX_COMMAND = 65_536  # bytes of a command set
MAX_WAITING = 64  # messages that a caller has sent ahead of our answers
MAX_IDENTIFIER = 4 << 20  # of a query, or of the list of a storage commitment


class Listener:
    """The servers of one process: one port in the clear, one with TLS where it is set up."""

    def __init__(self, sockets: list[tuple[Any, Any]]) -> None:
        """sockets  (listening socket, TLS context or None)"""
        prepare_pynetdicom()
        self.slots = Slots(settings.HOME / "run" / "associations")
        self.ae = retrieve.Entity(ae_title=settings.DICOM_AET)
        self.ae.maximum_pdu_size = MAX_PDU
        # the places of `Slots` are fewer; this only keeps pynetdicom from counting on its own
        self.ae.maximum_associations = 100_000
        self.ae.acse_timeout = self.ae.dimse_timeout = 30
        self.ae.network_timeout = 60
        self.ae.connection_timeout = 10
        self.servers = [self._serve(listening, context) for listening, context in sockets]

    def _serve(self, listening: Any, context: Any) -> Any:
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_PDU_RECV, _bound),
            (evt.EVT_C_ECHO, lambda event: 0x0000),
            (evt.EVT_C_STORE, store.on_store),
            (evt.EVT_C_FIND, find.on_find),
            (evt.EVT_C_GET, retrieve.on_get),
            (evt.EVT_C_MOVE, retrieve.on_move),
            (evt.EVT_N_ACTION, commitment.on_action),
            (evt.EVT_N_EVENT_REPORT, commitment.on_report),
        ]
        # the contexts are chosen caller by caller; pynetdicom wants one and copies all for each connection
        only = PresentationContext()
        only.abstract_syntax = Verification
        only.transfer_syntax = PLAIN  # type: ignore[assignment]
        server = Server(
            listening,
            context,
            _ended,
            4 * settings.MAX_ASSOCIATIONS + 64,
            ae=self.ae,
            ae_title=settings.DICOM_AET,
            contexts=[only],
            evt_handlers=handlers,
        )
        self.ae._servers.append(server)
        run_in_thread(server.serve_forever)
        return server

    def shutdown(self) -> None:
        """End the servers; associations that are open are aborted."""
        for server in list(self.servers):
            server.shutdown()
        for association in list(self.ae.active_associations):
            association.abort()

    def _requested(self, event: Any) -> None:
        """Refuse whom no administrator has entered; offer the rest what they may use."""
        assoc = event.assoc
        primitive = assoc.requestor.primitive
        title = (primitive.calling_ae_title or "").strip()
        called = (primitive.called_ae_title or "").strip()
        address = assoc.requestor.address or ""
        caller: Caller | None = None
        try:
            close_old_connections()
            caller, refusal, why = admit(title, called, address, assoc.dul.socket.socket)
            if caller is not None:
                refusal = seat(caller, self.slots)
                why = "too many associations"
        except DatabaseError as error:
            log.error("dimse.database_away", error=type(error).__name__)
            refusal, why = BUSY, "the database does not answer"
        finally:
            connection.close()
        if refusal is not None or caller is None:
            log.warning("dimse.refused", calling=title[:16], address=address, why=why)
            assoc.acse.send_reject(*(refusal or BUSY))
            assoc.kill()
            return
        assoc.concord = caller
        if caller.peer is not None:
            assoc.network_timeout = caller.peer.idle_seconds
        proposed = primitive.presentation_context_definition_list
        assoc.acceptor.supported_contexts = offered(caller, proposed)


def offered(caller: Caller, proposed: list[PresentationContext]) -> list[PresentationContext]:
    """What is accepted of what a caller proposes: classes by its rights, syntaxes in the order it prefers."""
    found: dict[str, PresentationContext] = {}
    for context in proposed:
        uid = str(context.abstract_syntax)
        known = SYNTAXES if uid in STORAGE else frozenset(PLAIN)
        if not _allowed(caller, uid):
            continue
        mine = found.setdefault(uid, _context(uid, caller))
        for syntax in context.transfer_syntax:
            if str(syntax) in known and syntax not in mine.transfer_syntax:
                mine.add_transfer_syntax(syntax)
    return [context for context in found.values() if context.transfer_syntax]


def _context(uid: str, caller: Caller) -> PresentationContext:
    context = PresentationContext()
    context.abstract_syntax = uid  # type: ignore[assignment]
    if uid in STORAGE:  # a caller that fetches by C-GET is the one that stores
        context.scu_role, context.scp_role = caller.stores, caller.may("retrieve")
    elif uid == StorageCommitmentPushModel:  # the answer to our own question comes with the roles reversed
        context.scp_role = context.scu_role = True
    return context


def _allowed(caller: Caller, uid: str) -> bool:
    if uid in STORAGE:
        return caller.stores or caller.may("retrieve")
    if uid in QUERY:
        return caller.may("query")
    if uid in GET or uid in MOVE:
        return caller.may("retrieve")
    if uid == StorageCommitmentPushModel:
        return caller.peer is not None
    return uid == Verification


def listen(host: str, port: int, tls_port: int = 0) -> Listener:
    """Start the listener in threads of this process; `shutdown()` ends it. Raises OSError for a taken port."""
    return Listener(sockets(host, port, tls_port))


def sockets(host: str, port: int, tls_port: int) -> list[tuple[Any, Any]]:
    """Listening sockets with their TLS context. Raises OSError, ValueError (certificates)."""
    context = tls.server_context() if tls_port else None
    found: list[tuple[Any, Any]] = [(listening_socket(host, port), None)]
    if tls_port:
        found.append((listening_socket(host, tls_port), context))
    return found


def run_in_thread(target: Any) -> None:
    """Start a thread that ends with the process."""
    threading.Thread(target=target, daemon=True).start()


def _bound(event: Any) -> None:
    """Keep an endless message from filling disk or memory.

    Beyond the limit the bytes of an instance are thrown away (it is refused when it ends); any other message
    ends the association.
    """
    message = event.assoc.dimse.message if event.assoc.dimse else None
    if event.assoc.dimse.msg_queue.qsize() > MAX_WAITING:
        event.assoc.dul.event_queue.put(INVALID_PDU)
    if message is None or not isinstance(event.pdu, P_DATA_TF):
        return
    file = getattr(message, "_data_set_file", None)
    if file is not None:
        if file.tell() > settings.MAX_INSTANCE_BYTES:
            event.assoc.concord.oversized += file.tell()
            file.seek(0)
            file.truncate()
        return
    data = getattr(message, "data_set", None)
    held = message.encoded_command_set.tell() if message.encoded_command_set else 0
    if held > MAX_COMMAND or (data is not None and data.tell() > MAX_IDENTIFIER):
        event.assoc.dul.event_queue.put(INVALID_PDU)


def _ended(association: Any) -> None:
    """Drop what a sender left unfinished, and give its places back."""
    store.drop_unfinished(association)
    caller = getattr(association, "concord", None)
    if caller is not None:
        caller.leave()
