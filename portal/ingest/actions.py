"""Every write at the doors: receive, retry, discard; sources and header rules."""

from __future__ import annotations

import errno
import io
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from django.db import IntegrityError, transaction

from portal.accounts.models import Organisation, Role, User
from portal.accounts.queries import require_role
from portal.core import outbox
from portal.core.errors import Refused
from portal.ingest import landing
from portal.ingest.arrivals import Arrival, announce, arrive, settle
from portal.ingest.models import HeaderRule, Receipt, Source
from portal.ingest.report_form import Told, encode
from portal.ingest.report_form import check as check_report
from portal.ingest.rules import REASONS
from portal.ingest.standardise import BadRule, Rule, check

log = structlog.get_logger(__name__)

SENDERS = (Role.PACS_ADMIN, Role.COORDINATOR, Role.ENGINEER)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}


def receive(
    source: Source,
    stream: BinaryIO | Iterable[bytes],
    *,
    batch: uuid.UUID | None = None,
    study_uid: str | None = None,
) -> Receipt:
    """Take one file in: bytes and row are durable when this returns.

    study_uid  when given, an instance of another study is set aside
    Returns a receipt that is received, a duplicate, or quarantined with a reason; never raises for
    what the file contains. `receipt.sent` holds the header as sent (None when it cannot be read).
    """
    try:
        landed = landing.land(stream)
    except landing.TooLarge as error:
        return record_lost(source, batch, "too_large", error.size, digest=error.digest)
    except OSError as error:
        if error.errno not in FULL:
            raise
        log.error("ingest.no_room", error=str(error))
        return record_lost(source, batch, "no_room", 0)
    try:
        return receive_all([arrive(source, landed, batch, study_uid)])[0]
    except OSError as error:
        if error.errno not in FULL:
            raise
        log.error("ingest.no_room", error=str(error))
        return record_lost(source, batch, "no_room", landed.size)


def receive_path(
    source: Source, path: Path, *, batch: uuid.UUID | None = None, study_uid: str | None = None
) -> Receipt:
    """Like `receive`, for a file that a door has already written into `landing.incoming()`.

    What several threads bring at the same moment becomes durable together (`arrivals`).
    """
    return receive_all([arrive(source, landing.adopt(path), batch, study_uid)])[0]


def receive_all(arrived: Sequence[Arrival]) -> list[Receipt]:
    """Take in what `arrivals.arrive` inspected: one receipt each, in order, when all of them are durable.

    Raises the first error of the storage, after the others were taken in.
    """
    settle(arrived)
    for arrival in arrived:
        if arrival.error is not None:
            raise arrival.error
    return [arrival.receipt for arrival in arrived]


def receive_reports(source: Source, told: Sequence[Told], batch: uuid.UUID) -> list[Receipt]:
    """Take reports in as objects, all that one message or file holds. Raises BadReport before any is taken."""
    files = [encode(check_report(one), source.organisation_id) for one in told]
    return [receive(source, io.BytesIO(file), batch=batch) for file in files]


def refuse_oversized(source: Source, size: int, *, batch: uuid.UUID | None = None) -> Receipt:
    """Record that a door cut off a sender whose instance grew beyond the limit."""
    return record_lost(source, batch, "too_large", size)


def record_lost(
    source: Source, batch: uuid.UUID | None, reason: str, size: int, detail: str = "", *, digest: str = ""
) -> Receipt:
    """A receipt without bytes: visible, and not to be tried again without being sent again."""
    receipt = Receipt(
        organisation_id=source.organisation_id,
        source=source,
        batch=batch,
        size=size,
        digest=digest,
        state=Receipt.State.QUARANTINED,
        reason=reason,
        detail=detail[:200],
    )
    with transaction.atomic():
        receipt.save(force_insert=True)
        announce(receipt)
    receipt.sent = None  # type: ignore[attr-defined]
    return receipt


def advance(receipt: Receipt, state: str, **fields: Any) -> bool:
    """Move a receipt along its table and tell the browsers; False when another was faster."""
    with transaction.atomic():
        moved = receipt.advance(state, **fields)
        if moved:
            announce(receipt)
    return moved


def set_aside(receipt: Receipt, reason: str, detail: str = "") -> bool:
    """Quarantine a receipt that a later step could not work with; its bytes stay in the landing store."""
    log.warning("ingest.set_aside", receipt=str(receipt.pk), reason=reason, detail=detail)
    return advance(receipt, Receipt.State.QUARANTINED, reason=reason, detail=detail[:200])


def retry(user: User, receipt: Receipt) -> Receipt:
    """Send a quarantined receipt on its way again. Raises Refused when that cannot help."""
    require_role(user, receipt.organisation_id, Role.PACS_ADMIN)
    reason = REASONS.get(receipt.reason)
    if receipt.state != Receipt.State.QUARANTINED:
        raise Refused("wrong_state", "Only what is in quarantine can be tried again.")
    if reason and not reason.retry:
        raise Refused("nothing_kept", "The file itself was not kept; it has to be sent again.")
    try:
        with transaction.atomic():
            if not advance(receipt, Receipt.State.RECEIVED, reason="", detail=""):
                raise Refused("wrong_state", "Someone else has just dealt with this receipt.")
            outbox.emit("ingest.received", receipt.pk)
    except IntegrityError:
        raise Refused("conflict", "The instance that was received first is still in use.") from None
    return receipt


def discard(user: User, receipt: Receipt) -> Receipt:
    """Give up a quarantined receipt; the identity zone deletes its bytes."""
    require_role(user, receipt.organisation_id, Role.PACS_ADMIN)
    if receipt.state != Receipt.State.QUARANTINED:
        raise Refused("wrong_state", "Only what is in quarantine can be discarded.")
    with transaction.atomic():
        if not advance(receipt, Receipt.State.DISCARDED):
            raise Refused("wrong_state", "Someone else has just dealt with this receipt.")
        outbox.emit("ingest.discarded", receipt.pk)
    return receipt


def source_for(user: User, organisation: Organisation, kind: str) -> Source:
    """Return the user's own source at a door, made when first used. Raises Http404 without the right."""
    require_role(user, organisation, *SENDERS)
    source, _ = Source.objects.get_or_create(
        organisation=organisation, kind=kind, name=user.username[:80], defaults={"user": user}
    )
    if not source.active:
        raise Refused("source_closed", "An administrator has closed this way in for you.", status=403)
    return source


def save_source(user: User, source: Source) -> Source:
    """Create or change a source (audited by trigger). Raises Refused when its name or AE title is taken."""
    require_role(user, source.organisation_id, Role.PACS_ADMIN)
    source.ae_title = source.ae_title.strip()
    try:
        with transaction.atomic():
            source.save()
    except IntegrityError:
        raise Refused("taken", "This name or AE title is already in use.", status=422) from None
    return source


def save_header_rule(user: User, rule: HeaderRule) -> HeaderRule:
    """Create or change a header rule (audited by trigger). Raises Refused when it cannot work."""
    require_role(user, rule.organisation_id, Role.PACS_ADMIN)
    try:
        check(Rule(rule.name, rule.match, rule.assign, rule.study_key, rule.series_key))
    except BadRule as error:
        raise Refused("bad_rule", str(error), status=422) from error
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError:
        raise Refused("taken", "Another rule has this name.", status=422) from None
    return rule
