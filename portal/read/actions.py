"""Every write of reading: opening, drafts, showing the model, submitting."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.core import outbox
from portal.core.errors import Refused
from portal.core.live import announce, audience_group, user_group
from portal.programmes.actions import claim, hold, keep_claim
from portal.programmes.models import Assignment, Protocol
from portal.read import queries, rules
from portal.read.models import Mark, Reading

MAX_ACTIVE_MS = 24 * 3600 * 1000


@transaction.atomic
def start(user: User, assignment: Assignment) -> Reading:
    """Open an assignment: claims it when it is offered, and makes the draft. Twice has the effect of once.

    Decides by the assignment as it is now, not as the request saw it, and holds it until the transaction ends: a
    claim that expires or is given back at this moment does so before or after. Returns the reading with that
    assignment. Raises Refused: 409 when it is no longer to be had, 410 when it has gone to another reader.
    """
    now = hold(assignment)
    if now.state == Assignment.State.OFFERED:
        now = claim(user, now)
    if now.reader_id != user.pk or now.state == Assignment.State.CANCELLED:
        raise Refused("gone", "This reading has gone to another reader.", status=410)
    reading, _ = Reading.objects.get_or_create(
        assignment=now,
        defaults={
            "organisation_id": now.organisation_id,
            "case_id": now.case_id,
            "protocol_id": now.case.protocol_id,
            "reader": user,
            "state": Reading.State.DRAFT,
        },
    )
    if reading.reader_id != user.pk:  # given back by a reader who had begun: start from nothing; history keeps theirs
        fresh = {"answers": {}, "draft_marks": [], "active_ms": 0, "revision": 0, "base_revision": 0, "client": ""}
        rows = Reading.objects.filter(pk=reading.pk, state=Reading.State.DRAFT)
        rows.update(reader=user, started_at=timezone.now(), model_seen_at=None, **fresh)
        reading.refresh_from_db()
    reading.assignment = now
    return reading


def _locked(user: User, assignment: Assignment) -> Reading:
    now = start(user, assignment).assignment
    reading = (
        Reading.objects.select_for_update(no_key=True, of=("self",)).select_related("protocol").get(assignment=now)
    )
    reading.assignment = now
    return reading


def _wrong(field: str, words: str) -> Refused:
    return Refused("invalid", words, status=422, fields={field: words})


def _active(body: Mapping[str, Any]) -> int:
    """Milliseconds of active time as sent, 0 when not sent, never more than a day. Raises Refused."""
    value = body.get("active_ms")
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong("active_ms", "The active time is a number of milliseconds.")
    return int(max(0, min(value, MAX_ACTIVE_MS)))


def _revision(body: Mapping[str, Any]) -> int:
    """Revision of the draft that the sender saw last. Raises Refused."""
    revision = body.get("revision")
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 0:
        raise _wrong("revision", "The revision is the number that the server gave with the draft.")
    return revision


def _whose(body: Mapping[str, Any]) -> tuple[int, str]:
    """Revision that the browser saw last, and the name of its tab ("" when it has none). Raises Refused."""
    revision, client = _revision(body), body.get("client")
    if client is not None and (not isinstance(client, str) or len(client) > 64):
        raise _wrong("client", "The name of a tab is a text of at most 64 characters.")
    return revision, client or ""


def _conflict(reading: Reading) -> Refused:
    words = "This reading was changed in another window."
    return Refused("conflict", words, revision=reading.revision, draft=queries.draft_json(reading))


@transaction.atomic
def save_draft(user: User, assignment: Assignment, body: Mapping[str, Any]) -> Reading:
    """Keep a draft, and renew its claim.

    Only who has seen the newest revision may save over it. The one exception is a named tab whose answer was lost:
    it saves again on the revision on which its last saves were based, and nobody else has saved since.
    Raises Refused: 409 with the server's draft when it was changed elsewhere, 410 when submitted, 422.
    """
    reading = _locked(user, assignment)
    if reading.state != Reading.State.DRAFT:
        raise Refused("submitted", "This reading is submitted; changes are kept as a new one.", status=410)
    revision, client = _whose(body)
    again = client and client == reading.client and revision == reading.base_revision
    if revision != reading.revision and not again:
        raise _conflict(reading)
    answers, marks = body.get("answers"), body.get("marks")
    if not isinstance(answers, dict) or len(str(answers)) > 100_000:
        raise _wrong("answers", "Answers are missing or too large.")
    if fault := rules.check_marks(marks, queries.image_sizes(reading.assignment)):
        raise _wrong("marks", fault)
    reading.answers, reading.draft_marks, reading.client = answers, marks, client  # type: ignore[assignment]
    reading.active_ms = max(reading.active_ms, _active(body))
    reading.base_revision = revision
    reading.revision += 1
    reading.saved_at = timezone.now()
    reading.save(
        update_fields=["answers", "draft_marks", "client", "base_revision", "active_ms", "revision", "saved_at"]
    )
    keep_claim(reading.assignment)
    return reading


@transaction.atomic
def reveal(user: User, assignment: Assignment) -> Reading:
    """Show the model's output to a reader whose protocol offers it on demand; when it was seen is kept."""
    reading = _locked(user, assignment)
    if reading.protocol.mode != Protocol.Mode.ON_DEMAND:
        raise Refused("blinded", "This protocol does not show the model's output.", status=409)
    if reading.model_seen_at is None and reading.state == Reading.State.DRAFT:
        reading.model_seen_at = timezone.now()
        reading.save(update_fields=["model_seen_at"])
    return reading


def alert(reading: Reading) -> None:
    """Show the reader of a submitted reading where the model differs, and say so at once; twice is once."""
    with transaction.atomic():
        if Reading.objects.filter(pk=reading.pk, alerted_at=None).update(alerted_at=timezone.now()):
            data = {"assignment": str(reading.assignment_id), "case": reading.case_id, "number": reading.case.number}
            announce([user_group(reading.reader_id)], "reading.alerted", data)


@transaction.atomic
def submit_reading(user: User, assignment: Assignment, body: Mapping[str, Any]) -> Reading:
    """Make a reading final and hand it on, in one transaction; the same key again changes nothing.

    Only who has seen the newest draft may submit. No revision says that the sender knows of no draft: enough for a
    program that keeps none, and refused as soon as there is one.
    Raises Refused: 409 with the server's draft and its revision when it was changed elsewhere, 422 with fields when
    incomplete, 410 when submitted under another key.
    """
    try:
        key = uuid.UUID(str(body.get("key")))
    except ValueError:
        raise _wrong("key", "The submission has no key.") from None
    reading = _locked(user, assignment)
    if reading.state == Reading.State.SUBMITTED:
        if reading.submit_key == key:
            return reading
        raise Refused("submitted", "This reading was submitted before.", status=410)
    if (_revision(body) if "revision" in body else 0) != reading.revision:
        raise _conflict(reading)
    answers, marks, active = body.get("answers"), body.get("marks", []), _active(body)
    if not isinstance(answers, dict):
        raise _wrong("answers", "Answers are missing.")
    form = reading.protocol.form
    faults = rules.check_answers(form, answers)
    sizes, display = queries.image_sizes(reading.assignment), body.get("display") or {}
    if fault := rules.check_marks(marks, sizes):
        faults["marks"] = fault
    if fault := rules.check_display(display, sizes):
        faults["display"] = fault
    if faults:
        raise Refused("incomplete", "The form is not complete.", status=422, fields=faults)
    if Reading.objects.filter(submit_key=key).exists():
        raise _wrong("key", "This key belongs to another submission.")
    now = timezone.now()
    reading.advance(
        Reading.State.SUBMITTED,
        answers=rules.kept_answers(form, answers),
        draft_marks=marks,
        display=display,
        active_ms=max(reading.active_ms, active),
        submit_key=key,
        submitted_at=now,
        revision=reading.revision + 1,
    )
    Mark.objects.bulk_create(_mark(reading, mark) for mark in marks)
    if not reading.assignment.advance(Assignment.State.SUBMITTED, submitted_at=now):
        raise Refused("submitted", "This reading is no longer open.", status=410)
    outbox.emit("read.submitted", reading.pk)
    data = {"assignment": str(reading.assignment.pk), "case": reading.case_id}
    announce([audience_group(reading.organisation_id, "scans")], "reading.submitted", data)
    return reading


def _mark(reading: Reading, mark: Mapping[str, Any]) -> Mark:
    return Mark(
        reading=reading,
        client_id=mark["id"],
        tool=mark["tool"],
        sop_uid=mark["sop_uid"],
        frame=mark.get("frame", 1),
        points_px=mark["points_px"],
        points_mm=mark.get("points_mm"),
        label=str(mark.get("label") or ""),
        rating=mark.get("rating"),
        text=str(mark.get("text") or ""),
        measurements=mark.get("measurements") or {},
    )
