"""The identity vault: keys, pseudonyms and the encrypted way back. Works in the identity zone only."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from portal.deidentify import rules
from portal.deidentify.keys import Keys, derived, face_digest, face_key, reference_digest
from portal.deidentify.models import VaultPatient, VaultUid


def _secret() -> bytes:
    if not settings.VAULT_KEY:
        raise ImproperlyConfigured("the vault key is not in this zone")
    return str(settings.VAULT_KEY).encode()


def _ciphers() -> list[Fernet]:
    secrets = [*(secret.encode() for secret in settings.VAULT_COLUMN_KEYS), _secret()]
    return [Fernet(base64.urlsafe_b64encode(rules.derive(one, "vault columns"))) for one in secrets]


def cipher() -> MultiFernet:
    """Encrypts vault columns (AES-128-CBC with HMAC-SHA-256) under the newest column key, reads under any.

    The vault key itself comes last: what was written before there were column keys lies under it.
    """
    return MultiFernet(_ciphers())


def opens_with_newest(token: bytes) -> bool:
    """Whether this was encrypted under the newest column key."""
    try:
        _ciphers()[0].decrypt(token)
    except InvalidToken:
        return False
    return True


def key(purpose: str) -> bytes:
    """The key of one purpose. Raises ImproperlyConfigured outside the identity zone."""
    return rules.derive(_secret(), purpose)


def keys_for(organisation_id: int, patient: str) -> Keys:
    """Keys for one patient of one organisation: the same patient always gets the same ones.

    patient  the text of keys.patient_key
    """
    return derived(_secret(), organisation_id, patient)


def series_digest(organisation_id: int, series_uid: str) -> str:
    """Under what a series with this original UID is known again while its slices come."""
    return face_digest(_secret(), organisation_id, series_uid)


def frame_digest(organisation_id: int, study_uid: str, frame_uid: str) -> str:
    """Under what a study's frame of reference is known again; empty where the header has none."""
    return reference_digest(_secret(), organisation_id, study_uid, frame_uid)


def series_key(organisation_id: int, digest: str) -> bytes:
    """The key from which the generic face of a series is drawn; digest: its `series_digest`."""
    return face_key(_secret(), organisation_id, digest)


def remember(keys: Keys, identity: Mapping[str, str], uids: Mapping[str, tuple[str, str]]) -> None:
    """Keep the way back, encrypted: the patient's identity, and pseudonymous UID → (kind, original)."""
    lock = cipher()
    VaultPatient.objects.bulk_create(
        [
            VaultPatient(
                organisation_id=keys.organisation,
                pseudonym=keys.patient,
                identity=lock.encrypt(json.dumps(dict(identity)).encode()),
            )
        ],
        ignore_conflicts=True,
    )
    remember_uids(keys.organisation, uids)


def remember_uids(organisation_id: int, uids: Mapping[str, tuple[str, str]]) -> None:
    """Keep pseudonymous UID → (kind, original), encrypted; what is known already stays."""
    lock = cipher()
    VaultUid.objects.bulk_create(
        [
            VaultUid(
                organisation_id=organisation_id,
                pseudonym=pseudonym,
                kind=kind,
                original=lock.encrypt(original.encode()),
            )
            for pseudonym, (kind, original) in uids.items()
        ],
        ignore_conflicts=True,
    )


def original_uid(organisation_id: int, kind: str, pseudonym: str) -> str | None:
    """The UID, or accession number, behind a pseudonymous one; None when it is not known."""
    row = VaultUid.objects.filter(organisation_id=organisation_id, kind=kind, pseudonym=pseudonym).first()
    return cipher().decrypt(bytes(row.original)).decode() if row else None
