"""The reader's half of a sealed letter: its key is a cookie of the browser that asked, for one page and one hour."""

from __future__ import annotations

import base64
import binascii
import uuid

from django.conf import settings
from django.http import HttpRequest, HttpResponse

SECONDS = 3600  # for which a letter can be opened


def hand_over(answer: HttpResponse, pk: uuid.UUID, key: bytes, path: str) -> None:
    """Give the browser the key of a letter, for the page at `path` alone.

    pk  what the letter belongs to
    """
    answer.set_cookie(
        _name(pk),
        base64.urlsafe_b64encode(key).decode(),
        max_age=SECONDS,
        path=path,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Strict",
    )


def held(request: HttpRequest, pk: uuid.UUID) -> bytes:
    """The key that the browser holds; empty when it holds none."""
    try:
        return base64.urlsafe_b64decode(request.COOKIES.get(_name(pk), ""))
    except (binascii.Error, ValueError):
        return b""


def _name(pk: uuid.UUID) -> str:
    return f"letter-{pk.hex[:12]}"
