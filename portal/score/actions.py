"""Score the readings and runs of a settled case."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from portal.consensus import rules as consensus
from portal.consensus.actions import boxes_of, positive_of
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

    Truth by consensus: each reading is measured against the other readings (leave one out), so that nobody is
    measured by their own answer; a lone reading is marked so. The arbiter who made the truth is not scored.
    """
    case = Case.objects.select_for_update(of=("self",)).select_related("protocol", "study").get(pk=case_pk)
    truth = Truth.objects.filter(case=case).first()
    if truth is None or truth.positive is None:
        return []
    places = [Place(m["sop_uid"], tuple(m["box"])) for m in truth.marks]
    rows = Reading.objects.filter(case=case, state=Reading.State.SUBMITTED).select_related("assignment")
    if truth.origin == Truth.Origin.ARBITRATION:
        rows = rows.exclude(assignment__kind=Assignment.Kind.ARBITRATION)
    readings = list(rows.order_by("submitted_at"))
    scores = []
    for reading in readings:
        if truth.origin == Truth.Origin.CONSENSUS:
            others = [r for r in readings if r.pk != reading.pk]
            scores.append(_score_by_others(case, reading, others, truth.positive, places))
        else:
            scores.append(_score(case, reading, truth.positive, places, ReadingScore.Basis(truth.origin)))
    for run in Run.objects.filter(study=case.study, state=Run.State.DONE).select_related("result"):
        _score_run(case, run, truth.positive)
    outbox.emit("score.scored", case.pk)
    return scores


def _score_by_others(
    case: Case, reading: Reading, others: list[Reading], positive: bool, places: list[Place]
) -> ReadingScore:
    if not others:
        return _score(case, reading, positive, places, ReadingScore.Basis.OWN)
    answers = consensus.merge(case.protocol.form, [r.answers for r in others]).answers
    said = positive_of(answers)
    fused = consensus.fuse_boxes([boxes_of(r) for r in others])
    held = [Place(m["sop_uid"], tuple(m["box"])) for m in fused]
    return _score(case, reading, positive if said is None else said, held, ReadingScore.Basis.OTHERS)


def _score(case: Case, reading: Reading, positive: bool, places: list[Place], basis: str) -> ReadingScore:
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
            "basis": basis,
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
