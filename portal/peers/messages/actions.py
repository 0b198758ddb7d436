"""Every write about HL7 v2 messages: who may send them, and taking one in."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import live
from portal.core.digests import keyed
from portal.core.errors import Refused
from portal.core.locks import alone_until_commit
from portal.ingest.actions import receive_reports, record_lost
from portal.ingest.models import Receipt, Source
from portal.ingest.report_form import BadReport
from portal.ingest.report_hl7 import OtherMessage, read_hl7
from portal.peers.messages.answers import (
    BAD_CONTENT,
    INTERNAL,
    UNSUPPORTED_TYPE,
    UNSUPPORTED_VERSION,
    Head,
    Reply,
)
from portal.peers.messages.models import MessageSender, TakenMessage
from portal.peers.rules import from_allowed, networks

log = structlog.get_logger(__name__)
LOST = frozenset({"no_room", "too_large"})  # receipts without bytes: the sender has to keep its message
REMEMBERED = timedelta(days=90)
NOT_NOW = "The message cannot be stored now; send it again later."


@dataclass(frozen=True)
class Caller:
    """Where a connection comes from; certificate: SHA-256 of the one that it showed, empty for none."""

    address: str
    secure: bool = False
    certificate: str = ""


class NoRoom(Exception):
    """The storage did not take a report."""


def save_sender(user: Any, sender: MessageSender, privacy: str) -> MessageSender:
    """Enter or change a sender and its way in (both audited by trigger).

    privacy  the profile under which its reports are received
    Raises Refused when a name is taken, or nothing says who it is; 404 without the role.
    """
    require_role(user, sender.organisation_id, Role.PACS_ADMIN)
    try:
        sender.addresses = [str(one) for one in networks(sender.addresses)]
    except ValueError as error:
        raise Refused("bad_address", str(error), status=422) from None
    if not sender.addresses and not sender.certificate:
        raise Refused("unknown", "Name the addresses that it calls from, or its certificate.", status=422)
    if sender.certificate and not sender.tls:
        raise Refused("no_tls", "Only over TLS a certificate is shown.", status=422)
    try:
        with transaction.atomic():
            source = sender.source if sender.source_id else Source(kind=Source.Kind.REPORT)
            source.organisation_id, source.name = sender.organisation_id, sender.name
            source.privacy, source.active = privacy, sender.active
            source.save()
            sender.source = source
            sender.save()
    except IntegrityError:
        raise Refused("taken", "This name is already in use.", status=422) from None
    return sender


def known(caller: Caller) -> list[MessageSender]:
    """Active senders that may call from there."""
    rows = MessageSender.objects.filter(active=True, source__active=True).select_related("source")
    return [
        row
        for row in rows
        if from_allowed(caller.address, row.addresses)
        and (caller.secure or not row.tls)
        and (not row.certificate or row.certificate == caller.certificate)
    ]


def admit(caller: Caller, head: Head) -> MessageSender | None:
    """The sender of a message: of those that may call from there the one whose names it bears, the most exact first.

    None when there is none, or when two are as exact as each other.
    """
    said = head.name(3).casefold(), head.name(4).casefold()
    found: dict[int, list[MessageSender]] = {}
    for row in known(caller):
        wanted = row.application.casefold(), row.facility.casefold()
        if all(not one or one == other for one, other in zip(wanted, said, strict=True)):
            found.setdefault(sum(map(bool, wanted)), []).append(row)
    best = found[max(found)] if found else []
    return best[0] if len(best) == 1 else None


def take(caller: Caller, raw: bytes) -> tuple[Head | None, Reply]:
    """Take a message in: its reports are durable when this answers AA. Says what is wrong, and quotes nothing."""
    head = Head.of(raw)
    if head is None:
        return None, Reply("AR", "This is no HL7 v2 message: it does not begin with MSH.", BAD_CONTENT)
    try:
        sender = admit(caller, head)
        if sender is None:
            log.warning("hl7.refused", address=caller.address, why="no sender fits, or more than one")
            return head, Reply("AR", "No sender is entered here that fits this message.", INTERNAL)
        return head, _take(sender, head, raw)
    except (DatabaseError, OSError, NoRoom) as error:
        log.error("hl7.not_stored", error=type(error).__name__)
        return head, Reply("AR", NOT_NOW, INTERNAL)
    except Exception as error:  # the sender keeps its message; the words of the error might quote it
        log.error("hl7.failed", error=type(error).__name__)
        return head, Reply("AR", NOT_NOW, INTERNAL)


def _take(sender: MessageSender, head: Head, raw: bytes) -> Reply:
    if head.first(12) and not head.first(12).startswith("2"):
        return _told(sender, Reply("AR", "Only messages of HL7 version 2 are taken here.", UNSUPPORTED_VERSION))
    try:
        with transaction.atomic():
            return _told(sender, _store(sender, head, raw))
    except OtherMessage as error:
        return _told(sender, Reply("AR", str(error), UNSUPPORTED_TYPE))
    except BadReport as error:
        with transaction.atomic():
            _keep_refusal(sender, raw, str(error))
            return _told(sender, Reply("AE", str(error), BAD_CONTENT))


def _store(sender: MessageSender, head: Head, raw: bytes) -> Reply:
    """Within a transaction: all reports of a message, and that it was taken; or nothing."""
    content = hashlib.sha256(raw).hexdigest()
    digest = keyed("hl7-message", f"{sender.pk}\n{head.field(10)}\n{content}")
    alone_until_commit("hl7 message", sender.pk, digest)
    if TakenMessage.objects.filter(sender=sender, digest=digest).exists():
        return Reply("AA", "The message was taken before.")
    receipts = receive_reports(sender.source, read_hl7(raw), uuid.uuid4())
    if any(receipt.reason in LOST for receipt in receipts):
        raise NoRoom
    TakenMessage.objects.create(sender=sender, digest=digest, reports=len(receipts))
    return Reply("AA", "1 report was taken." if len(receipts) == 1 else f"{len(receipts)} reports were taken.")


def _keep_refusal(sender: MessageSender, raw: bytes, words: str) -> None:
    """A receipt without bytes says what was refused; the same message again adds none."""
    digest = keyed("bytes", hashlib.sha256(raw).hexdigest())
    again = Receipt.objects.filter(source=sender.source, digest=digest, reason="bad_report")
    if not again.exists():
        record_lost(sender.source, None, "bad_report", len(raw), words, digest=digest)


def _told(sender: MessageSender, reply: Reply) -> Reply:
    """Keep what a sender was last answered, for its administrators."""
    last = {"last_at": timezone.now(), "last_code": reply.code, "last_words": reply.words[:200]}
    with transaction.atomic():
        MessageSender.objects.filter(pk=sender.pk).update(**last)
        group = live.audience_group(sender.organisation_id, "doors")
        live.announce([group], "sender.changed", {"id": sender.pk, "code": reply.code})
    log.info("hl7.answered", sender=sender.pk, code=reply.code)
    return reply


def forget_taken() -> int:
    """Delete the digests of messages that were taken long ago; a report that comes again is known by its own bytes."""
    return TakenMessage.objects.filter(at__lt=timezone.now() - REMEMBERED).delete()[0]
