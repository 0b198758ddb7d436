"""Which work items a person may see, one of them, and searches among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When
from django.http import Http404

from portal.accounts.models import Role, User
from portal.accounts.queries import memberships
from portal.core.errors import Refused
from portal.programmes import queries as programmes
from portal.programmes.models import PART_ROLES, Assignment, PanelMember
from portal.programmes.rules import KIND_ORDER, part_for
from portal.read.models import WorkitemClaim, WorkitemSubscription
from portal.read.rules import ALL
from portal.read.sight import sights
from portal.read.workitems import matching, rules
from portal.read.workitems.dataset import Json, Workitem, images_of, workitem

State = Assignment.State
RELATED = ("case__programme", "case__study__patient", "case__protocol", "organisation", "reader")


def _where(user: User, *roles: Role) -> list[int]:
    """Organisations in which the user has one of the roles."""
    return [m.organisation_id for m in memberships(user) if {*m.roles} & set(roles)]


def _own(user: User) -> Q:
    """The user's own, wherever they still have a role for it."""
    found = matching.NEVER
    for kind in KIND_ORDER:
        found |= Q(kind=kind, organisation__in=_where(user, *PART_ROLES[part_for(kind)]))
    return Q(reader=user) & ~Q(state=State.OFFERED) & found


def _coordinated(user: User) -> Q:
    """All of a programme for who coordinates it and does not read in it: readers see no more than their own."""
    reads = PanelMember.objects.filter(user=user, part=PanelMember.Part.READER).values("programme")
    read = _had(user).exclude(kind=Assignment.Kind.ARBITRATION)
    return Q(organisation__in=_where(user, Role.COORDINATOR)) & ~Q(programme__in=reads) & Q(~Exists(read))


def _had(user: User) -> QuerySet[Assignment]:
    """The user's assignments of the case that a query is about."""
    return Assignment.objects.filter(case=OuterRef("case"), reader=user).exclude(state=State.CANCELLED)


def visible(user: User) -> QuerySet[Assignment]:
    """Assignments that the user may see as work items.

    Their own; what is on offer to them; what another reader of their panel has in hand, without a name, so that a
    second attempt is told that it comes too late. Of a case that they hold or held they see nothing but their own:
    a second reading of it would tell them that they and the model differ.
    """
    who = programmes.reader(user)
    found = _own(user) | _coordinated(user)
    for kind in KIND_ORDER:
        offers = programmes.takeable(who, kind).order_by()
        found |= Q(pk__in=offers.values("pk"))
        panels = [programme for programme, part in who.parts if part == part_for(kind)]
        found |= Q(state=State.CLAIMED, kind=kind, programme__in=panels) & Q(~Exists(_had(user)))
    return Assignment.objects.filter(found)


def _ended(user: User) -> QuerySet[WorkitemClaim]:
    """The user's own claims by UPS-RS that were given back or ran out."""
    organisations = _where(user, Role.READER, Role.COORDINATOR)
    rows = WorkitemClaim.objects.filter(reader=user, assignment__organisation__in=organisations)
    return rows.select_related("reader", *(f"assignment__{name}" for name in RELATED)).order_by("-claimed_at", "pk")


def _ordered(rows: QuerySet[Assignment], user: User) -> QuerySet[Assignment]:
    """In hand, on offer, over; within these as they should be read."""
    mine = When(state=State.CLAIMED, reader=user, then=Value(0))
    states = (When(state=state, then=Value(n)) for n, state in enumerate((State.OFFERED, State.CLAIMED), 1))
    kinds = (When(kind=kind, then=Value(rank)) for kind, rank in KIND_ORDER.items())
    return rows.select_related(*RELATED).order_by(
        Case(mine, *states, default=Value(3), output_field=IntegerField()),
        Case(*kinds, default=Value(9), output_field=IntegerField()),
        "-priority",
        "created_at",
        "pk",
    )


def _seen(user: User, rows: Iterable[Assignment]) -> list[Workitem]:
    """The current rounds of assignments as the user may see them."""
    listed = list(rows)
    claims = {(c.assignment_id, c.round): c for c in WorkitemClaim.objects.filter(assignment__in=listed)}
    coordinated = set(
        Assignment.objects.filter(_coordinated(user), pk__in=[row.pk for row in listed]).values_list("pk", flat=True)
    )
    may = sights(user, [row.case for row in listed])
    found = []
    for row in listed:
        named = row.pk in coordinated and may[row.case_id] == ALL
        claim = claims.get((row.pk, row.given_back))
        found.append(Workitem(row, row.given_back, row.reader_id == user.pk, named, claim))
    return found


def search(user: User, keys: Mapping[str, str], offset: int, limit: int) -> tuple[list[Json], bool]:
    """(work items that match, whether there are more): current ones, then those that the user gave back.

    keys  as of `matching.wanted`
    Raises Refused (400).
    """
    rows = _ordered(visible(user).filter(matching.where(keys)), user)
    over = _ended(user).filter(matching.where(keys, ended=True))
    wanted = limit + 1
    found = _seen(user, rows[offset : offset + wanted])
    if len(found) < wanted:
        first = max(0, offset - rows.order_by().count()) if not found else 0
        found += [_past(claim) for claim in over[first : first + wanted - len(found)]]
    return datasets(islice(found, limit)), len(found) > limit


def datasets(items: Iterable[Workitem]) -> list[Json]:
    """Work items as DICOM JSON."""
    listed = list(items)
    images = images_of({item.row.case.study_id for item in listed})
    return [workitem(item, images.get(item.row.case.study_id, {})) for item in listed]


def _past(claim: WorkitemClaim) -> Workitem:
    return Workitem(claim.assignment, claim.round, mine=True, named=False, claim=claim)


def access_workitem(user: Any, uid: str) -> Workitem:
    """The one door to a work item. Raises Http404; Refused (410) for a round that was given back by another, unless the
    person's own subscription locks it.
    """
    place = rules.place_of(uid)
    if place is None or not isinstance(user, User):
        raise Http404
    if past := next((c for c in _ended(user).filter(assignment__pk__range=place) if _past(c).uid == uid), None):
        item = _past(past)
        if item.over:
            return item
    row = visible(user).filter(pk__range=place).select_related(*RELATED).first()
    if row is None:
        raise Http404
    number = rules.round_of(uid, row.pk)
    if number > row.given_back:
        raise Http404
    if number < row.given_back:
        if _locked(user, row, number):
            return Workitem(row, number, mine=False, named=False)
        words = "This work item was given back; the reading is on offer as another."
        raise Refused("gone", words, status=410)
    return _seen(user, [row])[0]


def _locked(user: User, row: Assignment, number: int) -> bool:
    """Whether a subscription of the user keeps a round that is over (Deletion Lock, PS3.4 CC.2.3.1)."""
    asked = Q(assignment=row, round=number) | Q(assignment=None, filter={})
    return WorkitemSubscription.objects.filter(asked, subscriber__user=user, locked=True).exists()


def rounds(user: User, wanted: Collection[tuple[Any, int]]) -> dict[tuple[Any, int], Workitem]:
    """Those of (assignment, number) that the user may see, as `access_workitem` lets them see each.

    Of what was given back by another it is told that it is over, and nothing else.
    """
    keys = {pk for pk, _ in wanted}
    found: dict[tuple[Any, int], Workitem] = {}
    rows = list(visible(user).filter(pk__in=keys).select_related(*RELATED))
    for item in _seen(user, rows):
        found[(item.row.pk, item.number)] = item
    for row in rows:
        for number in {n for pk, n in wanted if pk == row.pk and n < row.given_back}:
            found[(row.pk, number)] = Workitem(row, number, mine=False, named=False)
    for claim in _ended(user).filter(assignment__in=keys):
        if (item := _past(claim)).over:
            found[(item.row.pk, item.number)] = item
    return {place: item for place, item in found.items() if place in wanted}
