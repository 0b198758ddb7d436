"""Every write of the ways out: queueing and sending returns, building data sets."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from typing import Any

import structlog
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.consensus.models import Truth
from portal.core import outbox, storage
from portal.core.errors import Refused
from portal.deidentify.restore import Unknown, restore
from portal.export import queries, sr, table
from portal.export.models import DataSet, Destination, Return
from portal.export.rules import derived_uid, pause
from portal.programmes.models import Case, Programme
from portal.programmes.queries import is_coordinator

log = structlog.get_logger(__name__)
FORMATS = ("table",)
MOST_IMAGES = 200


class NotSent(Exception):
    """The peer did not take an object."""


@transaction.atomic
def queue_returns(case_pk: int) -> list[Return]:
    """Queue the result of a settled case for every automatic destination; twice has the effect of once.

    A result that was sent before the truth changed is queued again, under a new UID; an unchanged one is not.
    """
    case = Case.objects.select_for_update(of=("self",)).select_related("study", "protocol").get(pk=case_pk)
    truth = Truth.objects.filter(case=case).first()
    if truth is None:
        return []
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
        elif _at_rest(row) and row.sop_uid != result_uid(case, truth, destination) and _queue_again(row):
            made.append(row)
    return made


def _at_rest(row: Return) -> bool:
    """Whether nothing will send this row by itself."""
    return row.state == Return.State.SENT or (row.state == Return.State.FAILED and row.next_at is None)


def _queue_again(row: Return, **fields: Any) -> bool:
    values = {"next_at": None, "queued_at": timezone.now(), **fields}
    if row.next_at is None:  # not a further try of the same
        values |= {"attempts": 0, "error": ""}
    with transaction.atomic():
        moved = row.advance(Return.State.QUEUED, **values)
        if moved:
            outbox.emit("export.return_queued", row.pk)
    return moved


def result_uid(case: Case, truth: Truth, destination: Destination) -> str:
    """SOP Instance UID of a case's report: the same while its content is, so that a peer knows a repeated return.

    What goes out with the identity is another object than what goes out with the pseudonym.
    """
    images = list(_images(case).values_list("sop_uid", flat=True))
    said = [truth.positive, truth.origin, truth.answers, truth.marks, images]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    kind = "identified" if destination.restore_identity else "pseudonymous"
    return derived_uid("sr", kind, case.study.study_uid, case.pk, digest)


def send_return(return_pk: uuid.UUID | str) -> Return:
    """Send one result by C-STORE; twice has the effect of once. Runs in the identity zone.

    A peer that is away or refuses leaves the row failed, with the time at which `resend_due` tries again. A
    report that cannot be made waits for a person. Storage and database errors are raised: the outbox tries again.
    """
    row = Return.objects.select_related("destination", "case__study", "case__protocol").get(pk=return_pk)
    if row.state != Return.State.QUEUED:
        return row
    attempts = row.attempts + 1
    try:
        report = build_report(row.case, row.destination)
        identified = row.destination.restore_identity and restore(report, row.organisation_id)
    except (Refused, Unknown, ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        words = f"The report cannot be made ({outbox.describe(error, private=True)})."[:300]
        row.advance(Return.State.FAILED, attempts=attempts, error=words, next_at=None)
        log.warning("export.report_not_made", return_id=str(row.pk), error=words)
        return row
    try:
        _store(row.destination, report)
    except NotSent as error:
        wait = pause(attempts)
        due = timezone.now() + wait if wait else None
        row.advance(Return.State.FAILED, attempts=attempts, error=str(error)[:300], next_at=due)
        log.warning("export.not_sent", return_id=str(row.pk), attempts=attempts, error=str(error))
        return row
    row.advance(
        Return.State.SENT,
        sent_at=timezone.now(),
        sop_uid=str(report.SOPInstanceUID),
        attempts=attempts,
        error="",
        identified=identified,
    )
    queue_returns(row.case_id)  # the truth may have changed while this one was on its way
    return row


def resend_due(limit: int = 200) -> int:
    """Queue failed returns whose pause is over. Returns how many."""
    due = Return.objects.filter(state=Return.State.FAILED, next_at__lte=timezone.now(), destination__active=True)
    return sum(_queue_again(row) for row in due.order_by("next_at")[:limit])


def retry_return(user: Any, row: Return) -> Return:
    """Send a failed return again now, its attempts counted anew. Raises Refused for any other, 404 without the role."""
    require_role(user, row.organisation_id, Role.PACS_ADMIN)
    if row.state != Return.State.FAILED or not _queue_again(row, attempts=0, error=""):
        raise Refused("wrong_state", "Only a failed return can be sent again.")
    return row


def _images(case: Case) -> QuerySet[Instance]:
    rows = Instance.objects.filter(study=case.study, rows__gt=0)
    return rows.order_by("series__number", "number", "sop_uid")[:MOST_IMAGES]


def build_report(case: Case, destination: Destination) -> Dataset:
    """The structured report of a settled case, pseudonymous. Raises Refused before there is truth."""
    truth = Truth.objects.filter(case=case).first()
    if truth is None:
        raise Refused("no_truth", "The case is not settled yet.")
    headers = []
    for instance in _images(case):
        with local_copy(storage.archive(), instance.name) as path:
            headers.append(dcmread(path, stop_before_pixels=True, force=True))
    result = sr.Result(
        form=case.protocol.form,
        answers=truth.answers,
        marks=truth.marks,
        labels={str(label["code"]): str(label["name"]) for label in case.protocol.labels},
        uid=result_uid(case, truth, destination),
        series_uid=derived_uid("sr-series", case.study.study_uid, case.pk, destination.restore_identity),
        at=timezone.localtime(truth.set_at),
    )
    return sr.build(headers, next(iter(case.study.modalities), ""), result)


def _store(destination: Destination, report: Dataset) -> None:
    """C-STORE one object. Raises NotSent unless the peer says that it has it (success or warning)."""
    ae = AE(ae_title="CONCORD")
    ae.add_requested_context(report.SOPClassUID, report.file_meta.TransferSyntaxUID)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.connection_timeout = 10
    association = ae.associate(destination.host, destination.port, ae_title=destination.ae_title)
    if not association.is_established:
        raise NotSent(f"{destination.ae_title} {'refuses us' if association.is_rejected else 'does not answer'}")
    try:
        status = association.send_c_store(report)
    except ValueError:  # no presentation context was accepted
        raise NotSent(f"{destination.ae_title} does not take structured reports") from None
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
