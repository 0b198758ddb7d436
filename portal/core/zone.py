"""Words for the identity zone alone: the app zone seals them with that zone's public key (core/letters.py)."""

from __future__ import annotations

from typing import Any

from portal.core import letters
from portal.core.errors import Refused
from portal.core.models import ZoneKey


def publish_key() -> None:
    """Let the app zone know the identity zone's public key; called when a process of that zone starts."""
    _, public = letters.zone_key()
    newest = ZoneKey.objects.order_by("-pk").first()
    if newest is None or bytes(newest.public) != public:
        ZoneKey.objects.create(public=public)


def seal(content: Any, about: str) -> bytes:
    """Encrypt JSON so that the identity zone alone can read it. Raises Refused before that zone has ever started.

    about  what the letter belongs to; it opens for nothing else
    """
    newest = ZoneKey.objects.order_by("-pk").first()
    if newest is None:
        raise Refused("no_zone", "The identity zone has not started yet; try again in a moment.", status=409)
    return letters.seal(content, bytes(newest.public), about)


def unseal(letter: bytes, about: str) -> Any:
    """What the app zone sealed. Identity zone only. Raises letters.Unreadable."""
    private, _ = letters.zone_key()
    return letters.unseal(letter, private, about)
