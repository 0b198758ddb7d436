"""Merge the readings of a case, or send them to an arbiter; set truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.archive.scoring import note_biopsy
from portal.consensus import rules, weights
from portal.consensus.models import Consensus, Truth
from portal.core import outbox
from portal.core.errors import Refused
from portal.programmes.actions import advance_case, offer_arbitration
from portal.programmes.models import Assignment, Case
from portal.programmes.queries import is_coordinator
from portal.read.models import Mark, Reading
from portal.second_read.actions import places_of
from portal.second_read.rules import KEY_QUESTIONS

log = structlog.get_logger(__name__)


@transaction.atomic
def merge_case(case_pk: int) -> Consensus | None:
    """Merge what has been read; agreed cases settle, others go to an arbiter. Twice has the effect of once."""
    case = Case.objects.select_for_update(of=("self",)).select_related("programme", "protocol").get(pk=case_pk)
    readings = list(
        Reading.objects.filter(case=case, state=Reading.State.SUBMITTED)
        .select_related("assignment")
        .order_by("submitted_at")
    )
    if case.state == Case.State.ARBITRATION:
        decided = next((r for r in readings if r.assignment.kind == Assignment.Kind.ARBITRATION), None)
        return _arbitrated(case, readings, decided) if decided else None
    if case.state != Case.State.MERGING or not readings:
        return None
    rule, shares = _rule(case, readings)
    merged = rules.merge(case.protocol.form, [r.answers for r in readings], shares)
    agreed = merged.discrepancy <= case.protocol.discrepancy_threshold
    outcome = Consensus.Outcome.AGREED if agreed else Consensus.Outcome.DISCREPANT
    marks = rules.fuse_boxes([boxes_of(r) for r in readings], weights=shares)
    consensus = _keep(case, readings, merged, outcome, marks, rule, shares)
    if agreed:
        _settle(case, Truth.Origin.CONSENSUS, merged.answers, marks, merged.confidence)
    else:
        advance_case(case, Case.State.ARBITRATION)
        offer_arbitration(case, _why(merged))
    return consensus


def _why(merged: rules.Merged) -> str:
    worst = max(merged.parts, key=lambda p: p["discrepancy"], default=None)
    return f"The readers differ: {worst['label'].lower()}." if worst else "The readers differ."


def _rule(case: Case, readings: Sequence[Reading], wanted: str = "") -> tuple[str, list[float] | None]:
    """The rule that applies, and the readers' weights where it asks for them.

    A protocol with a rule that is not known is merged by majority, and the record says so.
    """
    if len(readings) == 1:
        return "single", None
    rule = wanted or case.protocol.consensus_rule.get("id") or "majority"
    if rule not in rules.CHOSEN:
        log.warning("consensus.unknown_rule", case=case.pk, rule=rule)
        rule = "majority"
    if rule == "majority":
        return rule, None
    known = weights.of(case.organisation_id, {r.reader_id for r in readings})
    return rule, [known[r.reader_id] for r in readings]


def boxes_of(reading: Reading) -> list[dict[str, Any]]:
    """Marks of a reading as boxes in image pixels: [{"sop_uid", "frame", "box", "label"}]; lengths are no findings."""
    marks = list(reading.marks.exclude(tool=Mark.Tool.LENGTH))
    return [
        {"sop_uid": p.image, "frame": m.frame, "box": list(p.box), "label": m.label}
        for p, m in zip(places_of(marks), marks, strict=True)
    ]


def _keep(
    case: Case,
    readings: Sequence[Reading],
    merged: rules.Merged,
    outcome: str,
    marks: list[dict[str, Any]],
    rule: str,
    shares: list[float] | None = None,
) -> Consensus:
    parameters: dict[str, Any] = {
        "discrepancy_threshold": case.protocol.discrepancy_threshold,
        "fuse_iou": rules.FUSE_IOU,
    }
    if shares is not None:
        parameters["weights"] = {str(r.pk): round(w, 6) for r, w in zip(readings, shares, strict=True)}
    content = json.dumps([[r.pk, r.answers] for r in readings], sort_keys=True, default=str)
    consensus, _ = Consensus.objects.get_or_create(
        case=case,
        rule_id=rule,
        rule_version=rules.VERSIONS[rule],
        inputs_digest=hashlib.sha256(content.encode()).hexdigest(),
        defaults={
            "organisation_id": case.organisation_id,
            "parameters": parameters,
            "readings": [r.pk for r in readings],
            "answers": merged.answers,
            "marks": marks,
            "parts": merged.parts,
            "discrepancy": merged.discrepancy,
            "confidence": merged.confidence,
            "outcome": outcome,
        },
    )
    return consensus


def _arbitrated(case: Case, readings: Sequence[Reading], decided: Reading) -> Consensus:
    all_of_them = rules.merge(case.protocol.form, [r.answers for r in readings])
    merged = rules.Merged(
        dict(decided.answers), all_of_them.parts, all_of_them.discrepancy, rules.CONFIDENCE["arbitration"]
    )
    marks = [{**box, "support": 1.0} for box in boxes_of(decided)]
    consensus = _keep(case, readings, merged, Consensus.Outcome.ARBITRATED, marks, "arbitration")
    _settle(case, Truth.Origin.ARBITRATION, merged.answers, marks, merged.confidence, decided.reader)
    return consensus


def _settle(
    case: Case,
    origin: str,
    answers: dict[str, Any],
    marks: list[dict[str, Any]],
    confidence: float,
    by: User | None = None,
) -> None:
    if not advance_case(case, Case.State.SETTLED, settled_at=timezone.now()):
        return
    if not Truth.objects.filter(case=case, origin__in=[Truth.Origin.PATHOLOGY, Truth.Origin.PERSON]).exists():
        _write_truth(case, origin, positive_of(answers), answers, marks, confidence, by)
    outbox.emit("consensus.truth_set", case.pk)


def _write_truth(
    case: Case,
    origin: str,
    positive: bool | None,
    answers: dict[str, Any],
    marks: list[dict[str, Any]],
    confidence: float,
    by: User | None,
) -> Truth:
    truth, _ = Truth.objects.update_or_create(
        case=case,
        defaults={
            "organisation_id": case.organisation_id,
            "origin": origin,
            "positive": positive,
            "answers": answers,
            "marks": marks,
            "confidence": confidence,
            "set_by": by,
            "set_at": timezone.now(),
        },
    )
    return truth


def positive_of(answers: dict[str, Any]) -> bool | None:
    """The answer to the key question."""
    return next((answers[q] for q in KEY_QUESTIONS if isinstance(answers.get(q), bool)), None)


@transaction.atomic
def set_truth(user: User, case: Case, positive: bool, origin: str) -> Truth:
    """Set what a case is held to be by pathology or a person's word; a coordinator only.

    Raises Refused for another origin, 404 without the role. Scores are worked out anew.
    """
    if not is_coordinator(user, case.organisation_id):
        raise Refused("not_found", "Not found.", status=404)
    if origin not in {Truth.Origin.PATHOLOGY, Truth.Origin.PERSON}:
        raise Refused("invalid", "Truth is set by pathology or by a person.", status=422)
    old = Truth.objects.filter(case=case).first()
    answers, marks = (old.answers, old.marks) if old else ({}, [])
    truth = _write_truth(case, origin, positive, answers, marks, 1.0, user)
    if origin == Truth.Origin.PATHOLOGY:
        note_biopsy(case.study)
    if case.state == Case.State.SETTLED:
        outbox.emit("consensus.truth_set", case.pk)
    return truth


def preview(case: Case, rule: str) -> rules.Merged:
    """What a rule makes of the readings of a case; nothing is stored, and arbitrations do not vote.

    Raises ValueError for another rule and while there is no reading.
    """
    if rule not in rules.CHOSEN:
        raise ValueError(f"rules are {', '.join(rules.CHOSEN)}")
    rows = Reading.objects.filter(case=case, state=Reading.State.SUBMITTED)
    readings = list(rows.exclude(assignment__kind=Assignment.Kind.ARBITRATION).order_by("submitted_at"))
    _, shares = _rule(case, readings, rule)
    return rules.merge(case.protocol.form, [r.answers for r in readings], shares)
