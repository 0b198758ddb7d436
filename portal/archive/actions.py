"""Every write of the archive: storing an instance, settling a study."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from portal.archive import rules
from portal.archive.files import local_copy, publish
from portal.archive.headers import SERIES_KEYWORDS, STUDY_KEYWORDS, Parsed, Unstorable, parse
from portal.archive.metadata import build_series_metadata
from portal.archive.models import Instance, Patient, Series, Study
from portal.archive.names import phonetic
from portal.archive.scoring import priority_of
from portal.core import outbox, storage
from portal.core.live import announce, audience_group
from portal.core.locks import one_at_a_time
from portal.ingest.models import Receipt

log = structlog.get_logger(__name__)


def store_receipt(receipt_id: uuid.UUID | str) -> Receipt:
    """Put the clean file of a receipt into the archive; twice has the effect of once.

    The file is made visible under its final name inside the transaction that writes its rows, and the staged
    copy goes only after the commit: a crash at any step leaves either the staged file and no rows (done again)
    or the rows and a left-over (removed by the second run). A file that cannot be stored ends in quarantine.
    """
    receipt = Receipt.objects.select_related("organisation", "source").get(pk=receipt_id)
    staged = storage.staged_name(receipt.pk)
    if receipt.state == Receipt.State.DEIDENTIFIED:
        try:
            with local_copy(storage.archive(), staged) as path:
                parsed = parse(path)
                with transaction.atomic():
                    _store(receipt, parsed, path)
        except Unstorable as error:
            return _set_aside(receipt, error.code, str(error))
        except FileNotFoundError:  # nothing was committed, so the bytes must come from the door again
            return _set_aside(receipt, "not_archived", "The de-identified file is missing; try again.")
    if receipt.state in {Receipt.State.ARCHIVED, Receipt.State.DUPLICATE}:
        storage.archive().delete(staged)
    return receipt


def replace_receipt(receipt_id: uuid.UUID | str) -> bool:
    """Put the newly cleaned file of an archived receipt in the place of its instance's file; False when none waits.

    The image is the same with less of it covered or another face, so its UIDs and frames must be the same. What was
    made of the older pixels is made again: the study is at its next revision and settles once more. Twice has the
    effect of once: the staged copy goes after the commit, and the same bytes change nothing.
    """
    receipt = Receipt.objects.get(pk=receipt_id)
    staged = storage.staged_name(f"{receipt.pk}-again")
    with one_at_a_time("clean copy", receipt.pk):  # what is deleted at the end must be what was taken
        try:
            with local_copy(storage.archive(), staged) as path, transaction.atomic():
                instance = _replace(receipt, path)
        except FileNotFoundError:
            return False
        storage.archive().delete(staged)
    log.info("archive.replaced", instance=instance.pk)
    return True


def _replace(receipt: Receipt, path: Path) -> Instance:
    parsed = parse(path)
    same = {"organisation": receipt.organisation_id, "sop_uid": parsed.sop_uid, "frames": parsed.frame_count}
    study = Study.objects.select_for_update().get(
        instances__sop_uid=parsed.sop_uid, organisation=receipt.organisation_id
    )
    instance = Instance.objects.select_for_update().get(**same)
    before = instance.sha256
    for field in ("transfer_syntax", "headers", "size", "sha256", "frame_table"):
        setattr(instance, field, _instance_values(instance.study, instance.series, parsed, "")[field])
    instance.save()
    Series.objects.filter(pk=instance.series_id).update(metadata=None, metadata_revision=0)
    build_series_metadata(instance.series)
    publish(storage.archive(), path, instance.name)
    if instance.sha256 != before:
        Study.objects.filter(pk=study.pk).update(revision=F("revision") + 1, last_instance_at=timezone.now())
        if study.state == Study.State.SETTLED and study.advance(Study.State.ARRIVING):
            _announce(study)
    return instance


def settle_due_studies(limit: int = 200) -> int:
    """Settle the studies to which nothing came for STUDY_SETTLE_SECONDS. Returns how many."""
    quiet = timezone.now() - timedelta(seconds=settings.STUDY_SETTLE_SECONDS)
    due = Study.objects.filter(state=Study.State.ARRIVING, last_instance_at__lte=quiet).order_by("last_instance_at")
    return sum(settle_study(pk, quiet) for pk in due.values_list("pk", flat=True)[:limit])


def settle_study(study_pk: int, quiet: object = None) -> bool:
    """Move one study to settled, make its metadata ready and hand it on. False when it is not due."""
    with transaction.atomic():
        rows = Study.objects.select_for_update(skip_locked=True).filter(pk=study_pk, state=Study.State.ARRIVING)
        study = rows.filter(last_instance_at__lte=quiet).first() if quiet else rows.first()
        if study is None:
            return False
        for series in study.series.exclude(metadata_revision=F("instance_count")):
            build_series_metadata(series)
        study.advance(Study.State.SETTLED, priority=priority_of(study))
        outbox.emit("archive.study_settled", study.pk)
        _announce(study)
    return True


def file_under(series: Series, modality: str = "", body_part: str = "", set_aside: bool = False) -> None:
    """File a series under another category than its header's, or set it aside; empty: as its header says.

    The header stays as it is. Who may is asked by the caller; what changed is in `category_events`.
    """
    values = {"given_modality": modality, "given_body_part": body_part, "set_aside": set_aside}
    Series.objects.filter(pk=series.pk).exclude(**values).update(**values)
    for name, value in values.items():
        setattr(series, name, value)


def _store(receipt: Receipt, parsed: Parsed, path: Path) -> None:
    """Rows, file and receipt in one transaction; the study's row is the lock between workers.

    Raises Unstorable, which undoes the rows, for what contradicts the archive.
    """
    organisation = receipt.organisation
    patient = _patient(receipt, parsed)
    study, new_study = Study.objects.get_or_create(
        organisation=organisation,
        study_uid=parsed.study_uid,
        defaults=_study_values(receipt, patient, parsed),
    )
    study = Study.objects.select_for_update().get(pk=study.pk)
    if study.patient_id != patient.pk:
        log.warning("archive.study_of_two_patients", study=study.study_uid, receipt=str(receipt.pk))
    series, new_series = Series.objects.get_or_create(
        organisation=organisation, series_uid=parsed.series_uid, defaults=_series_values(study, parsed)
    )
    if series.study_id != study.pk:
        raise Unstorable("contradiction", "The series belongs to another study in the archive.")
    name = f"{organisation.slug}/{parsed.study_uid}/{parsed.series_uid}/{parsed.sop_uid}.dcm"
    instance, new = Instance.objects.get_or_create(
        organisation=organisation,
        sop_uid=parsed.sop_uid,
        defaults=_instance_values(study, series, parsed, name),
    )
    uids = {"study_uid": parsed.study_uid, "sop_uid": parsed.sop_uid}
    if not new:
        if instance.sha256 != parsed.sha256:
            raise Unstorable("conflict", "Another file with this SOP Instance UID is archived.")
        _move(receipt, "duplicate", "", "", **uids)
        return
    publish(storage.archive(), path, name)
    _grow(study, series, parsed, new_study, new_series)
    _move(receipt, "archived", "", "", **uids)


def _grow(study: Study, series: Series, parsed: Parsed, new_study: bool, new_series: bool) -> None:
    opinion = _opinion(parsed)
    Series.objects.filter(pk=series.pk).update(
        instance_count=F("instance_count") + 1, **({} if opinion else {"opinion": False})
    )
    modality = series.modality
    values: dict[str, object] = {
        **({"opinions": True} if opinion else {}),
        "instance_count": F("instance_count") + 1,
        "series_count": F("series_count") + int(new_series),
        "revision": F("revision") + 1,
        "last_instance_at": timezone.now(),
    }
    if modality and modality not in study.modalities:
        values["modalities"] = sorted({*study.modalities, modality})
    for field, keyword, limit in (
        ("description", "StudyDescription", 200),
        ("body_part", "BodyPartExamined", 32),
    ):
        if not getattr(study, field) and (text := parsed.text(keyword, limit)):
            values[field] = text
    Study.objects.filter(pk=study.pk).update(**values)
    reopened = study.state == Study.State.SETTLED
    if reopened:
        study.advance(Study.State.ARRIVING)
    if new_study or reopened:
        _announce(study)


def _patient(receipt: Receipt, parsed: Parsed) -> Patient:
    """The pseudonymous patient; a file without a PatientID has one for its study alone."""
    pseudonym = parsed.text("PatientID", 64) or f"study {parsed.study_uid}"[:64]
    name, sex = parsed.text("PatientName", 200), parsed.text("PatientSex", 1).upper()
    patient, _ = Patient.objects.get_or_create(
        organisation=receipt.organisation,
        pseudonym=pseudonym,
        defaults={"name": name, "phonetic": phonetic(name), "sex": sex},
    )
    if sex and not patient.sex:
        Patient.objects.filter(pk=patient.pk, sex="").update(sex=sex)
    return patient


def _study_values(receipt: Receipt, patient: Patient, parsed: Parsed) -> dict[str, object]:
    return {
        "patient": patient,
        "source": receipt.source,
        "state": Study.State.ARRIVING,
        "study_date": parsed.day("StudyDate"),
        "study_time": parsed.text("StudyTime", 16),
        "accession": parsed.text("AccessionNumber", 32),
        "description": parsed.text("StudyDescription", 200),
        "body_part": parsed.text("BodyPartExamined", 32),
        "patient_age": parsed.age_years(),
        # a search answers with the patient as the archive knows them
        "headers": {**parsed.part(STUDY_KEYWORDS), "00100020": {"vr": "LO", "Value": [patient.pseudonym]}},
    }


def _series_values(study: Study, parsed: Parsed) -> dict[str, object]:
    return {
        "study": study,
        "modality": parsed.text("Modality", 16),
        "number": parsed.number("SeriesNumber", -(2**31)),
        "description": parsed.text("SeriesDescription", 200),
        "body_part": parsed.text("BodyPartExamined", 32),
        "headers": parsed.part(SERIES_KEYWORDS),
        "opinion": _opinion(parsed),
    }


def _instance_values(study: Study, series: Series, parsed: Parsed, name: str) -> dict[str, object]:
    return {
        "study": study,
        "series": series,
        "sop_class": parsed.sop_class[:64],
        "transfer_syntax": parsed.transfer_syntax[:64],
        "number": parsed.number("InstanceNumber", -(2**31)),
        "rows": parsed.number("Rows") or 0,
        "columns": parsed.number("Columns") or 0,
        "frames": parsed.frame_count,
        "laterality": parsed.laterality(),
        "view": parsed.view(),
        "opinion": _opinion(parsed),
        "headers": parsed.json,
        "name": name,
        "size": parsed.size,
        "sha256": parsed.sha256,
        "frame_table": parsed.frames,
    }


def _opinion(parsed: Parsed) -> bool:
    return rules.opinion(parsed.sop_class, parsed.text("Manufacturer", 64))


def _set_aside(receipt: Receipt, code: str, words: str) -> Receipt:
    with transaction.atomic():
        _move(receipt, "quarantined", code, words)
    return receipt


def _move(receipt: Receipt, state: str, reason: str, detail: str, **uids: str) -> None:
    if receipt.advance(state, reason=reason, detail=detail[:200], **uids):
        data = {"id": str(receipt.pk), "state": state, "reason": reason}
        announce([audience_group(receipt.organisation_id, "doors")], "receipt.changed", data)


def _announce(study: Study) -> None:
    data = {"study_uid": study.study_uid, "state": study.state}
    announce([audience_group(study.organisation_id, "scans")], "study.arrived", data)
