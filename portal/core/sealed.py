"""Secrets of other systems at rest: a copy of the database alone does not give them away."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


def _cipher(purpose: str) -> Fernet:
    key = hmac.digest(settings.SECRET_KEY.encode(), f"concord/sealed/{purpose}".encode(), hashlib.sha256)
    return Fernet(base64.urlsafe_b64encode(key))


def seal(purpose: str, text: str) -> str:
    """Encrypt a secret (AES-128-CBC with HMAC-SHA-256) under a key for this purpose alone; "" stays ""."""
    return _cipher(purpose).encrypt(text.encode()).decode() if text else ""


def unseal(purpose: str, sealed: str) -> str:
    """The secret again. Raises ValueError when it was sealed under another SECRET_KEY."""
    if not sealed:
        return ""
    try:
        return _cipher(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise ValueError("the secret was sealed under another key") from None
