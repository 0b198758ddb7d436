"""What turns a patient's values into others: keys derived from one secret, and how a patient is known again. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from portal.deidentify import rules

IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "IssuerOfPatientID", "PatientSex")


@dataclass(frozen=True)
class Keys:
    """What turns this patient's values into others: derived keys, tenant, pseudonym and date offset."""

    ids: bytes
    uids: bytes
    organisation: int
    patient: str
    days: int


def derived(secret: bytes, organisation_id: int, patient: str) -> Keys:
    """Keys for one patient of one organisation: the same patient always gets the same ones.

    secret   the vault key, or a folder's
    patient  the text of patient_key
    """
    ids, uids, dates = (rules.derive(secret, purpose) for purpose in ("ids", "uids", "dates"))
    pseudonym = rules.pseudonym(ids, organisation_id, "patient", patient)
    days = rules.offset_days(dates, organisation_id, patient)
    return Keys(ids=ids, uids=uids, organisation=organisation_id, patient=pseudonym, days=days)


def face_key(secret: bytes, organisation_id: int, series_uid: str) -> bytes:
    """The key from which the generic face of one series is drawn; series_uid: the original one, or its digest."""
    return hmac.digest(rules.derive(secret, "faces"), f"{organisation_id}\n{series_uid}".encode(), "sha256")


def face_digest(secret: bytes, organisation_id: int, series_uid: str) -> str:
    """Under what a series is known again while its slices come; series_uid: the original one."""
    text = f"{organisation_id}\n{series_uid}".encode()
    return hmac.digest(rules.derive(secret, "series of faces"), text, "sha256").hex()


def patient_key(identity: Mapping[str, str], study_uid: str) -> str:
    """Return the text by which a patient is known again.

    Issuer and PatientID; without an id, name and birth date; without these, the study alone: two patients
    without a name must not become one.
    """
    if identity["PatientID"]:
        return f"id\n{identity['IssuerOfPatientID']}\n{identity['PatientID']}"
    if identity["PatientName"].strip("^ ") and identity["PatientBirthDate"]:
        return f"name\n{identity['PatientName'].casefold()}\n{identity['PatientBirthDate']}"
    return f"study\n{study_uid}"


def reference_digest(secret: bytes, organisation_id: int, study_uid: str, frame_uid: str) -> str:
    """Under what a study's frame of reference is known again, by both original UIDs; empty where one is missing."""
    if not study_uid or not frame_uid:
        return ""
    text = f"{organisation_id}\n{study_uid}\n{frame_uid}".encode()
    return hmac.digest(rules.derive(secret, "frames of faces"), text, "sha256").hex()
