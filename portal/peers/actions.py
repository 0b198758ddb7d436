"""Every write about peers: entering them, asking whether they are there, standing queries, storage commitment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from pydicom.uid import generate_uid

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import live, outbox
from portal.core.errors import Refused
from portal.ingest.arrivals import LIVING, uid_digest
from portal.ingest.models import Receipt, Source
from portal.peers import client
from portal.peers.models import Commitment, CommitmentItem, Fetch, Peer, StandingQuery
from portal.peers.rules import PAUSES, networks

log = structlog.get_logger(__name__)
NO_SUCH_OBJECT, CLASS_CONFLICT = 0x0112, 0x0119  # failure reasons of PS3.3 C.14.1.1
COMMITMENT_PAUSE = timedelta(seconds=1)  # the asker closes its association first


def save_peer(user: Any, peer: Peer, privacy: str) -> Peer:
    """Enter or change a peer and its way in (both audited by trigger).

    privacy  the profile under which its scans are received
    Raises Refused when a name or title is taken or an address is none, 404 without the role.
    """
    require_role(user, peer.organisation_id, Role.PACS_ADMIN)
    try:
        peer.addresses = [str(one) for one in networks(peer.addresses)]
    except ValueError as error:
        raise Refused("bad_address", str(error), status=422) from None
    if peer.fetch and not peer.host:
        raise Refused("no_address", "What is fetched from needs a host.", status=422)
    if peer.fetch == Peer.Fetch.MOVE and not peer.may_store:
        raise Refused("may_not_store", "By C-MOVE the peer sends us the scans; it has to be allowed to.", status=422)
    try:
        with transaction.atomic():
            peer.source = _way_in(peer, privacy)
            peer.save()
    except IntegrityError:
        raise Refused("taken", "This name or AE title is already in use.", status=422) from None
    return peer


def _way_in(peer: Peer, privacy: str) -> Source:
    """The peer's source: its own, one that was entered under its title before, or a new one."""
    mine = {"organisation_id": peer.organisation_id, "kind": Source.Kind.DIMSE}
    source = peer.source if peer.source_id else Source.objects.filter(**mine, ae_title=peer.ae_title).first()
    source = source or Source(**mine, name=peer.name)
    source.ae_title, source.privacy = peer.ae_title, privacy
    source.active = peer.active
    source.save()
    return source


def ask_echo(user: Any, peer: Peer) -> None:
    """Have the identity zone ask a peer whether it is there."""
    require_role(user, peer.organisation_id, Role.PACS_ADMIN)
    with transaction.atomic():
        outbox.emit("peers.echo_asked", peer.pk)


def run_echo(peer_pk: int) -> Peer:
    """C-ECHO a peer and keep the result."""
    peer = Peer.objects.get(pk=peer_pk)
    peer.echo_ms, peer.echo_error = None, ""
    try:
        peer.echo_ms = client.echo(peer)
    except client.NotAnswered as error:
        peer.echo_error = str(error)[:200]
    peer.echo_at = timezone.now()
    with transaction.atomic():
        peer.save(update_fields=["echo_at", "echo_ms", "echo_error"])
        announce_peer(peer)
    return peer


def announce_peer(peer: Peer) -> None:
    """Tell the browsers of those who look after the doors about a peer."""
    live.announce([live.audience_group(peer.organisation_id, "doors")], "peer.changed", {"id": peer.pk})


def save_standing(user: Any, row: StandingQuery) -> StandingQuery:
    """Enter or change a standing query (audited by trigger); it runs soon.

    Raises Refused when its name is taken, or its peer is not fetched from; 404 without the role.
    """
    require_role(user, row.organisation_id, Role.PACS_ADMIN)
    if row.peer.organisation_id != row.organisation_id or not row.peer.fetch:
        raise Refused("no_fetch", "Nothing is fetched from this peer; its page says so.", status=422)
    if not (row.function or row.modalities):
        raise Refused("no_category", "Name a function or at least one modality.", status=422)
    row.next_at = timezone.now()
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Refused("taken", "Another standing query has this name.", status=422) from None
    return row


def run_standing_now(user: Any, row: StandingQuery) -> None:
    """Run a standing query without waiting for its time."""
    require_role(user, row.organisation_id, Role.PACS_ADMIN)
    with transaction.atomic():
        outbox.emit("peers.standing_due", row.pk)


def queue_due(limit: int = 100) -> int:
    """Hand on the standing queries, failed fetches and commitments whose time has come. Returns how many."""
    now, queued = timezone.now(), 0
    due = StandingQuery.objects.filter(active=True, peer__active=True, next_at__lte=now).order_by("next_at")
    for row in due[:limit]:
        with transaction.atomic():
            later = now + timedelta(minutes=max(row.every_minutes, 1))
            if StandingQuery.objects.filter(pk=row.pk, next_at=row.next_at).update(next_at=later):
                outbox.emit("peers.standing_due", row.pk)
                queued += 1
    for fetch in Fetch.objects.filter(state=Fetch.State.FAILED, next_at__lte=now).order_by("next_at")[:limit]:
        queued += queue_fetch(fetch)
    waiting = Commitment.objects.filter(state=Commitment.State.ASKED, next_at__lte=now).order_by("next_at")
    for commitment in waiting[:limit]:
        with transaction.atomic():
            if Commitment.objects.filter(pk=commitment.pk, next_at=commitment.next_at).update(next_at=None):
                outbox.emit("peers.commitment_due", commitment.pk)
                queued += 1
    return queued


def queue_fetch(fetch: Fetch) -> bool:
    """Send a fetch that failed or was cancelled on its way again."""
    with transaction.atomic():
        moved = fetch.advance(Fetch.State.QUEUED, next_at=None, cancel=False, error="")
        if moved:
            outbox.emit("peers.fetch_asked", fetch.pk)
            announce_fetch(fetch)
    return moved


def announce_fetch(fetch: Fetch) -> None:
    """Tell the browsers how far a fetch is."""
    group = live.audience_group(fetch.organisation_id, "doors")
    live.announce([group], "fetch.changed", {"id": str(fetch.pk), "state": fetch.state})


def cancel_fetch(user: Any, fetch: Fetch) -> Fetch:
    """Stop a fetch: one that waits at once, one that runs by a C-CANCEL to its peer."""
    require_role(user, fetch.organisation_id, Role.PACS_ADMIN)
    with transaction.atomic():
        if fetch.state == Fetch.State.QUEUED and fetch.advance(Fetch.State.CANCELLED):
            announce_fetch(fetch)
            return fetch
        if fetch.state != Fetch.State.RUNNING:
            raise Refused("wrong_state", "Only what waits or is coming in can be cancelled.")
        Fetch.objects.filter(pk=fetch.pk).update(cancel=True)
    return fetch


def retry_fetch(user: Any, fetch: Fetch) -> Fetch:
    """Fetch again what failed or was cancelled, its attempts counted anew."""
    require_role(user, fetch.organisation_id, Role.PACS_ADMIN)
    Fetch.objects.filter(pk=fetch.pk).update(attempts=0)
    if fetch.state not in {Fetch.State.FAILED, Fetch.State.CANCELLED} or not queue_fetch(fetch):
        raise Refused("wrong_state", "Only what failed or was cancelled can be fetched again.")
    return fetch


# --- storage commitment ----------------------------------------------------------------------------


def commitment_asked(peer: Peer, transaction_uid: str, items: list[tuple[str, str]]) -> Commitment:
    """A peer asks whether instances [(class, UID)] are kept; it is told later. Twice has the effect of once."""
    with transaction.atomic():
        row, new = Commitment.objects.get_or_create(
            peer=peer,
            side=Commitment.Side.THEIRS,
            transaction_uid=transaction_uid,
            defaults={
                "organisation_id": peer.organisation_id,
                "state": Commitment.State.ASKED,
                "next_at": timezone.now() + COMMITMENT_PAUSE,
            },
        )
        if new:
            _keep_items(row, items)
    return row


def ask_commitment(peer: Peer, items: list[tuple[str, str]]) -> Commitment:
    """Ask a peer to promise to keep instances [(class, UID)] that were sent to it. Identity zone only."""
    with transaction.atomic():
        row = Commitment.objects.create(
            organisation_id=peer.organisation_id,
            peer=peer,
            side=Commitment.Side.OURS,
            transaction_uid=generate_uid(),
            state=Commitment.State.ASKED,
        )
        _keep_items(row, items)
        outbox.emit("peers.commitment_due", row.pk)
    return row


def _keep_items(row: Commitment, items: list[tuple[str, str]]) -> None:
    CommitmentItem.objects.bulk_create(
        CommitmentItem(commitment_id=row.pk, sop_class=sop_class[:64], sop_uid=sop_uid[:64])
        for sop_class, sop_uid in items
    )


def kept(organisation_id: int, items: list[CommitmentItem]) -> dict[str, int | None]:
    """SOP instance UID → None when it was received and lives on here, else the failure reason."""
    digests = {uid_digest(organisation_id, item.sop_uid): item for item in items}
    rows = Receipt.objects.filter(organisation_id=organisation_id, uid_digest__in=digests, state__in=LIVING)
    there = dict(rows.values_list("uid_digest", "sop_class"))
    out: dict[str, int | None] = {}
    for digest, item in digests.items():
        found = there.get(digest)
        wrong = None if found in {item.sop_class, ""} else CLASS_CONFLICT
        out[item.sop_uid] = NO_SUCH_OBJECT if found is None else wrong
    return out


def deliver_commitment(commitment_pk: Any) -> Commitment:
    """Send a commitment's question or its answer; a peer that is away is tried again. Identity zone only."""
    row = Commitment.objects.select_related("peer").get(pk=commitment_pk)
    if row.state != Commitment.State.ASKED:
        return row
    items = list(CommitmentItem.objects.filter(commitment_id=row.pk))
    attempts = row.attempts + 1
    try:
        if row.side == Commitment.Side.OURS:
            client.ask_commitment(row.peer, row.transaction_uid, [(i.sop_class, i.sop_uid) for i in items])
            Commitment.objects.filter(pk=row.pk).update(attempts=attempts, error="")
            return row
        told = kept(row.organisation_id, items)
        good = [(i.sop_class, i.sop_uid) for i in items if told[i.sop_uid] is None]
        bad = [(i.sop_class, i.sop_uid, reason) for i in items if (reason := told[i.sop_uid]) is not None]
        client.report_commitment(row.peer, row.transaction_uid, good, bad)
    except client.NotAnswered as error:
        wait = PAUSES.after(attempts)
        words, due = str(error)[:200], timezone.now() + wait if wait else None
        if due is None:
            row.advance(Commitment.State.FAILED, attempts=attempts, error=words)
        Commitment.objects.filter(pk=row.pk).update(attempts=attempts, error=words, next_at=due)
        log.warning("peers.commitment_not_delivered", commitment=str(row.pk), attempts=attempts, error=words)
        return row
    _settle(row, {uid: reason for _, uid, reason in bad}, len(good), attempts=attempts)
    return row


def commitment_answered(peer: Peer, transaction_uid: str, good: list[str], bad: dict[str, int]) -> bool:
    """A peer's answer to our question. False when we did not ask; what it does not name counts as refused."""
    row = Commitment.objects.filter(
        peer=peer, side=Commitment.Side.OURS, transaction_uid=transaction_uid, state=Commitment.State.ASKED
    ).first()
    if row is None:
        return False
    items = list(CommitmentItem.objects.filter(commitment_id=row.pk))
    refused = {i.sop_uid: bad.get(i.sop_uid, NO_SUCH_OBJECT) for i in items if i.sop_uid not in set(good) - set(bad)}
    _settle(row, refused, len(items) - len(refused))
    return True


def _settle(row: Commitment, refused: dict[str, int], confirmed: int, **fields: Any) -> None:
    states = Commitment.State
    after = states.CONFIRMED if not refused else states.PARTIAL if confirmed else states.REFUSED
    with transaction.atomic():
        if row.advance(after, confirmed=confirmed, refused=len(refused), error="", next_at=None, **fields):
            for uid, reason in refused.items():
                CommitmentItem.objects.filter(commitment_id=row.pk, sop_uid=uid).update(failure=reason)
            if row.side == Commitment.Side.OURS:
                outbox.emit("peers.commitment_settled", row.pk)
            announce_peer(row.peer)


def calls_us_by(peer: Peer) -> str:
    """The title under which a peer knows us."""
    return peer.called_title or str(settings.DICOM_AET)
