"""Which scan a report belongs to that names none: the one with its accession number. Identity zone only.

A report that comes before its scan waits in quarantine and is released by the scan; what it says of the patient is
known from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from pydicom.dataset import Dataset

from portal.core import outbox
from portal.core.locks import alone_until_commit
from portal.deidentify import rules, terms, vault
from portal.deidentify.keys import Keys, patient_key
from portal.deidentify.models import VaultPatient, WaitingReport
from portal.deidentify.profile import Outcome
from portal.ingest.actions import advance, set_aside
from portal.ingest.models import Receipt
from portal.ingest.report_form import own_study_uid

LINK = "filed"  # kind of VaultUid: patient and accession number → study, both pseudonymous
LONGEST = 64  # characters of VaultUid.pseudonym


def alone(dataset: Dataset, organisation_id: int) -> bool:
    """Whether this is a report whose sender named no study, by the UID that the door made for it; before cleaning."""
    said = [str(dataset.get(keyword) or "").strip() for keyword in ("PatientID", "AccessionNumber", "StudyInstanceUID")]
    return said[2] == own_study_uid(organisation_id, said[0], said[1])


def whose(identity: Mapping[str, str], organisation_id: int) -> dict[str, str]:
    """The identity that a report's patient has in scans: messages name an issuer that scans often do not."""
    without = {**identity, "IssuerOfPatientID": ""}
    for one in (dict(identity), without):
        pseudonym = vault.keys_for(organisation_id, patient_key(one, "")).patient
        if VaultPatient.objects.filter(organisation_id=organisation_id, pseudonym=pseudonym).exists():
            return one
    return without


def among(dataset: Dataset, original: str, keys: Keys) -> None:
    """Give a cleaned report that names its study the UID under which that study lies here.

    A source that keeps UIDs and one that does not give the same study different ones. Unknown here: it stays as it is.
    """
    said = str(dataset.get("StudyInstanceUID") or "")
    for uid in dict.fromkeys([said, original, rules.pseudo_uid(keys.uids, keys.organisation, original)]):
        if Receipt.objects.filter(organisation_id=keys.organisation, study_uid=uid).exists():
            dataset.StudyInstanceUID = uid
            return


class Waits(Exception):
    """The scan that a report belongs to has not come."""


def file_report(receipt: Receipt, dataset: Dataset, keys: Keys, outcome: Outcome) -> None:
    """Put a cleaned report into the study that has its accession number. Raises Waits, and has written it down."""
    place = _place(dataset, keys)
    with transaction.atomic():
        _alone_with(keys.organisation, place)
        study = vault.original_uid(keys.organisation, LINK, place)
        if study:
            dataset.StudyInstanceUID = study
            return
        vault.remember(keys, outcome.identity, {})
        terms.remember(keys.organisation, keys.patient, outcome.lists)
        waiting = WaitingReport.objects.filter(organisation_id=keys.organisation, place=place)
        others = waiting.exclude(receipt_id=receipt.pk).values("receipt_id")
        if Receipt.objects.filter(pk__in=others, digest=receipt.digest).exists():
            advance(receipt, Receipt.State.DUPLICATE)
        else:
            WaitingReport.objects.update_or_create(
                receipt_id=receipt.pk, defaults={"organisation_id": keys.organisation, "place": place}
            )
            set_aside(receipt, "no_scan", "It is filed by itself when the scan comes.")
    raise Waits


def remember_scan(dataset: Dataset, keys: Keys) -> None:
    """Keep by which a report finds this cleaned scan, and release those that wait for it; within a transaction.

    The first scan of a patient with an accession number is the one.
    """
    place = _place(dataset, keys)
    if not dataset.get("AccessionNumber") or len(place) > LONGEST:
        return
    if vault.original_uid(keys.organisation, LINK, place):
        return
    _alone_with(keys.organisation, place)
    vault.remember_uids(keys.organisation, {place: (LINK, str(dataset.StudyInstanceUID))})
    for waiting in WaitingReport.objects.filter(organisation_id=keys.organisation, place=place):
        _release(waiting)


def _release(waiting: WaitingReport) -> None:
    receipt = Receipt.objects.get(pk=waiting.receipt_id)
    waiting.delete()
    if (receipt.state, receipt.reason) != (Receipt.State.QUARANTINED, "no_scan"):
        return  # a person has decided
    try:
        with transaction.atomic():
            if advance(receipt, Receipt.State.RECEIVED, reason="", detail=""):
                outbox.emit("ingest.received", receipt.pk)
    except IntegrityError:
        return  # the same report lives by another way


def _alone_with(organisation_id: int, place: str) -> None:
    """Wait until no other transaction works on this place: a report and its scan must not miss each other."""
    alone_until_commit("report and scan", organisation_id, place)


def _place(dataset: Dataset, keys: Keys) -> str:
    return f"{keys.patient}/{dataset.get('AccessionNumber') or ''}"
