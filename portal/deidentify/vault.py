"""The identity vault: keys, pseudonyms and the encrypted way back. Works in the identity zone only."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from portal.deidentify import rules
from portal.deidentify.models import VaultPatient, VaultUid
from portal.deidentify.profile import Keys


def _secret() -> bytes:
    if not settings.VAULT_KEY:
        raise ImproperlyConfigured("the vault key is not in this zone")
    return str(settings.VAULT_KEY).encode()


def cipher() -> Fernet:
    """Encrypts vault columns (AES-128-CBC with HMAC-SHA-256)."""
    return Fernet(base64.urlsafe_b64encode(rules.derive(_secret(), "vault columns")))


def key(purpose: str) -> bytes:
    """The key of one purpose. Raises ImproperlyConfigured outside the identity zone."""
    return rules.derive(_secret(), purpose)


def keys_for(organisation_id: int, patient: str) -> Keys:
    """Keys for one patient of one organisation: the same patient always gets the same ones.

    patient  the text of actions.patient_key
    """
    ids, uids = rules.derive(_secret(), "ids"), rules.derive(_secret(), "uids")
    dates = rules.derive(_secret(), "dates")
    pseudonym = rules.pseudonym(ids, organisation_id, "patient", patient)
    days = rules.offset_days(dates, organisation_id, patient)
    return Keys(ids=ids, uids=uids, organisation=organisation_id, patient=pseudonym, days=days)


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
    VaultUid.objects.bulk_create(
        [
            VaultUid(
                organisation_id=keys.organisation,
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
