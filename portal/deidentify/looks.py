"""Looks into the identity zone: asked with a record, answered in a sealed letter, opened by the browser that asked.

Decision 0008. The record is written in the transaction that asks, so before anything can be shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pghistory
from django.db import transaction
from django.http import Http404
from django.utils import timezone

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import letters, live, outbox
from portal.core.errors import Refused
from portal.core.letter_cookies import SECONDS
from portal.deidentify.models import PixelLook, SealedLook, ZoneLook

Look = TypeVar("Look", bound=SealedLook)


def require_person(user: Any, organisation_id: int) -> None:
    """Raise Http404 unless this is a signed-in PACS administrator of the organisation: no token, no service account."""
    require_role(user, organisation_id, Role.PACS_ADMIN)
    if user.token is not None or user.is_service:
        raise Http404


def ask(made: SealedLook, topic: str) -> bytes:
    """Write a look down and owe its answer; returns the key that will open it. Raises Http404 without the role."""
    require_person(made.user, made.organisation_id)
    private, made.reply_key = letters.new_key()
    with transaction.atomic(), pghistory.context(by=str(made.user)):
        made.save(force_insert=True)
        outbox.emit(topic, made.pk)
    return private


def answer(model: type[Look], pk: uuid.UUID | str, content: Callable[[Look], Any]) -> bool:
    """Seal the answer for the browser that asked; False when it was done before or nobody can open it any more.

    content  makes the answer (JSON) of a look; identity zone only
    """
    made = model._default_manager.get(pk=pk)
    if made.letter or made.over or made.at < _oldest():
        return False
    letter = letters.seal(content(made), bytes(made.reply_key), str(made.pk))
    with transaction.atomic():
        model._default_manager.filter(pk=made.pk).update(letter=letter)
        live.announce([live.user_group(made.user_id)], "look.answered", {"id": str(made.pk)})
    return True


def opened(user: Any, made: SealedLook, private: bytes) -> Any:
    """What an answered look says, for the one who asked.

    Raises Http404 without the role, Refused for anyone else's, for another browser, for one that is over or too old.
    """
    require_person(user, made.organisation_id)
    try:
        if made.user_id == user.pk and made.at >= _oldest() and made.letter:
            return letters.unseal(bytes(made.letter), private, str(made.pk))
    except letters.Unreadable:
        pass  # another browser's
    raise Refused("not_yours", "Only the browser that asked can show this, and for one hour. Ask again.", status=403)


def forget() -> int:
    """Remove letters that are too old to be opened; that someone looked stays. Returns how many."""
    gone = 0
    for model in (PixelLook, ZoneLook):
        gone += model.objects.filter(at__lt=_oldest()).exclude(letter=b"").update(letter=b"")
    return gone


def _oldest() -> datetime:
    return timezone.now() - timedelta(seconds=SECONDS)
