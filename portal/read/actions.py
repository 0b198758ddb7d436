"""Every write of reading: opening, drafts, showing the model, submitting."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.core import outbox
from portal.core.errors import Refused
from portal.core.live import announce, org_group
from portal.programmes.actions import claim
from portal.programmes.models import Assignment, Protocol
from portal.read import queries, rules
from portal.read.models import Mark, Reading

MAX_ACTIVE_MS = 24 * 3600 * 1000


def start(user: User, assignment: Assignment) -> Reading:
    """Open an assignment: claims it when it is offered, and makes the draft. Twice has the effect of once."""
    if assignment.state == Assignment.State.OFFERED:
        claim(user, assignment)
    reading, _ = Reading.objects.get_or_create(
        assignment=assignment,
        defaults={
            "organisation_id": assignment.organisation_id,
            "case_id": assignment.case_id,
            "protocol_id": assignment.case.protocol_id,
            "reader": user,
            "state": Reading.State.DRAFT,
        },
    )
    if reading.reader_id != user.pk:  # given back by another reader who had begun: start from nothing
        if reading.state != Reading.State.DRAFT:
            raise Refused("gone", "This reading was submitted by another reader.", status=410)
        fresh = {"reader": user, "answers": {}, "draft_marks": [], "active_ms": 0, "revision": 0, "client": ""}
        Reading.objects.filter(pk=reading.pk, state=Reading.State.DRAFT).update(**fresh, model_seen_at=None)
        reading.refresh_from_db()
    return reading


def _locked(user: User, assignment: Assignment) -> Reading:
    start(user, assignment)
    return Reading.objects.select_for_update().get(assignment=assignment)


def _active(value: Any) -> int:
    number = int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
    return max(0, min(number, MAX_ACTIVE_MS))


@transaction.atomic
def save_draft(user: User, assignment: Assignment, body: Mapping[str, Any]) -> Reading:
    """Keep a draft. Raises Refused: 409 with the server's draft when another tab saved since, 410 when submitted."""
    reading = _locked(user, assignment)
    if reading.state != Reading.State.DRAFT:
        raise Refused("submitted", "This reading is submitted; changes are kept as a new one.", status=410)
    client = str(body.get("client") or "")[:64]
    if body.get("revision") != reading.revision and client != reading.client:
        words = "This reading was changed in another window."
        raise Refused("conflict", words, draft=queries.draft_json(reading))
    answers, marks = body.get("answers"), body.get("marks")
    if not isinstance(answers, dict) or len(str(answers)) > 100_000:
        raise Refused("invalid", "Answers are missing or too large.", status=422)
    if fault := rules.check_marks(marks, queries.image_sizes(assignment)):
        raise Refused("invalid", fault, status=422, fields={"marks": fault})
    reading.answers, reading.draft_marks, reading.client = answers, marks, client  # type: ignore[assignment]
    reading.active_ms = max(reading.active_ms, _active(body.get("active_ms")))
    reading.revision += 1
    reading.saved_at = timezone.now()
    reading.save(update_fields=["answers", "draft_marks", "client", "active_ms", "revision", "saved_at"])
    return reading


@transaction.atomic
def reveal(user: User, assignment: Assignment) -> Reading:
    """Show the model's output to a reader whose protocol offers it on demand; when it was seen is kept."""
    reading = _locked(user, assignment)
    if assignment.case.protocol.mode != Protocol.Mode.ON_DEMAND:
        raise Refused("blinded", "This protocol does not show the model's output.", status=409)
    if reading.model_seen_at is None:
        reading.model_seen_at = timezone.now()
        reading.save(update_fields=["model_seen_at"])
    return reading


@transaction.atomic
def submit_reading(user: User, assignment: Assignment, body: Mapping[str, Any]) -> Reading:
    """Make a reading final and hand it on, in one transaction; the same key again changes nothing.

    Raises Refused: 422 with fields when incomplete, 410 when submitted under another key.
    """
    try:
        key = uuid.UUID(str(body.get("key")))
    except ValueError:
        raise Refused("invalid", "The submission has no key.", status=422) from None
    if assignment.state == Assignment.State.SUBMITTED:
        done = Reading.objects.filter(assignment=assignment, reader=user).first()
        if done and done.submit_key == key:
            return done
        raise Refused("submitted", "This reading was submitted before.", status=410)
    reading = _locked(user, assignment)
    if reading.state == Reading.State.SUBMITTED:  # another request of the same reader was faster
        if reading.submit_key == key:
            return reading
        raise Refused("submitted", "This reading was submitted before.", status=410)
    answers, marks = body.get("answers"), body.get("marks", [])
    if not isinstance(answers, dict):
        raise Refused("invalid", "Answers are missing.", status=422)
    form = reading.protocol.form
    faults = rules.check_answers(form, answers)
    if fault := rules.check_marks(marks, queries.image_sizes(assignment)):
        faults["marks"] = fault
    if faults:
        raise Refused("incomplete", "The form is not complete.", status=422, fields=faults)
    now = timezone.now()
    reading.advance(
        Reading.State.SUBMITTED,
        answers=rules.kept_answers(form, answers),
        draft_marks=marks,
        active_ms=max(reading.active_ms, _active(body.get("active_ms"))),
        submit_key=key,
        submitted_at=now,
        revision=reading.revision + 1,
    )
    Mark.objects.bulk_create(_mark(reading, mark) for mark in marks)
    if not assignment.advance(Assignment.State.SUBMITTED, submitted_at=now):
        raise Refused("submitted", "This reading is no longer open.", status=410)
    outbox.emit("read.submitted", reading.pk)
    data = {"assignment": str(assignment.pk), "case": assignment.case_id}
    announce([org_group(assignment.organisation_id)], "reading.submitted", data)
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
