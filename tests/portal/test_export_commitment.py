"""Storage commitment of results: a PACS that took them is asked to promise that it keeps them (PS3.4 Annex J)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.test import Client
from django.utils import timezone
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from deploy.embedded.config import free_port
from portal.core.errors import Refused
from portal.export import tasks
from portal.export.actions import save_destination
from portal.export.models import Return
from portal.export.returns.actions import queue_returns, resend_due
from portal.peers.actions import deliver_commitment
from portal.peers.listener import listen
from tests.factories.archive import plain_static
from tests.factories.peers import peer
from tests.factories.reading import Cast, cast, owed
from tests.factories.returns import arrived, destination, settled_case
from tests.support import wait_for

__all__ = ["cast", "plain_static"]


@contextmanager
def keeping(port: int, listener: int, keeps: Callable[[str], bool]) -> Iterator[list[str]]:
    """A PACS that takes everything by C-STORE, and promises to keep what `keeps` says, on an association of its own."""
    stored, heard = list[str](), list[int]()
    there = AE(ae_title="PACS")
    there.supported_contexts = AllStoragePresentationContexts
    there.add_supported_context(StorageCommitmentPushModel)

    def take(event: Any) -> int:
        stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def promise(event: Any) -> tuple[int, None]:
        asked = event.action_information
        threading.Thread(target=tell, args=(asked,), daemon=True).start()
        return 0x0000, None

    def tell(asked: pydicom.Dataset) -> None:
        told = pydicom.Dataset()
        told.TransactionUID = asked.TransactionUID
        told.ReferencedSOPSequence = [i for i in asked.ReferencedSOPSequence if keeps(i.ReferencedSOPInstanceUID)]
        told.FailedSOPSequence = [i for i in asked.ReferencedSOPSequence if not keeps(i.ReferencedSOPInstanceUID)]
        for item in told.FailedSOPSequence:
            item.FailureReason = 0x0112
        caller = AE(ae_title="PACS")
        caller.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        line = caller.associate("127.0.0.1", listener, ae_title="CONCORD", ext_neg=[role])
        kind = 2 if told.FailedSOPSequence else 1
        model = StorageCommitmentPushModel
        answer, _ = line.send_n_event_report(told, kind, model, StorageCommitmentPushModelInstance)
        heard.append(answer.get("Status"))
        line.release()

    handlers = [(evt.EVT_C_STORE, take), (evt.EVT_N_ACTION, promise)]
    server = there.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield stored
        wait_for(lambda: heard, 10, "the promise was taken")
    finally:
        server.shutdown()
    assert set(heard) == {0x0000}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_pacs_is_asked_to_keep_what_it_took(cast: Cast, tmp_path: Path, keeps: bool) -> None:
    _, study = arrived(cast, tmp_path / "in")
    case = settled_case(cast, study, [])
    port, ours = free_port(), free_port()
    where = destination(cast, port, commit=True)
    with pytest.raises(Refused, match="among the peers"):
        save_destination(cast.dave, where)
    peer(cast.lakeside, "PACS", port=port)
    save_destination(cast.dave, where)
    listener = listen("127.0.0.1", ours)
    try:
        with keeping(port, ours, lambda uid: keeps) as stored:
            (row,) = queue_returns(case.pk)
            tasks.send_return(str(row.pk))
            row.refresh_from_db()
            assert row.state == "sent" and stored == [row.sop_uid] and row.commitment.state == "asked"
            (asked,) = owed("peers.commitment_due")
            deliver_commitment(asked)
            (settled,) = wait_for(lambda: owed("peers.commitment_settled"), 20, "the PACS has answered")
            for _ in range(2):
                tasks.commitment_settled(settled)
            row.refresh_from_db()
            page = Client()
            page.force_login(cast.dave)
            shown = page.get("/returns/").content.decode()
            if keeps:
                assert (row.state, row.commitment.state, row.commitment.confirmed) == ("sent", "confirmed", 1)
                assert "Confirmed" in shown
                return
            assert (row.state, row.commitment.state, row.attempts) == ("failed", "refused", 2)
            assert row.error == "PACS promises to keep 0 of 1 objects only" and row.next_at and row.error in shown
            Return.objects.filter(pk=row.pk).update(next_at=timezone.now())
            assert resend_due() == 1
            tasks.send_return(str(row.pk))
            row.refresh_from_db()
            assert (row.state, stored) == ("sent", [row.sop_uid] * 2) and row.commitment.state == "asked"
            assert str(row.commitment_id) != settled
    finally:
        listener.shutdown()
