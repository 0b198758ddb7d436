"""Every write of the input check: owing it, storing what it says, passing the study on, deciding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pghistory
import structlog
from django.db import transaction
from django.http import Http404
from django.utils import timezone

from inference.check import CATEGORIES, InputCheck
from portal.accounts.models import User
from portal.archive.actions import file_under
from portal.archive.models import Series, Study
from portal.archive.queries import organisations
from portal.check import package, rules
from portal.check.models import SeriesCheck, StudyCheck
from portal.core import live, outbox
from portal.core.errors import Refused
from portal.ingest.models import Source

log = structlog.get_logger(__name__)
OVERDUE_MINUTES = 15  # a scan waits no longer than this for its check
DECISIONS = {"keep": "kept", "correct": "corrected", "discard": "discarded"}
State = SeriesCheck.State


def begin(study_pk: int) -> StudyCheck:
    """Owe the check of a settled study as it is now, or pass it on unchecked; twice has the effect of once."""
    study = Study.objects.get(pk=study_pk)
    off = package.why_off()
    with transaction.atomic():
        check, new = StudyCheck.objects.get_or_create(
            study=study,
            study_revision=study.revision,
            defaults={
                "organisation_id": study.organisation_id,
                "state": StudyCheck.State.SKIPPED if off else StudyCheck.State.WAITING,
                "words": off,
            },
        )
        if new and off:
            outbox.emit("check.settled", study.pk)
        elif new:
            outbox.emit("check.wanted", check.pk)
    return check


def pass_overdue(minutes: int = OVERDUE_MINUTES, limit: int = 500) -> int:
    """Pass on studies whose check no worker has made in time; it may still be made. Returns how many."""
    before = timezone.now() - timedelta(minutes=minutes)
    rows = StudyCheck.objects.filter(state=StudyCheck.State.WAITING, state_since__lt=before).order_by("state_since")
    return sum(close(check, StudyCheck.State.OVERDUE, "No worker made the check in time.") for check in rows[:limit])


def close(check: StudyCheck, state: str, words: str) -> bool:
    """End a check without a result and pass its study on; False when someone else was faster."""
    with transaction.atomic():
        moved = check.advance(state, words=words[:300])
        if moved:
            log.warning("check.not_made", study=check.study_id, state=state, words=words)
            outbox.emit("check.settled", check.study_id)
    return moved


def store(
    check: StudyCheck,
    series: Sequence[tuple[Series, rules.Said | None, Sequence[InputCheck]]],
    made_with: Mapping[str, str],
) -> bool:
    """Store what was said of each series and pass the study on, whole or not at all; False when it is there already.

    series     (series, what its images say together, what each says); None where no image could be looked at
    made_with  function_id, version, weights_sha256, code_version
    """
    with transaction.atomic():
        study = Study.objects.select_for_update(of=("self",)).select_related("source").get(pk=check.study_id)
        if not check.advance(StudyCheck.State.DONE, words="", **made_with):
            return False
        for one, said, images in series:
            _store_series(check, study, one, said, images)
        outbox.emit("check.settled", study.pk)
    return True


def _store_series(
    check: StudyCheck, study: Study, series: Series, said: rules.Said | None, images: Sequence[InputCheck]
) -> None:
    values: dict[str, Any] = {
        "check_made": check,
        "source_id": study.source_id,
        "verdict": said.verdict if said else SeriesCheck.Verdict.UNSEEN,
        "images": [_image(image) for image in images],
        "checked_at": timezone.now(),
    }
    if said:
        values |= {
            "claimed": said.claim.category or "",
            "claim_words": said.claim.words[:80],
            "found": said.found,
            "probability": said.probabilities[said.found],
            "probabilities": {name: round(p, 4) for name, p in said.probabilities.items()},
            "inverted": said.inverted,
            "rotation": said.rotation,
            "cut_off": said.cut_off,
            "poor": said.poor,
        }
    policy = study.source.on_mismatch if study.source else Source.Mismatch.HOLD
    state = rules.outcome(said.verdict, said.noteworthy, policy, said.found) if said else State.PASSED
    given = said.found if said and state == State.REASSIGNED else ""
    fresh = {"organisation_id": study.organisation_id, "study": study, "state": state, "category": given}
    row, new = SeriesCheck.objects.get_or_create(series=series, defaults={**values, **fresh})
    before = (State.PASSED, "") if new else (row.state, row.category)
    if not new:
        SeriesCheck.objects.filter(pk=row.pk).update(**values)
        row.refresh_from_db()
        if row.state in SeriesCheck.DECIDED:  # a person's word stands
            return
        if row.state == state:
            SeriesCheck.objects.filter(pk=row.pk, state=state).update(category=given)
        else:
            row.advance(state, category=given)
    if before != (state, given):
        _file(series, given)
        _announce(row)


def _image(image: InputCheck) -> dict[str, Any]:
    whole = image.to_dict()
    kept = ("sop_instance_uid", "category", "inverted", "rotation", "cut_off", "poor", "warnings")
    probability = round(image.probabilities[image.category], 4)
    quality = {name: round(value, 4) for name, value in image.quality.items()}
    return {name: whole[name] for name in kept} | {"probability": probability, "quality": quality}


def _file(series: Series, category: str) -> None:
    if category:
        file_under(series, *rules.filed_under(category, series.modality, series.body_part))  # type: ignore[arg-type]
    else:
        file_under(series)


def decide(user: User, row: SeriesCheck, decision: str, category: str = "", note: str = "") -> SeriesCheck:
    """Say what a series is, whatever its header and the check say; runs and cases are planned again after it.

    decision  keep: its header is right; correct: it is of `category`; discard: no function and no reader gets it
    The same decision twice has the effect of once, and a person may think again. Raises Http404 without the right,
    Refused for words that are not known.
    """
    if row.organisation_id not in organisations(user, "category"):
        raise Http404
    if decision not in DECISIONS:
        raise Refused("bad_decision", f"Decisions are {', '.join(DECISIONS)}.", status=422)
    category = category if decision == "correct" else ""
    if decision == "correct" and category not in CATEGORIES:
        raise Refused("bad_category", f"Categories are {', '.join(CATEGORIES)}.", status=422)
    state = DECISIONS[decision]
    with transaction.atomic(), pghistory.context(by=str(user), note=note.strip()[:500]):
        study = Study.objects.select_for_update().get(pk=row.study_id)
        row = SeriesCheck.objects.select_related("series", "study").get(pk=row.pk)
        if (row.state, row.category) == (state, category):
            return row
        values = {"category": category, "decided_by": user, "decided_at": timezone.now(), "note": note.strip()[:500]}
        if not row.advance(state, **values):
            raise Refused("wrong_state", "Someone else has just decided this.")
        if decision == "discard":
            file_under(row.series, set_aside=True)
        else:
            _file(row.series, category)
        if study.state == Study.State.SETTLED:  # else it is checked and passed on when it is complete
            outbox.emit("check.settled", study.pk)
        _announce(row)
    return row


def _announce(row: SeriesCheck) -> None:
    data = {"id": row.pk, "study_uid": row.study.study_uid, "state": row.state}
    live.announce([live.audience_group(row.organisation_id, "doors")], "input.alert", data)
