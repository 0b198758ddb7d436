"""Every write at the doors: receive, retry, discard; sources and header rules."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from django.db import IntegrityError, transaction

from portal.accounts.models import Organisation, Role, User
from portal.accounts.queries import require_role
from portal.core import live, outbox
from portal.core.digests import keyed
from portal.core.errors import Refused
from portal.ingest import landing
from portal.ingest.inspect import inspect
from portal.ingest.models import HeaderRule, LandingFile, Receipt, Source
from portal.ingest.rules import REASONS, Header, valid_uid
from portal.ingest.standardise import BadRule, Rule, check

log = structlog.get_logger(__name__)

SENDERS = (Role.PACS_ADMIN, Role.COORDINATOR, Role.ENGINEER)
LIVING = (Receipt.State.RECEIVED, Receipt.State.DEIDENTIFIED, Receipt.State.ARCHIVED)
Fault = tuple[str, str]


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
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}:
            raise
        log.error("ingest.no_room", error=str(error))
        return record_lost(source, batch, "no_room", 0)
    return _settle(source, landed, batch, study_uid)


def receive_path(
    source: Source, path: Path, *, batch: uuid.UUID | None = None, study_uid: str | None = None
) -> Receipt:
    """Like `receive`, for a file that a door has already written into `landing.incoming()`."""
    return _settle(source, landing.adopt(path), batch, study_uid)


def refuse_oversized(source: Source, size: int, *, batch: uuid.UUID | None = None) -> Receipt:
    """Record that a door cut off a sender whose instance grew beyond the limit."""
    return record_lost(source, batch, "too_large", size)


def _settle(source: Source, landed: landing.Landed, batch: uuid.UUID | None, study_uid: str | None) -> Receipt:
    try:
        header, fault = inspect(landed.path)
        if fault is None and study_uid and header and header.study_uid != study_uid:
            fault = ("wrong_study", "")
        receipt = _store(source, landed, batch, header, fault)
    except BaseException:
        landed.drop()
        raise
    receipt.sent = header  # type: ignore[attr-defined]
    landed.drop()  # does nothing when the bytes were kept under their final name
    return receipt


def uid_digest(organisation_id: int, sop_uid: str) -> str:
    """Return the keyed digest by which a SOP instance is known again within one organisation."""
    return keyed("sop-instance", f"{organisation_id}/{sop_uid}")


def _store(
    source: Source,
    landed: landing.Landed,
    batch: uuid.UUID | None,
    header: Header | None,
    fault: Fault | None,
) -> Receipt:
    receipt = Receipt(
        organisation_id=source.organisation_id,
        source=source,
        batch=batch,
        size=landed.size,
        digest=landed.digest,
        uid_digest=uid_digest(source.organisation_id, header.sop_uid) if header and not fault else "",
        sop_class=header.sop_class if header and valid_uid(header.sop_class) else "",
        modality=header.modality if header else "",
    )
    if fault:
        return _quarantine(receipt, landed, fault)
    if (earlier := _living(receipt)) is None:
        receipt.state = Receipt.State.RECEIVED
        try:
            return _keep(receipt, landed)
        except IntegrityError:
            earlier = _living(receipt)  # another sender was first by a moment
            if earlier is None:
                raise
    if earlier.digest == receipt.digest:
        return _duplicate(receipt)
    return _quarantine(receipt, landed, ("conflict", ""))


def _living(receipt: Receipt) -> Receipt | None:
    return Receipt.objects.filter(
        organisation_id=receipt.organisation_id, uid_digest=receipt.uid_digest, state__in=LIVING
    ).first()


def _keep(receipt: Receipt, landed: landing.Landed) -> Receipt:
    """Move the bytes to their final name, then write the rows that make them known, in one transaction."""
    with transaction.atomic():
        receipt.save(force_insert=True)
        name = landing.keep(landed, receipt.pk)
        LandingFile(receipt_id=receipt.pk, name=name).save(force_insert=True)
        if receipt.state == Receipt.State.RECEIVED:
            outbox.emit("ingest.received", receipt.pk)
        announce(receipt)
    return receipt


def _duplicate(receipt: Receipt) -> Receipt:
    receipt.state = Receipt.State.DUPLICATE
    with transaction.atomic():
        receipt.save(force_insert=True)
        announce(receipt)
    return receipt


def _quarantine(receipt: Receipt, landed: landing.Landed, fault: Fault) -> Receipt:
    """Set the file aside; the same bytes sent again for the same reason are not kept twice."""
    again = Receipt.objects.filter(
        organisation_id=receipt.organisation_id,
        digest=receipt.digest,
        reason=fault[0],
        state=Receipt.State.QUARANTINED,
    ).first()
    if again:
        return again
    receipt.state = Receipt.State.QUARANTINED
    receipt.reason, receipt.detail = fault[0], fault[1][:200]
    log.info("ingest.quarantined", receipt=str(receipt.pk), reason=receipt.reason)
    return _keep(receipt, landed)


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


def announce(receipt: Receipt) -> None:
    """Tell the browsers of those who look after the doors about a receipt's state."""
    live.announce(
        [live.audience_group(receipt.organisation_id, "doors")],
        "receipt.changed",
        {"id": str(receipt.pk), "state": receipt.state, "reason": receipt.reason},
    )


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
