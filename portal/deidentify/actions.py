"""De-identify a received file: the last step that sees an identity."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from django.core.files.base import File
from django.db import transaction
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from portal.core import outbox, storage
from portal.core.storage import local_path, staged_name, sync_folder
from portal.deidentify import rules, vault
from portal.deidentify.models import DeidentificationReport
from portal.deidentify.profile import NAME, VERSION, Keys, Outcome, deidentify
from portal.deidentify.table import Options
from portal.ingest.actions import announce, set_aside
from portal.ingest.models import HeaderRule, LandingFile, Receipt, Source
from portal.ingest.standardise import Rule, Standardised, standardise

log = structlog.get_logger(__name__)

IMPLEMENTATION_UID = "2.25.299434514352712871312716128371872132412"
IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "IssuerOfPatientID", "PatientSex")
KINDS = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "SOPInstanceUID": "instance"}


def deidentify_receipt(receipt_id: uuid.UUID | str) -> Receipt:
    """Make the clean copy of a receipt's file and hand it on; twice has the effect of once.

    A file that cannot be cleaned goes to quarantine; its identity stays in the landing store. A crash leaves
    the receipt `received`, and the next run writes the same clean bytes under the same name.
    """
    receipt = Receipt.objects.select_related("source").get(pk=receipt_id)
    if receipt.state != Receipt.State.RECEIVED:
        return receipt
    landed = LandingFile.objects.get(receipt_id=receipt.pk)
    try:
        with storage.landing().open(landed.name) as file:
            dataset = dcmread(file, force=True)
        keys, rule, outcome = clean(dataset, receipt)
        write(dataset, staged_name(receipt.pk))
    except (OSError, MemoryError):
        raise  # the storage, not the file: try again later
    except Exception as error:
        # only the kind: the words of the error may quote the header
        set_aside(receipt, "not_deidentified", f"The header could not be cleaned ({type(error).__name__}).")
        return receipt
    with transaction.atomic():
        vault.remember(keys, outcome.identity, uid_kinds(dataset, outcome.uids))
        _report(receipt, rule, outcome)
        if receipt.advance(Receipt.State.DEIDENTIFIED, modality=str(dataset.get("Modality", ""))[:16]):
            outbox.emit("deidentify.done", receipt.pk)
            announce(receipt)
    return receipt


def clean(dataset: Dataset, receipt: Receipt) -> tuple[Keys, Standardised | None, Outcome]:
    """Standardise and de-identify a data set in place, as the receipt's source is set to."""
    rule = apply_rules(dataset, receipt.organisation_id)
    identity = {keyword: str(dataset.get(keyword) or "") for keyword in IDENTITY}
    keys = vault.keys_for(receipt.organisation_id, identity["PatientID"], identity["IssuerOfPatientID"])
    if rule and rule.study_key:
        join(dataset, keys, rule)
    accession = str(dataset.get("AccessionNumber") or "")
    if receipt.source.privacy == Source.Privacy.DONE:
        outcome = Outcome()
    else:
        options = Options(uids=receipt.source.privacy == Source.Privacy.KEEP_UIDS)
        outcome = deidentify(dataset, keys, options)
        if accession:  # the same for the scan and its report, so that they find each other
            made = rules.pseudonym(keys.ids, keys.organisation, "accession", accession, "A")
            dataset.AccessionNumber = made[:16]
            outcome.uids[made[:16]] = accession
    outcome.identity = identity
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.SOPInstanceUID))
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "CONCORD"
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    return keys, rule, outcome


def apply_rules(dataset: Dataset, organisation_id: int) -> Standardised | None:
    """Set what the organisation's first fitting header rule says; returns what it did."""
    rows = HeaderRule.objects.filter(organisation_id=organisation_id, active=True)
    found = [Rule(r.name, r.match, r.assign, r.study_key, r.series_key) for r in rows]
    wanted = {keyword for rule in found for keyword in rule.match}
    header = {keyword: str(dataset.get(keyword) or "") for keyword in wanted}
    done = standardise(header, found)
    if done:
        for keyword, value in done.values.items():
            setattr(dataset, keyword, value.split("\\") if "\\" in value else value)
    return done


def join(dataset: Dataset, keys: Keys, rule: Standardised) -> None:
    """Give images of several studies the UIDs of the one study (and series) that they belong to."""
    seed = f"header rule {rule.rule}"
    dataset.StudyInstanceUID = rules.pseudo_uid(keys.uids, keys.organisation, f"{seed} study {rule.study_key}")
    if rule.series_key:
        series = f"{seed} series {rule.series_key}"
        dataset.SeriesInstanceUID = rules.pseudo_uid(keys.uids, keys.organisation, series)


def write(dataset: Dataset, name: str) -> None:
    """Write the clean file under its staging name, whole or not at all. Pixel data are not touched."""
    path = local_path(storage.archive(), name)
    if path is None:
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        buffer.seek(0)
        storage.archive().delete(name)
        storage.archive().save(name, File(buffer))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part: Path = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as out:
        dcmwrite(out, dataset, enforce_file_format=True)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
    sync_folder(path.parent)


def uid_kinds(dataset: Dataset, originals: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Pseudonym → (kind, original) for the UIDs by which results find their way back."""
    out: dict[str, tuple[str, str]] = {}
    for keyword, kind in [*KINDS.items(), ("AccessionNumber", "accession")]:
        made = str(dataset.get(keyword) or "")
        if made in originals:
            out[made] = (kind, originals[made])
    return out


def _report(receipt: Receipt, rule: Standardised | None, outcome: Outcome) -> None:
    values: dict[str, Any] = {
        "organisation_id": receipt.organisation_id,
        "profile": f"{NAME} ({receipt.source.privacy})"[:40],
        "version": VERSION,
        "header_rule": rule.rule if rule else "",
        "standardised": sorted(rule.values) if rule else [],
        "actions": [list(action) for action in outcome.actions],
        "counts": outcome.counts,
    }
    DeidentificationReport.objects.update_or_create(receipt=receipt, defaults=values)
