"""Every write of data sets and destinations. Returns are in `returns/`, maps taken by hand in `maps/`."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from typing import Any

import structlog
from django.core.files.base import File
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.archive.models import Cohort
from portal.core import live, outbox, storage
from portal.core.errors import Refused
from portal.core.sealed import seal
from portal.export.models import DataSet, Destination, Return
from portal.export.queries import keeper
from portal.export.scope import Scope
from portal.export.send import dimse, mllp, web
from portal.export.sets import CONTAINERS, FORMATS
from portal.export.sets.container import write
from portal.peers.client import NotAnswered
from portal.programmes.models import Programme
from portal.programmes.queries import is_coordinator

log = structlog.get_logger(__name__)
KINDS = Destination.Kind


def advance(row: Return | DataSet, after: str, **fields: Any) -> bool:
    """Move a row along its table and tell the browsers; False when another was faster."""
    with transaction.atomic():
        moved = row.advance(after, **fields)
        if moved:
            announce(row)
    return moved


def announce(row: Return | DataSet) -> None:
    """Tell the browsers of those who look after the doors about a row."""
    kind = "return.changed" if isinstance(row, Return) else "data_set.changed"
    group = live.audience_group(row.organisation_id, "doors")
    live.announce([group], kind, {"id": str(row.pk), "state": row.state})


@transaction.atomic
def ask_data_set(
    user: Any, programme: Programme, kind: str, container: str = "zip", cohort: Cohort | None = None
) -> DataSet:
    """Queue a data set of a programme in a format (sets.FORMATS) and container (zip, tar); coordinators only.

    cohort  only the cases whose scans are in it
    """
    if not is_coordinator(user, programme.organisation_id):
        raise Refused("not_found", "Not found.", status=404)
    if cohort and cohort.organisation_id != programme.organisation_id:
        raise Refused("not_found", "Not found.", status=404)
    if kind not in FORMATS:
        raise Refused("invalid", f"Formats are {', '.join(FORMATS)}.", status=422)
    if container not in CONTAINERS:
        raise Refused("invalid", f"Containers are {', '.join(CONTAINERS)}.", status=422)
    row = DataSet.objects.create(
        organisation_id=programme.organisation_id,
        programme=programme,
        format=kind,
        container=container,
        cohort=cohort,
        cohort_name=cohort.name if cohort else "",
        asked_by=user,
        state=DataSet.State.QUEUED,
    )
    outbox.emit("export.data_set_asked", row.pk)
    return row


def build_data_set(data_set_pk: uuid.UUID | str) -> DataSet:
    """Write the file of a data set through a temporary file; twice has the effect of once.

    A worker that dies leaves the row `building`, and the next one begins anew.
    """
    row = DataSet.objects.select_related("programme", "cohort").get(pk=data_set_pk)
    if row.state == DataSet.State.QUEUED:
        advance(row, DataSet.State.BUILDING)
    if row.state != DataSet.State.BUILDING:
        return row
    if row.cohort_name and row.cohort is None:
        advance(row, DataSet.State.FAILED, error="The cohort was removed.")
        return row
    about = {
        "programme": row.programme.slug,
        **({"cohort": row.cohort_name, "cohort_filters": row.cohort.query} if row.cohort else {}),
        "format": row.format,
        "made_at": timezone.now(),
        "notice": "Research use only.",
    }
    try:
        with tempfile.NamedTemporaryFile() as file:
            with transaction.atomic():  # one view of the programme for all tables
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                content = write(file, row.container, FORMATS[row.format].files(Scope(row.programme, row.cohort)), about)
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            name = storage.archive().save(f"exports/{row.pk}.{CONTAINERS[row.container]}", File(file))
    except Exception as error:
        log.exception("export.data_set_not_made", data_set=str(row.pk))
        advance(row, DataSet.State.FAILED, error=f"{type(error).__name__}: {error}"[:300])
        return row
    fields = {"name": name, "size": size, "sha256": digest, "content_sha256": content, "ready_at": timezone.now()}
    if not advance(row, DataSet.State.READY, **fields):
        storage.archive().delete(name)  # another worker was faster; the storage gave each its own name
    return row


def save_destination(user: Any, row: Destination, secret: str | None = None) -> Destination:
    """Add or change a destination; it is stopped, never deleted: its returns stay on record.

    secret  bearer token or user:password, "" for none; None leaves what is there
    Raises Refused when another destination of the organisation has its name, or it is to promise to keep what it takes
    and is no peer; 404 without the role.
    """
    require_role(user, row.organisation_id, Role.PACS_ADMIN)
    if row.commit and keeper(row) is None:
        words = "Its promise comes to our listener: enter it among the peers first, by the same AE title."
        raise Refused("no_peer", words, status=422)
    if secret is not None:
        row.secret = seal(web.SECRET, secret)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Refused("taken", "Another destination has this name.") from None
    return row


def test_destination(user: Any, row: Destination) -> str:
    """Ask a destination whether it is there; no patient's data are sent. Returns its answer in words.

    C-ECHO, a QIDO-RS search for one study, a connection (MLLP), the capability statement (FHIR).
    Raises Refused with the reason, 404 without the role.
    """
    require_role(user, row.organisation_id, Role.PACS_ADMIN)
    ways = {KINDS.DIMSE: dimse.echo, KINDS.DICOMWEB: web.studies, KINDS.MLLP: mllp.reach, KINDS.FHIR: web.capabilities}
    try:
        words = ways[KINDS(row.kind)](row)
    except NotAnswered as error:
        log.info("export.destination_away", destination=row.pk, user=user.pk, error=str(error))
        raise Refused("away", f"{error}.") from None
    log.info("export.destination_answers", destination=row.pk, user=user.pk)
    return words
