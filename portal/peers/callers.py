"""Who calls: what an association may do is decided once, when it is asked for (PS3.8 section 9.3.4)."""

from __future__ import annotations

import hashlib
import ssl
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from portal.ingest.models import Source
from portal.peers.models import Peer
from portal.peers.rules import BUSY, FULL, NO_REASON, UNKNOWN_CALLED, UNKNOWN_CALLER, from_allowed
from portal.peers.wire import Slots

Refusal = tuple[int, int, int]
MOST_OF_A_SOURCE = 16  # associations of a caller that is a source and no peer


@dataclass
class Caller:
    """One association's caller: the rights of its peer, or those of a mere source (C-ECHO and C-STORE)."""

    title: str
    organisation_id: int
    source: Source | None
    peer: Peer | None
    batch: uuid.UUID = field(default_factory=uuid.uuid4)
    oversized: int = 0  # bytes of the instance that is coming in and is thrown away
    places: list[int] = field(default_factory=list)

    @property
    def stores(self) -> bool:
        return self.source is not None

    def may(self, right: str) -> bool:
        """Whether the peer has a right: query, retrieve or commit."""
        return bool(self.peer and getattr(self.peer, f"may_{right}"))

    def leave(self) -> None:
        """Give the association's places back."""
        while self.places:
            Slots.give(self.places.pop())


def admit(title: str, called: str, address: str, wire: Any) -> tuple[Caller | None, Refusal | None, str]:
    """(caller, None, "") or (None, refusal, the reason for the log).

    wire  the connection's socket; over TLS it shows the certificate
    """
    peer = Peer.objects.select_related("source").filter(ae_title=title, active=True).first()
    secure = isinstance(wire, ssl.SSLSocket)
    if peer is None:
        rows = Source.objects.filter(kind=Source.Kind.DIMSE, active=True, ae_title__in=[title, "*"], peer=None)
        found = {row.ae_title: row for row in rows.select_related("organisation")}
        source = found.get(title) or found.get("*")
        closed = source is None or Peer.objects.filter(ae_title=title).exists()
        if closed or source is None:
            return None, UNKNOWN_CALLER, "no active peer or source has this title"
        return Caller(title, source.organisation_id, source, None), None, ""
    if peer.called_title and peer.called_title != called:
        return None, UNKNOWN_CALLED, "it calls us by another title"
    if not from_allowed(address, peer.addresses):
        return None, NO_REASON, "its address is not allowed"
    if peer.tls and not secure:
        return None, NO_REASON, "it has to come over TLS"
    if peer.certificate and fingerprint(wire) != peer.certificate.lower():
        return None, NO_REASON, "its certificate is another one"
    source = peer.source if peer.may_store and peer.source.active else None
    return Caller(title, peer.organisation_id, source, peer), None, ""


def fingerprint(wire: Any) -> str:
    """SHA-256 of the certificate that the other side showed, empty for none."""
    shown = wire.getpeercert(binary_form=True) if isinstance(wire, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else ""


def seat(caller: Caller, slots: Slots) -> Refusal | None:
    """Take a place for the association, of the house and of its peer; FULL or BUSY when there is none."""
    house = slots.take("all", settings.MAX_ASSOCIATIONS)
    if house is None:
        return FULL
    caller.places.append(house)
    name = f"peer-{caller.peer.pk}" if caller.peer else f"source-{caller.source.pk if caller.source else 0}"
    mine = slots.take(name, caller.peer.most_associations if caller.peer else MOST_OF_A_SOURCE)
    if mine is None:
        caller.leave()
        return BUSY
    caller.places.append(mine)
    return None
