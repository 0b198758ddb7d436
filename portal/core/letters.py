"""Sealed letters between the zones: X25519, HKDF-SHA-256 and ChaCha20-Poly1305 (RFC 7748, 5869, 8439).

The web process may write a question that only the identity zone can read, and hand back an answer that only the
browser that asked can open: its key lies in a cookie, never on the server. What lies in the database is noise.
"""

from __future__ import annotations

import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEY, NONCE = 32, 12
PURPOSE = b"concord/peers/letter"


class Unreadable(ValueError):
    """The letter is for someone else, or was changed."""


def new_key() -> tuple[bytes, bytes]:
    """(private, public) of a reader."""
    key = X25519PrivateKey.generate()
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


def zone_key() -> tuple[bytes, bytes]:
    """(private, public) of the identity zone, made of the vault's key. Raises ImproperlyConfigured elsewhere."""
    if not settings.VAULT_KEY:
        raise ImproperlyConfigured("the vault key is not in this zone")
    derived = HKDF(SHA256(), KEY, salt=None, info=PURPOSE + b"/zone").derive(str(settings.VAULT_KEY).encode())
    key = X25519PrivateKey.from_private_bytes(derived)
    return derived, key.public_key().public_bytes_raw()


def seal(content: Any, reader: bytes, about: str) -> bytes:
    """Encrypt JSON for the holder of a public key.

    about  what the letter belongs to; it opens for nothing else
    """
    private, public = new_key()
    nonce = os.urandom(NONCE)
    cipher = ChaCha20Poly1305(_shared(private, reader, public + reader))
    return public + nonce + cipher.encrypt(nonce, json.dumps(content).encode(), about.encode())


def unseal(letter: bytes, private: bytes, about: str) -> Any:
    """Return the JSON of a letter. Raises Unreadable."""
    try:
        mine = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        sender, nonce = letter[:KEY], letter[KEY : KEY + NONCE]
        cipher = ChaCha20Poly1305(_shared(private, sender, sender + mine))
        return json.loads(cipher.decrypt(nonce, letter[KEY + NONCE :], about.encode()))
    except (InvalidTag, ValueError) as error:
        raise Unreadable("the letter cannot be opened") from error


def _shared(private: bytes, public: bytes, both: bytes) -> bytes:
    secret = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return HKDF(SHA256(), KEY, salt=both, info=PURPOSE).derive(secret)
