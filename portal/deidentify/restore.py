"""The way back: put a patient's identity into an object that returns to its owner. Identity zone only.

Nothing else in the portal undoes a pseudonym; what is restored is sent, never stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from portal.deidentify import rules, vault
from portal.deidentify.actions import KINDS
from portal.deidentify.keys import IDENTITY, patient_key
from portal.deidentify.models import VaultPatient, VaultUid
from portal.deidentify.profile import NAME

MARKS = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)


class Unknown(Exception):
    """The vault does not know whose object this is."""


def removed_here(dataset: Dataset) -> bool:
    """Whether this portal took the identity out of the data set (and not whoever sent it)."""
    return f"Concord {NAME}" in str(dataset.get("DeidentificationMethod") or "")


def restore(dataset: Dataset, organisation_id: int) -> bool:
    """Put identity, original UIDs, accession number and study date back, in place; False where none was removed.

    The series and instance UIDs of an object that was made here are nobody's pseudonyms and stay.
    Raises Unknown when the vault has no such patient, ImproperlyConfigured outside the identity zone.
    """
    if not removed_here(dataset):
        return False
    identity = identity_of(organisation_id, str(dataset.PatientID))
    uids = _originals(organisation_id, {uid for e in _uids(dataset) for uid in _values(e)})
    study = uids.get(str(dataset.StudyInstanceUID), str(dataset.StudyInstanceUID))
    keys = vault.keys_for(organisation_id, patient_key(identity, study))
    if keys.patient != str(dataset.PatientID):
        raise Unknown("the vault's patient is another one")
    for element in _uids(dataset):
        found = [uids.get(uid, uid) for uid in _values(element)]
        element.value = found if len(found) > 1 else found[0]
    for keyword in IDENTITY:
        if identity.get(keyword) or keyword != "IssuerOfPatientID":
            setattr(dataset, keyword, identity.get(keyword, ""))
    if accession := str(dataset.get("AccessionNumber") or ""):
        original = vault.original_uid(organisation_id, "accession", accession)
        dataset.AccessionNumber = original or accession
    if day := str(dataset.get("StudyDate") or ""):
        dataset.StudyDate = rules.shift_date(day, -keys.days)
    for keyword in MARKS:
        if keyword in dataset:
            del dataset[keyword]
    return True


def identity_of(organisation_id: int, pseudonym: str) -> Mapping[str, str]:
    """PatientID, name, birth date and issuer behind a pseudonym. Raises Unknown; identity zone only."""
    row = VaultPatient.objects.filter(organisation_id=organisation_id, pseudonym=pseudonym).first()
    if row is None:
        raise Unknown("the vault has no such patient")
    found: dict[str, str] = json.loads(vault.cipher().decrypt(bytes(row.identity)))
    return found


def _originals(organisation_id: int, uids: set[str]) -> dict[str, str]:
    rows = VaultUid.objects.filter(organisation_id=organisation_id, kind__in=KINDS.values(), pseudonym__in=uids)
    lock = vault.cipher()
    return {row.pseudonym: lock.decrypt(bytes(row.original)).decode() for row in rows}


def _uids(dataset: Dataset) -> Iterator[DataElement]:
    """Elements that hold UIDs, at every depth."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _uids(item)
        elif element.VR == "UI" and element.value:
            yield element


def _values(element: DataElement) -> list[str]:
    return [str(element.value)] if element.VM < 2 else [str(v) for v in element.value]
