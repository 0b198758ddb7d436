"""Every write of the ways out: queueing and sending returns, building data sets."""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from typing import Any

import structlog
from django.core.files.base import File
from django.db import IntegrityError, connection, transaction
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
from portal.core import live, outbox, storage
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


def _advance(row: Return | DataSet, after: str, **fields: Any) -> bool:
    """Move a row along its table and tell the browsers; False when another was faster."""
    kind = "return.changed" if isinstance(row, Return) else "data_set.changed"
    with transaction.atomic():
        moved = row.advance(after, **fields)
        if moved:
            group = live.audience_group(row.organisation_id, "doors")
            live.announce([group], kind, {"id": str(row.pk), "state": row.state})
    return moved


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
        moved = _advance(row, Return.State.QUEUED, **values)
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
    if not row.destination.active:
        _advance(row, Return.State.FAILED, error="The destination is closed.", next_at=None)
        return row
    attempts = row.attempts + 1
    try:
        report = build_report(row.case, row.destination)
        identified = row.destination.restore_identity and restore(report, row.organisation_id)
    except (Refused, Unknown, ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        words = f"The report cannot be made ({outbox.describe(error, private=True)})."[:300]
        _advance(row, Return.State.FAILED, attempts=attempts, error=words, next_at=None)
        log.warning("export.report_not_made", return_id=str(row.pk), error=words)
        return row
    try:
        _store(row.destination, report)
    except NotSent as error:
        wait = pause(attempts)
        due = timezone.now() + wait if wait else None
        _advance(row, Return.State.FAILED, attempts=attempts, error=str(error)[:300], next_at=due)
        log.warning("export.not_sent", return_id=str(row.pk), attempts=attempts, error=str(error))
        return row
    _advance(
        row,
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
    """Write the file of a data set through a temporary file; twice has the effect of once.

    A worker that dies leaves the row `building`, and the next one begins anew.
    """
    row = DataSet.objects.select_related("programme").get(pk=data_set_pk)
    if row.state == DataSet.State.QUEUED:
        _advance(row, DataSet.State.BUILDING)
    if row.state != DataSet.State.BUILDING:
        return row
    about = {"programme": row.programme.slug, "made_at": timezone.now(), "notice": "Research use only."}
    try:
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            with transaction.atomic():  # one view of the programme for all tables
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                table.write(file, queries.tables(row.programme), about)
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            name = storage.archive().save(f"exports/{row.pk}.zip", File(file))
    except Exception as error:
        log.exception("export.data_set_not_made", data_set=str(row.pk))
        _advance(row, DataSet.State.FAILED, error=f"{type(error).__name__}: {error}"[:300])
        return row
    fields = {"name": name, "size": size, "sha256": digest, "ready_at": timezone.now()}
    if not _advance(row, DataSet.State.READY, **fields):
        storage.archive().delete(name)  # another worker was faster; the storage gave each its own name
    return row


def save_destination(user: Any, row: Destination) -> Destination:
    """Add or change a PACS that takes results; it is stopped, never deleted: its returns stay on record.

    Raises Refused when another destination of the organisation has its name, 404 without the role.
    """
    require_role(user, row.organisation_id, Role.PACS_ADMIN)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Refused("taken", "Another destination has this name.") from None
    return row
