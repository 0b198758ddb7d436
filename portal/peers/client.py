"""Our own associations with peers: echo, search, fetch, ask for commitment (PS3.4 Annexes A, C and J)."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from pydicom.dataset import Dataset
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import StoragePresentationContexts, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from portal.peers import sending, tls
from portal.peers.callers import fingerprint
from portal.peers.models import Peer
from portal.peers.retrieve import Entity
from portal.peers.wire import MAX_PDU, prepare_pynetdicom

log = structlog.get_logger(__name__)
PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
PENDING = {0xFF00, 0xFF01}
Progress = Callable[[int, int, int], bool]  # (remaining, completed, failed) → whether to go on


class NotAnswered(Exception):
    """The peer could not be reached, refused us, or broke off; the words hold no identity."""


@dataclass(frozen=True)
class Address:
    """Where an application entity is, and how it is called; a `Peer` is one as well.

    trusted  over TLS its certificate may also be signed by an authority that this machine trusts, where the house names
             none of its own
    """

    name: str
    host: str
    port: int
    ae_title: str
    called_title: str = ""
    tls: bool = False
    certificate: str = ""
    trusted: bool = False


Where = Peer | Address


def context(uid: str, syntaxes: Any = None) -> PresentationContext:
    """A presentation context that we propose."""
    found = PresentationContext()
    found.abstract_syntax = UID(uid)
    found.transfer_syntax = list(syntaxes or PLAIN)
    return found


@contextmanager
def association(
    peer: Where, contexts: list[PresentationContext], *, seconds: int = 30, **options: Any
) -> Iterator[Any]:
    """An association with a peer, released at the end. Raises NotAnswered."""
    if not peer.host:
        raise NotAnswered(f"{peer.name} has no address")
    prepare_pynetdicom()
    ae = Entity(ae_title=peer.called_title or settings.DICOM_AET)
    ae.acse_timeout = ae.connection_timeout = 10
    ae.dimse_timeout = ae.network_timeout = seconds
    ae.maximum_pdu_size = MAX_PDU
    handlers = [(evt.EVT_CONN_OPEN, sending.no_delay), *options.pop("evt_handlers", [])]
    try:
        secure = (tls.client_context(getattr(peer, "trusted", False)), peer.host) if peer.tls else None
        found = ae.associate(
            peer.host, peer.port, ae_title=peer.ae_title, contexts=contexts, tls_args=secure,
            max_pdu=MAX_PDU, evt_handlers=handlers, **options,
        )  # fmt: skip
    except tls.NoTls as error:
        raise NotAnswered(str(error)) from error
    except (OSError, ValueError, TypeError) as error:
        raise NotAnswered(f"{peer.name} cannot be reached ({type(error).__name__})") from error
    if not found.is_established:
        raise NotAnswered(f"{peer.name} {_why(found)}")
    try:
        if peer.tls and peer.certificate and fingerprint(found.dul.socket.socket) != peer.certificate.lower():
            raise NotAnswered(f"{peer.name} shows another certificate than the one entered")
        yield found
    finally:
        if found.is_established:
            found.release()


def _why(found: Any) -> str:
    if found.is_rejected:
        answer = found.acceptor.primitive
        return f"refuses us ({answer.reason_str if answer else 'no reason given'})"
    return "does not answer"


def echo(peer: Where) -> int:
    """C-ECHO. Returns how long it took, with opening the association, in milliseconds. Raises NotAnswered."""
    begin = time.monotonic()
    with association(peer, [context(Verification)], seconds=10) as found:
        answer = found.send_c_echo()
    if answer.get("Status") != 0x0000:
        raise NotAnswered(f"{peer.name} answered {_code(answer)}")
    return round(1000 * (time.monotonic() - begin))


def find(peer: Peer, keys: Dataset, most: int) -> tuple[list[Dataset], bool]:
    """Study-root C-FIND: (answers, whether there are more); beyond `most` it is cancelled. Raises NotAnswered."""
    model = StudyRootQueryRetrieveInformationModelFind
    answers: list[Dataset] = []
    with association(peer, [context(model)]) as found:
        for status, answer in _sent(peer, lambda: found.send_c_find(keys, model, msg_id=1)):
            if status.get("Status") in PENDING and answer is not None:
                if len(answers) < most:
                    answers.append(answer)
                    if len(answers) == most:
                        found.send_c_cancel(1, None, model)
            elif status.get("Status") == 0xFE00:
                return answers, True
            elif status.get("Status") != 0x0000:
                raise NotAnswered(f"{peer.name} answered {_code(status)}")
    return answers, False


def move(peer: Peer, keys: Dataset, title: str, progress: Progress) -> tuple[int, int]:
    """C-MOVE to ourselves: the peer calls our listener. Returns (completed, failed). Raises NotAnswered."""
    model = StudyRootQueryRetrieveInformationModelMove
    with association(peer, [context(model)], seconds=120) as found:
        return _suboperations(peer, found, lambda: found.send_c_move(keys, title, model, msg_id=1), model, progress)


def get(
    peer: Peer, keys: Dataset, classes: list[str], take: Callable[[Path], Any], progress: Progress
) -> tuple[int, int]:
    """C-GET: instances come over our own association, each is given to `take` as a file.

    classes  SOP classes that may come; without any, the commonest
    Returns (completed, failed). Raises NotAnswered.
    """
    model = StudyRootQueryRetrieveInformationModelGet
    wanted = classes[:100] or [str(c.abstract_syntax) for c in StoragePresentationContexts][:120]
    contexts = [context(model), *(context(uid, _syntaxes()) for uid in wanted)]
    roles = [_as_provider(uid) for uid in wanted]
    handlers = [(evt.EVT_C_STORE, lambda event: _taken(event, take))]
    with association(peer, contexts, seconds=120, ext_neg=roles, evt_handlers=handlers) as found:
        return _suboperations(peer, found, lambda: found.send_c_get(keys, model, msg_id=1), model, progress)


def _taken(event: Any, take: Callable[[Path], Any]) -> Any:
    path: Path = event.dataset_path
    try:
        return take(path)
    finally:
        path.unlink(missing_ok=True)


def _syntaxes() -> list[UID]:
    """Compressed first: what is stored compressed then comes as it is stored."""
    return sorted(AllTransferSyntaxes, key=lambda uid: (uid in PLAIN, uid))


def _as_provider(uid: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = UID(uid)
    role.scu_role, role.scp_role = False, True
    return role


def _suboperations(peer: Peer, found: Any, send: Any, model: str, progress: Progress) -> tuple[int, int]:
    cancelled = False
    for status, _ in _sent(peer, send):
        code = status.get("Status")
        counts = [int(status.get(f"NumberOf{kind}Suboperations") or 0) for kind in ("Remaining", "Completed", "Failed")]
        remaining, completed, failed = counts
        completed += int(status.get("NumberOfWarningSuboperations") or 0)
        if code in PENDING:
            if not progress(remaining, completed, failed) and not cancelled:
                found.send_c_cancel(1, None, model)
                cancelled = True
        elif code in {0x0000, 0xFE00} or (code is not None and code >> 12 == 0xB):
            return completed, failed
        else:
            raise NotAnswered(f"{peer.name} answered {_code(status)}")
    raise NotAnswered(f"{peer.name} broke off")


def _sent(peer: Peer, send: Any) -> Iterator[Any]:
    try:
        for status, answer in send():
            if not status:
                raise NotAnswered(f"{peer.name} broke off")
            yield status, answer
    except (ValueError, RuntimeError) as error:  # no context accepted, or the association has gone
        raise NotAnswered(f"{peer.name} does not offer this service") from error


def send(peer: Where, found: Sequence[Dataset]) -> int:
    """C-STORE objects to a peer over one association: instances of the archive (`sending.Stored`) as streams, others as
    they are. A compressed object goes out decoded to a peer that takes its class, but not its transfer syntax.

    Returns how many of them the peer took with a warning. Raises NotAnswered unless it has every one.
    """
    warned = 0
    with association(peer, sending.contexts(found), seconds=60) as there:
        for one in found:
            try:
                status = there.send_c_store(one)
            except sending.CannotSend:
                raise NotAnswered(f"{peer.name} does not take {UID(str(one.SOPClassUID)).name}") from None
            except (ValueError, RuntimeError, OSError, queue.Full) as error:
                raise NotAnswered(f"{peer.name} does not take an instance ({type(error).__name__})") from error
            code = status.get("Status")
            if code is None or (code != 0x0000 and code >> 12 != 0xB):
                raise NotAnswered(f"{peer.name} answered {_code(status)}")
            warned += code != 0x0000
    return warned


def ask_commitment(peer: Peer, transaction: str, items: list[tuple[str, str]]) -> None:
    """N-ACTION: ask a peer to promise to keep instances [(class, UID)]. Raises NotAnswered.

    The answer comes to the listener on an association of the peer's, or on this one while it is open.
    """
    asked = Dataset()
    asked.TransactionUID = transaction
    asked.ReferencedSOPSequence = [_reference(*item) for item in items]
    model = StorageCommitmentPushModel
    with association(peer, [context(model)]) as found:
        try:
            status, _ = found.send_n_action(asked, 1, model, StorageCommitmentPushModelInstance)
        except ValueError as error:
            raise NotAnswered(f"{peer.name} does not offer storage commitment") from error
    if status.get("Status") != 0x0000:
        raise NotAnswered(f"{peer.name} answered {_code(status)}")


def report_commitment(
    peer: Peer, transaction: str, kept: list[tuple[str, str]], refused: list[tuple[str, str, int]]
) -> None:
    """N-EVENT-REPORT: tell a peer what is kept [(class, UID)] and what is not [(class, UID, reason)].

    Raises NotAnswered.
    """
    told = Dataset()
    told.TransactionUID = transaction
    if kept:
        told.ReferencedSOPSequence = [_reference(*item) for item in kept]
    if refused:
        told.FailedSOPSequence = [_reference(uid_class, uid, reason) for uid_class, uid, reason in refused]
    model = StorageCommitmentPushModel
    role = _as_provider(model)
    with association(peer, [context(model)], ext_neg=[role]) as found:
        try:
            status, _ = found.send_n_event_report(told, 2 if refused else 1, model, StorageCommitmentPushModelInstance)
        except ValueError as error:
            raise NotAnswered(f"{peer.name} does not take reports of storage commitment") from error
    if status.get("Status") != 0x0000:
        raise NotAnswered(f"{peer.name} answered {_code(status)}")


def _reference(sop_class: str, sop_uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _code(status: Dataset) -> str:
    code = status.get("Status")
    return f"{code:#06x}" if code is not None else "nothing"
