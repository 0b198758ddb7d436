"""Every write of the queue of returns."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone
from pydicom.dataset import Dataset

from inference.preprocess.errors import ImageError
from portal.core import outbox
from portal.core.errors import Refused
from portal.deidentify.restore import Unknown, restore
from portal.export.actions import advance, announce
from portal.export.kinds import wanted
from portal.export.models import Destination, Return
from portal.export.queries import keeper
from portal.export.report import fhir, hl7
from portal.export.returns import contents
from portal.export.send import dimse, mllp, web
from portal.infer.models import Run
from portal.infer.queries import newest_runs
from portal.peers import outgoing
from portal.peers.actions import ask_commitment
from portal.peers.client import NotAnswered
from portal.peers.models import Commitment
from portal.programmes.models import Case

log = structlog.get_logger(__name__)
KINDS, STATES = Destination.Kind, Return.State
# what a result that cannot be made of these images, or not yet, raises: a person looks
NOT_MADE = (Refused, Unknown, ImageError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError)


@transaction.atomic
def queue_returns(case_pk: int) -> list[Return]:
    """Queue the results of a settled case for every automatic destination, and those of its scan's runs.

    Twice has the effect of once. A result that was sent before the truth changed is queued again, as a new object;
    an unchanged one is not.
    """
    case = Case.objects.select_for_update(of=("self",)).select_related("study", "protocol").get(pk=case_pk)
    if not hasattr(case, "truth"):
        return []
    made = _queue(case.organisation_id, "case", {"case": case})
    if case.state == Case.State.SETTLED:
        for run in newest_runs(case.study):
            made += _of_run(run)
    return made


@transaction.atomic
def queue_run_returns(run_pk: uuid.UUID | str) -> list[Return]:
    """Queue the results of a finished run, once nobody is still to read its scan; twice has the effect of once.

    What a model says of a scan that is being read waits for the last reading: a PACS would show it to its readers.
    """
    return _of_run(Run.objects.select_related("study").get(pk=run_pk))


def _of_run(run: Run) -> list[Return]:
    if run.state != Run.State.DONE or Case.objects.filter(study=run.study).exclude(state=Case.State.SETTLED).exists():
        return []
    return _queue(run.organisation_id, "run", {"run": run})


def _queue(organisation_id: int, of: str, about: dict[str, Any]) -> list[Return]:
    made = []
    for destination in Destination.objects.filter(organisation=organisation_id, automatic=True, active=True):
        for key in wanted(destination.wants, destination.kind, of):
            row, new = Return.objects.get_or_create(
                destination=destination,
                format=key,
                **about,
                defaults={"organisation_id": organisation_id, "state": STATES.QUEUED},
            )
            if new:
                outbox.emit(Return.TOPIC, row.pk)
                made.append(row)
            elif (
                _at_rest(row)
                and row.content != _content(row)
                and outgoing.queue_again(row, advance, attempts=0, error="")
            ):
                made.append(row)
    return made


def _content(row: Return) -> str:
    try:
        return contents.content_of(row)
    except Refused:
        return row.content  # nothing new to say yet


def _at_rest(row: Return) -> bool:
    """Whether nothing will send this row by itself."""
    return row.state in {STATES.SENT, STATES.NOTHING} or (row.state == STATES.FAILED and row.next_at is None)


def send_return(return_pk: uuid.UUID | str) -> Return:
    """Send one result; twice has the effect of once. Runs in the identity zone.

    A peer that is away or refuses leaves the row failed, with the time at which `resend_due` tries again. A
    result that cannot be made waits for a person. Storage and database errors are raised: the outbox tries again.
    """
    rows = Return.objects.select_related(
        "destination", "case__study", "case__protocol", "case__programme", "run__study", "run__version__function"
    )
    row = rows.get(pk=return_pk)
    if row.state != STATES.QUEUED:
        return row
    if not row.destination.active:
        advance(row, STATES.FAILED, error="The destination is closed.", next_at=None)
        return row
    try:
        content = contents.content_of(row)
        parcel = _parcel(row, content)
    except NOT_MADE as error:
        words = f"The result cannot be made ({outbox.describe(error, private=True)})."
        return outgoing.not_sent(row, advance, words, again=False)
    if parcel is None:
        advance(row, STATES.NOTHING, content=content, error="", attempts=row.attempts + 1)
        return row
    try:
        answer = parcel.send(row.destination)
    except NotAnswered as error:
        return outgoing.not_sent(row, advance, str(error))
    with transaction.atomic():
        sent = advance(
            row,
            STATES.SENT,
            sent_at=timezone.now(),
            content=content,
            sop_uid=parcel.name[:64],
            objects_count=parcel.count,
            answer=answer[:200],
            attempts=row.attempts + 1,
            error="",
            identified=parcel.identified,
        )
        if sent:
            _ask_to_keep(row, parcel)
    if row.case_id:
        queue_returns(row.case_id)  # the truth may have changed while this one was on its way
    return row


def _ask_to_keep(row: Return, parcel: Parcel) -> None:
    """Ask the PACS to promise that it keeps the objects, where its destination says so.

    One that is no peer any more is not asked: its answer would come to the listener.
    """
    peer = keeper(row.destination) if row.destination.commit and parcel.objects else None
    items = [(str(ds.SOPClassUID), str(ds.SOPInstanceUID)) for ds in parcel.objects]
    asked = ask_commitment(peer, items) if peer else None
    if asked or row.commitment_id:
        Return.objects.filter(pk=row.pk).update(commitment=asked)
        row.commitment = asked


def commitment_settled(commitment_pk: uuid.UUID | str) -> list[Return]:
    """The PACS has said what it keeps: a result that it does not keep whole is sent again, after a pause.

    Twice has the effect of once.
    """
    commitment = Commitment.objects.get(pk=commitment_pk)
    rows = list(commitment.returns.filter(state=STATES.SENT).select_related("destination"))
    for row in rows:
        if commitment.state in {Commitment.State.PARTIAL, Commitment.State.REFUSED}:
            kept = f"{commitment.confirmed} of {row.objects_count} objects"
            words = f"{row.destination.name} promises to keep {kept} only"
            outgoing.not_sent(row, advance, words)
        else:
            with transaction.atomic():
                announce(row)
    return rows


class Parcel:
    """What goes out, with the identity where the destination is the owner's. `name` is an id, never a person's."""

    def __init__(self, name: str, identified: bool, objects: list[Dataset] | None = None, body: Any = None) -> None:
        self.name, self.identified, self.objects, self.body = name, identified, objects or [], body
        self.count = len(self.objects) or 1

    def send(self, destination: Destination) -> str:
        """The peer's acknowledgement. Raises NotAnswered."""
        if destination.kind == KINDS.DIMSE:
            return dimse.store(destination, self.objects)
        if destination.kind == KINDS.DICOMWEB:
            return web.stow(destination, self.objects)
        if destination.kind == KINDS.MLLP:
            return mllp.send(destination, self.body, self.name)
        return web.put_report(destination, self.body)


def _parcel(row: Return, content: str) -> Parcel | None:
    """None when there is nothing to say. Raises Unknown for a patient whom the vault does not know."""
    destination = row.destination
    if row.format == "report":
        header = contents.first_header(row)
        identified = _identify(destination, [header])
        told = contents.told(row, header, corrected=row.sent_at is not None)
        if destination.kind == KINDS.FHIR:
            return Parcel(told.id, identified, body=fhir.build(told))
        return Parcel(hl7.control_id(told), identified, body=hl7.build(told, destination.name))
    objects = contents.objects(row, content)
    if not objects:
        return None
    return Parcel(str(objects[0].SOPInstanceUID), _identify(destination, objects), objects)


def _identify(destination: Destination, objects: Iterable[Dataset]) -> bool:
    """Put the identity back, in place, for the owner alone; whether any was put back."""
    if not destination.restore_identity:
        return False
    restored = [restore(ds, destination.organisation_id) for ds in objects]
    return any(restored)


def resend_due(limit: int = 200) -> int:
    """Queue failed returns whose pause is over. Returns how many."""
    return outgoing.queue_due(Return.objects.filter(destination__active=True), advance, limit)


def retry_return(user: Any, row: Return) -> Return:
    """Send a failed return again now, its attempts counted anew. Raises Refused for any other, 404 without the role."""
    return outgoing.retry(user, row, row.organisation_id, advance)
