"""Compare readings with the model's output and decide what follows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from django.db import transaction

from portal.archive.models import Instance
from portal.core import outbox
from portal.infer.models import Run
from portal.infer.queries import newest_runs, run_summary
from portal.programmes.actions import advance_case
from portal.programmes.models import Assignment, Case, Protocol
from portal.read.actions import alert
from portal.read.models import Mark, Reading
from portal.second_read import rules
from portal.second_read.models import Comparison
from portal.second_read.rules import Place, Said

log = structlog.get_logger(__name__)


def compare_run(run_pk: uuid.UUID | str) -> None:
    """Compare the readings that waited for this run."""
    run = Run.objects.get(pk=run_pk)
    waiting = Reading.objects.filter(case__study=run.study_id, state=Reading.State.SUBMITTED, comparison=None)
    for pk in waiting.values_list("pk", flat=True):
        compare_reading(pk)


def compare_reading(reading_pk: int) -> Comparison | None:
    """Compare one submitted reading and move its case on, in one transaction; twice has the effect of once.

    Returns None while the model is still at work (compare_run comes later).
    """
    with transaction.atomic():
        reading = Reading.objects.select_related("assignment").get(pk=reading_pk)
        rows = Case.objects.select_for_update(of=("self",)).select_related("programme", "protocol", "study")
        case = rows.get(pk=reading.case_id)
        if found := Comparison.objects.filter(reading=reading).first():
            return found
        runs = newest_runs(case.study)
        if any(run.state in Run.AT_WORK for run in runs):
            return None
        comparison = _compare(case, reading, next((r for r in runs if r.state == Run.State.DONE), None))
        if comparison.action == Comparison.Action.ALERT:
            alert(reading)
        _move_on(case, reading, comparison)
    return comparison


def _compare(case: Case, reading: Reading, run: Run | None) -> Comparison:
    protocol = case.protocol
    values: dict[str, Any] = {
        "organisation_id": case.organisation_id,
        "case": case,
        "reading": reading,
        "run": run,
        "rule_id": rules.RULE_ID,
        "rule_version": rules.RULE_VERSION,
        "threshold": protocol.similarity_threshold,
    }
    if run is None:
        words = rules.sentence(_nothing(), _nothing(), None, protocol.similarity_threshold)
        return Comparison.objects.create(**values, action=Comparison.Action.NO_MODEL, sentence=words)
    weights = protocol.similarity_rule.get("weights") or {}
    reader, model = reader_said(reading), model_said(run)
    similarity, parts = rules.compare(reader, model, weights)
    differs = similarity is not None and similarity < protocol.similarity_threshold
    first = reading.assignment.kind == Assignment.Kind.FIRST
    action = Comparison.Action.NONE
    if similarity is None:
        action = Comparison.Action.NO_MODEL
    elif differs and first:
        shows = protocol.trigger == Protocol.Trigger.ALERT
        action = Comparison.Action.ALERT if shows else Comparison.Action.SECOND_READING
    return Comparison.objects.create(
        **values,
        parameters={"weights": {**rules.WEIGHTS, **weights}, "match": rules.MATCH_IOU},
        similarity=similarity,
        parts=[part.to_dict() for part in parts],
        action=action,
        sentence=rules.sentence(reader, model, similarity, protocol.similarity_threshold),
    )


def _nothing() -> Said:
    return Said(None, None, None, (), None)


def _move_on(case: Case, reading: Reading, comparison: Comparison) -> None:
    """The case's next state: after the last first reading second or merging; else straight to merging."""
    if reading.assignment.kind != Assignment.Kind.FIRST:
        if case.state == Case.State.SECOND:
            advance_case(case, Case.State.MERGING)
        outbox.emit("second_read.settled", case.pk)
        return
    if case.state != Case.State.OPEN:
        return
    done = Comparison.objects.filter(case=case, reading__assignment__kind=Assignment.Kind.FIRST)
    if done.count() < case.protocol.readers_per_case:
        return
    advance_case(case, Case.State.COMPARING)
    if done.filter(action=Comparison.Action.SECOND_READING).exists():
        advance_case(case, Case.State.SECOND)
        outbox.emit("second_read.requested", case.pk)
    else:
        advance_case(case, Case.State.MERGING)
        outbox.emit("second_read.settled", case.pk)


def _box(points: Sequence[Sequence[float]], least: float = 8.0) -> rules.Box:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    grow_x, grow_y = max(0.0, least - (x1 - x0)) / 2, max(0.0, least - (y1 - y0)) / 2
    return (x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y)


def places_of(marks: Sequence[Mark]) -> list[Place]:
    """Marks as places with the side of their image; a mark without a rating counts fully."""
    sides = dict(Instance.objects.filter(sop_uid__in={m.sop_uid for m in marks}).values_list("sop_uid", "laterality"))
    return [
        Place(m.sop_uid, _box(m.points_px), 1.0 if m.rating is None else m.rating / 100, sides.get(m.sop_uid, ""))
        for m in marks
    ]


def reader_said(reading: Reading) -> Said:
    """What a reading says."""
    marks = list(reading.marks.exclude(tool=Mark.Tool.LENGTH))
    return rules.said_by_reader(reading.answers, places_of(marks))


def model_said(run: Run) -> Said:
    """What a run says."""
    summary = run_summary(run)
    case = summary["case"] or {}
    lesions = [Place(x["sop_uid"], tuple(x["box"]), float(x["score"])) for x in case.get("lesions", [])]
    return rules.said_by_model(case, summary["images"], lesions)
