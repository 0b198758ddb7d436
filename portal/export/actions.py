"""Every write of the ways out: queueing and sending returns, building data sets."""

from __future__ import annotations

import hashlib
import io
import uuid
from typing import Any

import structlog
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.consensus.models import Truth
from portal.core import outbox, storage
from portal.core.errors import Refused
from portal.export import queries, sr, table
from portal.export.models import DataSet, Destination, Return
from portal.programmes.models import Case, Programme
from portal.programmes.queries import is_coordinator

log = structlog.get_logger(__name__)
FORMATS = ("table",)


class NotSent(Exception):
    """The peer did not take an object; it is tried again."""


@transaction.atomic
def queue_returns(case_pk: int) -> list[Return]:
    """Queue the result of a settled case for every automatic destination; twice has the effect of once."""
    case = Case.objects.get(pk=case_pk)
    made = []
    for destination in Destination.objects.filter(organisation=case.organisation_id, automatic=True, active=True):
        row, new = Return.objects.get_or_create(
            destination=destination,
            case=case,
            format="sr",
            defaults={"organisation_id": case.organisation_id, "state": Return.State.QUEUED},
        )
        if new:
            outbox.emit("export.return_queued", row.pk)
            made.append(row)
    return made


def send_return(return_pk: uuid.UUID | str) -> Return:
    """Send one result by C-STORE. Raises NotSent when the peer is away or refuses: the outbox tries again."""
    row = Return.objects.select_related("destination", "case__study", "case__protocol").get(pk=return_pk)
    if row.state != Return.State.QUEUED:
        return row
    report = build_report(row.case)
    try:
        _store(row.destination, report)
    except NotSent as error:
        Return.objects.filter(pk=row.pk).update(attempts=row.attempts + 1, error=str(error)[:300])
        raise
    row.advance(
        Return.State.SENT,
        sent_at=timezone.now(),
        sop_uid=str(report.SOPInstanceUID),
        attempts=row.attempts + 1,
        error="",
    )
    return row


def build_report(case: Case) -> Dataset:
    """The structured report of a settled case. Raises Refused before there is truth."""
    truth = Truth.objects.filter(case=case).first()
    if truth is None:
        raise Refused("no_truth", "The case is not settled yet.")
    rows = Instance.objects.filter(study=case.study, rows__gt=0).order_by("series__number", "number", "pk")[:200]
    headers = []
    for instance in rows:
        with local_copy(storage.archive(), instance.name) as path:
            headers.append(dcmread(path, stop_before_pixels=True, force=True))
    # the same case always makes the same UID, so a peer knows a repeated return again
    seed = hashlib.sha256(f"{case.study.study_uid}/{case.pk}/sr".encode()).digest()[:12]
    uid = f"2.25.{int.from_bytes(seed, 'big')}"
    modality = next(iter(case.study.modalities), "")
    return sr.build(headers, modality, case.protocol.form, truth.answers, truth.marks, uid)


def _store(destination: Destination, report: Dataset) -> None:
    ae = AE(ae_title="CONCORD")
    ae.add_requested_context(report.SOPClassUID, report.file_meta.TransferSyntaxUID)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.connection_timeout = 10
    association = ae.associate(destination.host, destination.port, ae_title=destination.ae_title)
    if not association.is_established:
        raise NotSent(f"{destination.ae_title} does not answer")
    try:
        status = association.send_c_store(report)
    finally:
        association.release()
    code = getattr(status, "Status", None)
    if code is None or (code != 0x0000 and code >> 12 != 0xB):
        raise NotSent(f"{destination.ae_title} answered {code:#06x}" if code is not None else "no answer")


@transaction.atomic
def ask_data_set(user: Any, programme: Programme, kind: str) -> DataSet:
    """Queue a data set of a programme; coordinators only."""
    if not is_coordinator(user, programme.organisation_id):
        raise Refused("not_found", "Not found.", status=404)
    if kind not in FORMATS:
        raise Refused("invalid", f"Formats are {', '.join(FORMATS)}.", status=422)
    row = DataSet.objects.create(
        organisation_id=programme.organisation_id,
        programme=programme,
        format=kind,
        asked_by=user,
        state=DataSet.State.QUEUED,
    )
    outbox.emit("export.data_set_asked", row.pk)
    return row


def build_data_set(data_set_pk: uuid.UUID | str) -> DataSet:
    """Write the file of a data set; twice has the effect of once."""
    row = DataSet.objects.select_related("programme").get(pk=data_set_pk)
    if row.state != DataSet.State.QUEUED:
        return row
    buffer = io.BytesIO()
    about = {"programme": row.programme.slug, "made_at": timezone.now(), "notice": "Research use only."}
    table.write(buffer, queries.tables(row.programme), about)
    data = buffer.getvalue()
    name = f"exports/{row.pk}.zip"
    storage.archive().delete(name)
    storage.archive().save(name, ContentFile(data))
    row.advance(DataSet.State.READY, name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return row
