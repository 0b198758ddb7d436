"""Score the readings and runs of a settled case."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal.consensus.models import Truth
from portal.core import outbox
from portal.infer.models import Run
from portal.programmes.models import Assignment, Case
from portal.read.models import Mark, Reading
from portal.score import rules
from portal.score.models import ReadingScore, RunScore
from portal.second_read.actions import model_said, places_of
from portal.second_read.rules import Place


@transaction.atomic
def score_case(case_pk: int) -> list[ReadingScore]:
    """Score every reading and run of a case against its truth; run again it writes the same rows anew.

    The arbiter's own reading is not scored where it made the truth.
    """
    case = Case.objects.select_related("protocol", "study").get(pk=case_pk)
    truth = Truth.objects.filter(case=case).first()
    if truth is None or truth.positive is None:
        return []
    places = [Place(m["sop_uid"], tuple(m["box"])) for m in truth.marks]
    rows = Reading.objects.filter(case=case, state=Reading.State.SUBMITTED).select_related("assignment")
    if truth.origin == Truth.Origin.ARBITRATION:
        rows = rows.exclude(assignment__kind=Assignment.Kind.ARBITRATION)
    scores = [_score(case, reading, truth.positive, places) for reading in rows]
    for run in Run.objects.filter(study=case.study, state=Run.State.DONE).select_related("result"):
        _score_run(case, run, truth.positive)
    outbox.emit("score.scored", case.pk)
    return scores


def _score(case: Case, reading: Reading, positive: bool, places: list[Place]) -> ReadingScore:
    marks = places_of(list(reading.marks.exclude(tool=Mark.Tool.LENGTH)))
    expected = case.protocol.expected_seconds
    scored = rules.score(reading.answers, positive, marks, places, reading.active_ms / 1000, expected)
    score, _ = ReadingScore.objects.update_or_create(
        reading=reading,
        defaults={
            "organisation_id": case.organisation_id,
            "reader_id": reading.reader_id,
            "category": "/".join(case.study.modalities)[:64],
            "accuracy": scored.accuracy,
            "efficiency": scored.efficiency,
            "parts": scored.parts,
            "rule_id": rules.RULE_ID,
            "rule_version": rules.RULE_VERSION,
            "scored_at": timezone.now(),
        },
    )
    return score


def _score_run(case: Case, run: Run, positive: bool) -> None:
    said = model_said(run)
    if said.call is None:
        return
    rating = said.rating if said.rating is not None else float(said.call)
    RunScore.objects.update_or_create(
        run=run,
        case=case,
        defaults={
            "organisation_id": case.organisation_id,
            "correct": said.call == positive,
            "brier": rules.brier(rating, positive),
            "scored_at": timezone.now(),
        },
    )
