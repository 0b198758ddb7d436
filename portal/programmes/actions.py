"""Every write of programmes: cases, offers, claims, protocol versions, panels."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from portal.accounts.models import User
from portal.archive.models import Study
from portal.core.errors import Refused
from portal.core.live import announce, org_group, user_group
from portal.functions.queries import choose
from portal.infer.models import Run
from portal.programmes import queries, rules
from portal.programmes.models import PART_ROLES, Assignment, Case, PanelMember, Programme, Protocol

SCAN_AHEAD = 200


def make_cases(study_pk: int) -> list[Case]:
    """Put a settled study into every programme whose cohort it fits; twice has the effect of once."""
    study = Study.objects.get(pk=study_pk)
    made = []
    for programme in Programme.objects.filter(organisation=study.organisation_id, active=True):
        if rules.belongs(study.modalities, study.body_part, programme.modalities, programme.body_parts):
            made.append(_make_case(programme, study))
    for case in made:
        open_if_ready(case)
    return made


def _make_case(programme: Programme, study: Study) -> Case:
    with transaction.atomic():
        Programme.objects.select_for_update().get(pk=programme.pk)  # numbers have no gaps and no doubles
        last = programme.cases.aggregate(last=Max("number"))["last"] or 0
        case, _ = Case.objects.get_or_create(
            programme=programme,
            study=study,
            defaults={
                "organisation_id": programme.organisation_id,
                "protocol": queries.newest_protocol(programme),
                "number": last + 1,
                "priority": study.priority,
                "state": Case.State.WAITING,
            },
        )
    return case


def open_cases(run_pk: uuid.UUID | str) -> None:
    """Open the cases of a run's study once no fitting function is still at work."""
    run = Run.objects.get(pk=run_pk)
    for case in Case.objects.filter(study=run.study_id, state=Case.State.WAITING):
        open_if_ready(case)


def open_if_ready(case: Case) -> bool:
    """Open a waiting case when the model is done with it, or no function fits (then people read alone)."""
    if case.state != Case.State.WAITING:
        return False
    study = Study.objects.get(pk=case.study_id)
    for version in choose(study):
        run = Run.objects.filter(study=study, version=version).order_by("-study_revision").first()
        if run is None or run.state in {Run.State.QUEUED, Run.State.RUNNING}:
            return False
    with transaction.atomic():
        if not case.advance(Case.State.OPEN):
            return False
        for slot in range(1, case.protocol.readers_per_case + 1):
            _offer(case, Assignment.Kind.FIRST, slot, "A new case of this programme.")
        _announce_case(case)
    return True


def _offer(case: Case, kind: str, slot: int, why: str, reader: User | None = None) -> Assignment:
    """One assignment to be had; its panel hears of it."""
    assignment, new = Assignment.objects.get_or_create(
        case=case,
        kind=kind,
        slot=slot,
        defaults={
            "organisation_id": case.organisation_id,
            "state": Assignment.State.OFFERED,
            "why": why[:300],
            "priority": case.priority,
            "reader": reader,
        },
    )
    if new:
        _announce_offer(assignment)
    return assignment


def _announce_offer(assignment: Assignment) -> None:
    case = assignment.case
    part = PanelMember.Part.ARBITER if assignment.kind == Assignment.Kind.ARBITRATION else PanelMember.Part.READER
    had = Assignment.objects.filter(case=case).exclude(reader=None).values("reader")
    users = queries.panel_users(case.programme, part).exclude(pk__in=had)
    data = {"programme": case.programme.slug, "assignment": str(assignment.pk), "kind": assignment.kind}
    announce([user_group(user.pk) for user in users], "worklist.changed", data)


def _announce_case(case: Case) -> None:
    data = {"case": case.pk, "programme": case.programme.slug, "state": case.state}
    announce([org_group(case.organisation_id)], "case.changed", data)


def advance_case(case: Case, after: str, **fields: Any) -> bool:
    """Move a case along its table and tell the browsers."""
    with transaction.atomic():
        moved = case.advance(after, **fields)
        if moved:
            _announce_case(case)
    return moved


@transaction.atomic
def offer_second(case_pk: int) -> Assignment | None:
    """Offer an independent second reading of a case; twice has the effect of once."""
    case = Case.objects.select_related("programme").get(pk=case_pk)
    if case.state != Case.State.SECOND:
        return None
    return _offer(case, Assignment.Kind.SECOND, 1, "The first reading and the model differ.")


@transaction.atomic
def offer_arbitration(case: Case, why: str) -> Assignment:
    """Offer the decision of a case to an arbiter."""
    return _offer(case, Assignment.Kind.ARBITRATION, 1, why)


def claim(user: User, assignment: Assignment) -> Assignment:
    """Take one offered assignment. Raises Refused when it is gone or not for this reader.

    The compare-and-swap decides between two takers; the unique constraint on (case, reader) between two
    assignments of one case.
    """
    if assignment.reader_id == user.pk and assignment.state == Assignment.State.CLAIMED:
        return assignment
    offer = queries.as_offer(assignment)
    if assignment.state != Assignment.State.OFFERED or not rules.eligible(queries.reader(user), offer):
        raise Refused("not_available", "This reading is no longer to be had.")
    if not _swap(user, assignment):
        raise Refused("not_available", "Another reader has just taken this reading.")
    return assignment


def _swap(user: User, assignment: Assignment) -> bool:
    now = timezone.now()
    until = now + timedelta(minutes=assignment.case.protocol.claim_minutes)
    try:
        with transaction.atomic():
            moved = assignment.advance(Assignment.State.CLAIMED, reader=user, claimed_at=now, expires_at=until)
            if moved:
                data = {
                    "programme": assignment.case.programme.slug,
                    "assignment": str(assignment.pk),
                    "kind": assignment.kind,
                }
                announce([org_group(assignment.organisation_id)], "worklist.changed", data)
            return moved
    except IntegrityError:
        return False


def claim_next(user: User, programme: Programme | None = None) -> Assignment | None:
    """The reader's open assignment, else the best that is to be had, claimed; None when nothing is."""
    mine = Assignment.objects.filter(reader=user, state=Assignment.State.CLAIMED)
    if programme:
        mine = mine.filter(case__programme=programme)
    if current := mine.select_related("case__programme").order_by("claimed_at").first():
        return current
    who = queries.reader(user)
    panels = {pk for pk, _ in who.parts if programme is None or pk == programme.pk}
    rows = {str(row.pk): row for row in queries.offered(panels)[:SCAN_AHEAD]}
    for offer in rules.next_for(who, map(queries.as_offer, rows.values())):
        if _swap(user, rows[offer.key]):
            return rows[offer.key]
    return None


def release(user: User, assignment: Assignment) -> None:
    """Give a claimed assignment back unread; its draft stays with it."""
    if assignment.reader_id != user.pk or assignment.state != Assignment.State.CLAIMED:
        raise Refused("not_yours", "Only your own open reading can be given back.")
    _give_back(assignment)


def _give_back(assignment: Assignment) -> bool:
    with transaction.atomic():
        moved = assignment.advance(Assignment.State.OFFERED, reader=None, claimed_at=None, expires_at=None)
        if moved:
            _announce_offer(assignment)
    return moved


def expire_claims() -> int:
    """Give back claims whose time is up and that hold no draft. Returns how many."""
    due = Assignment.objects.filter(state=Assignment.State.CLAIMED, expires_at__lt=timezone.now(), reading=None)
    return sum(_give_back(row) for row in due.select_related("case__programme")[:500])


def _may_manage(by: User | None, programme: Programme) -> None:
    if by is not None and not queries.is_coordinator(by, programme.organisation_id):
        raise Refused("not_found", "Not found.", status=404)


@transaction.atomic
def new_protocol(programme: Programme, *, by: User | None, **changes: Any) -> Protocol:
    """A new protocol version with some values changed; cases that exist keep theirs.

    by  the coordinator who asks; None: the portal's own set-up
    Raises Refused without the coordinator's role in the programme's organisation.
    """
    _may_manage(by, programme)
    Programme.objects.select_for_update().get(pk=programme.pk)
    old = programme.protocols.order_by("-number").first()
    values = {
        f.attname: getattr(old, f.attname)
        for f in Protocol._meta.concrete_fields
        if old and f.name not in {"id", "number", "created_at", "programme"}
    }
    number = (old.number if old else 0) + 1
    return Protocol.objects.create(programme=programme, number=number, **{**values, **changes})


@transaction.atomic
def set_panel(programme: Programme, user: User, part: str, available: bool = True, *, by: User | None) -> PanelMember:
    """Put a user on the panel, or change whether they are available.

    by  the coordinator who asks; None: the portal's own set-up
    Raises Refused without the coordinator's role in the programme's organisation, for an unknown part, and when
    someone who has not the part's role there is to be made available: a person who left can still be taken off.
    """
    _may_manage(by, programme)
    if part not in PART_ROLES:
        raise Refused("invalid", "The panel has no such part.", status=422)
    if available and not queries.may_be(user, part, programme.organisation_id):
        words = f"{user} is no member with the role that this part asks for."
        raise Refused("not_a_member", words, status=422)
    member, _ = PanelMember.objects.update_or_create(
        programme=programme, user=user, part=part, defaults={"available": available}
    )
    return member
