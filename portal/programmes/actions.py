"""Every write of programmes: cases, offers, claims, protocol versions, panels."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, Max, OuterRef, Q
from django.utils import timezone

from portal.accounts.models import User
from portal.archive.models import Study
from portal.archive.quality import critical_priority
from portal.archive.queries import category
from portal.check.queries import held
from portal.core.errors import Refused
from portal.core.live import announce, audience_group, user_group
from portal.functions.queries import choose
from portal.infer.models import Run
from portal.programmes import queries, rules, taking
from portal.programmes.models import PART_ROLES, Assignment, Case, PanelMember, Programme, Protocol

OVERDUE_MINUTES = 15  # a case waits no longer than this for a model that is not at work on it
MOST_URGENT = 10
DRAFT_HOURS = 72  # a claim whose time is up is kept so much longer when it holds a draft


def make_cases(study_pk: int) -> list[Case]:
    """Put a settled study into every programme whose cohort it fits; twice has the effect of once.

    A study of which a series waits for a decision is put into none until it is made.
    """
    study = Study.objects.get(pk=study_pk)
    if held(study):  # nobody is given a scan to read of which it is open what it is
        return []
    filed = category(study)
    made = []
    for programme in Programme.objects.filter(organisation=study.organisation_id, active=True):
        if rules.belongs(*filed, programme.modalities, programme.body_parts):
            made.append(make_case(programme, study))
    for case in made:
        open_if_ready(case)
    return made


def make_case(programme: Programme, study: Study) -> Case:
    """A study's case in a programme, with the next number; twice has the effect of once."""
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
    """Open a waiting case when the model is done with it, or no function fits (then people read alone).

    What counts is whether runs are at work, not whether their functions are still those in service: versions come
    and go while a case waits.
    """
    if case.state != Case.State.WAITING:
        return False
    study = Study.objects.get(pk=case.study_id)
    runs = set(Run.objects.filter(study=study, study_revision=study.revision).values_list("state", flat=True))
    # both tasks of a settled study start at once: without any run, that of a fitting function may yet be planned
    if runs & Run.AT_WORK or (not runs and choose(study)):
        return False
    return _open(case)


def open_overdue(minutes: int = OVERDUE_MINUTES) -> int:
    """Open cases that have waited this long for a model that is not at work on them. Returns how many.

    A function may come into service between the planning of runs and the making of cases, and never run on them.
    """
    before = timezone.now() - timedelta(minutes=minutes)
    at_work = Run.objects.filter(study=OuterRef("study"), state__in=Run.AT_WORK)
    due = Case.objects.filter(state=Case.State.WAITING, state_since__lt=before).exclude(Exists(at_work))
    return sum(_open(case) for case in due.select_related("programme", "protocol").order_by("state_since")[:500])


def _open(case: Case) -> bool:
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
            "programme_id": case.programme_id,
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
    announce([audience_group(case.organisation_id, "scans")], "case.changed", data)


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


def hold(assignment: Assignment) -> Assignment:
    """The assignment as it is now, kept from everybody else until the transaction ends."""
    rows = Assignment.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("case__programme", "case__protocol", "case__study").get(pk=assignment.pk)


def _one_claim_at_a_time(user: User) -> None:
    """Two windows of one reader must not pass the quota together.

    Order of locks everywhere: the assignment, then its reader. `claim_next` comes the other way round, but never
    waits for an assignment.
    """
    User.objects.select_for_update(no_key=True).only("pk").get(pk=user.pk)


@transaction.atomic
def claim(user: User, assignment: Assignment) -> Assignment:
    """Take one offered assignment. Raises Refused when it is gone or not for this reader.

    The row's lock decides between two takers, the unique constraint on (case, reader) between two assignments of
    one case.
    """
    now = hold(assignment)
    if now.reader_id == user.pk and now.state == Assignment.State.CLAIMED:
        return now
    _one_claim_at_a_time(user)
    who = queries.reader(user, now.case_id)
    if now.state != Assignment.State.OFFERED or not rules.eligible(who, queries.as_offer(now)):
        raise Refused("not_available", "This reading is no longer to be had.")
    if not _swap(user, now):
        raise Refused("not_available", "Another reader has just taken this reading.")
    return now


def _swap(user: User, assignment: Assignment) -> bool:
    now = timezone.now()
    until = now + timedelta(minutes=assignment.case.protocol.claim_minutes)
    try:
        with transaction.atomic():
            moved = assignment.advance(Assignment.State.CLAIMED, reader=user, claimed_at=now, expires_at=until)
            if moved:
                _announce_taken(assignment)
            return moved
    except IntegrityError:
        return False


def _announce_taken(row: Assignment) -> None:
    data = {"programme": row.case.programme.slug, "assignment": str(row.pk), "kind": row.kind}
    announce([audience_group(row.organisation_id, "scans")], "worklist.changed", data)


def claim_next(user: User, programme: Programme | None = None) -> Assignment | None:
    """The reader's open assignment, else the best that is to be had, claimed; None when nothing is.

    `rules.next_for` as one round trip (`taking`). Rows that others are taking at this moment are passed over, so a
    thousand readers who ask at once do not stand in line for one case.
    """
    row, new = taking.take_next(user, programme.pk if programme else None)
    if row is not None and new:
        _announce_taken(row)
    return row


def release(user: User, assignment: Assignment) -> None:
    """Give a claimed assignment back unread; its draft stays with it until another reader begins."""
    if assignment.reader_id != user.pk or assignment.state != Assignment.State.CLAIMED:
        raise Refused("not_yours", "Only your own open reading can be given back.")
    _give_back(assignment)


def _give_back(assignment: Assignment) -> bool:
    with transaction.atomic():
        moved = assignment.advance(Assignment.State.OFFERED, reader=None, claimed_at=None, expires_at=None)
        if moved:
            Assignment.objects.filter(pk=assignment.pk).update(given_back=F("given_back") + 1)
            _announce_offer(assignment)
    return moved


def keep_claim(assignment: Assignment) -> None:
    """A saved draft renews its claim."""
    until = timezone.now() + timedelta(minutes=assignment.case.protocol.claim_minutes)
    Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.CLAIMED).update(expires_at=until)


@transaction.atomic
def expire_claims() -> int:
    """Give back claims whose time is up; those that hold a draft DRAFT_HOURS later. Returns how many.

    A claim that was opened and never saved holds none. The draft stays with the assignment: who takes it up again
    finds it; when another reader begins, it is only in the history.
    """
    now = timezone.now()
    # reading is of a later step, known here by its relation alone
    empty = Q(reading=None) | Q(reading__revision=0) | ~Q(reading__reader=F("reader"))
    due = Assignment.objects.filter(state=Assignment.State.CLAIMED, expires_at__lt=now)
    due = due.filter(empty | Q(expires_at__lt=now - timedelta(hours=DRAFT_HOURS)))
    keys = list(due.order_by("expires_at").values_list("pk", flat=True)[:500])
    # whoever saves at this moment holds the row, and its time is no longer up
    rows = Assignment.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
    rows = rows.filter(pk__in=keys, state=Assignment.State.CLAIMED, expires_at__lt=now)
    return sum(_give_back(row) for row in rows.select_related("case__programme"))


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


@transaction.atomic
def set_priorities(programme: Programme, wanted: Mapping[int, int], *, by: User | None) -> dict[int, int]:
    """Set the priority of cases by number, and that of their offers; kept in the cases' history.

    wanted  number of the case → priority, 0 (as they come) to 10
    Returns the priorities before of those that changed. Raises Refused without the coordinator's role, for another
    priority, and for a case that is not there or settled.
    """
    _may_manage(by, programme)
    if not all(0 <= priority <= MOST_URGENT for priority in wanted.values()):
        raise Refused("invalid", f"A priority is a number from 0 to {MOST_URGENT}.", status=422)
    rows = programme.cases.select_for_update(no_key=True).filter(number__in=wanted).order_by("pk")
    cases = {case.number: case for case in rows}
    if len(cases) != len(wanted):
        raise Refused("not_found", "Not found.", status=404)
    changed = {n: case.priority for n, case in cases.items() if case.priority != wanted[n]}
    if any(cases[n].state == Case.State.SETTLED for n in changed):
        raise Refused("wrong_state", "A settled case is no longer read; nothing was changed.")
    for priority in set(wanted.values()):
        keys = [cases[n].pk for n in changed if wanted[n] == priority]
        Case.objects.filter(pk__in=keys).update(priority=priority)
        Assignment.objects.filter(case__in=keys, state=Assignment.State.OFFERED).update(priority=priority)
    for n in changed:
        _announce_case(cases[n])
    return changed


@transaction.atomic
def raise_priority(run_pk: uuid.UUID | str) -> int:
    """Raise a scan, its open cases and their offers to the priority of the gravest finding that a run calls present.

    Nothing is ever lowered, and what a person set higher stays. A scan that somebody is still to read without the
    model keeps its place: being early would tell them what it says. Returns how many cases were raised.
    """
    run = Run.objects.select_related("study").get(pk=run_pk)
    blind = (Protocol.Mode.BLINDED, Protocol.Mode.SECOND_READER)
    unread = Case.objects.filter(study=run.study_id, protocol__mode__in=blind).exclude(state=Case.State.SETTLED)
    if unread.exists():
        return 0
    present = [name for image in run.images.all() for name, called in image.present.items() if called]
    wanted = critical_priority(present)
    Study.objects.filter(pk=run.study_id, priority__lt=wanted).update(priority=wanted)
    cases = Case.objects.select_for_update(no_key=True).filter(study=run.study_id, priority__lt=wanted)
    keys = [case.pk for case in cases.exclude(state=Case.State.SETTLED).order_by("pk")]
    Case.objects.filter(pk__in=keys).update(priority=wanted)
    offers = Assignment.objects.filter(case__in=keys, state=Assignment.State.OFFERED, priority__lt=wanted)
    offers.update(priority=wanted)
    return len(keys)
