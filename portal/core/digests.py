"""Keyed digests: equal values can be recognised by this house and by nobody else."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from django.conf import settings


def _key(purpose: str) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), f"concord/digest/{purpose}".encode(), "sha256")


def keyed(purpose: str, value: str) -> str:
    """Return 64 hexadecimal digits; HMAC-SHA-256 of the text under a key for this purpose alone."""
    return hmac.new(_key(purpose), value.encode(), hashlib.sha256).hexdigest()


def keyed_stream(purpose: str) -> Any:
    """Return an HMAC-SHA-256 object to be fed with `update(bytes)`."""
    return hmac.new(_key(purpose), digestmod=hashlib.sha256)
