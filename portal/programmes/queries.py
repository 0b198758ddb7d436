"""Reads of programmes: who reads what, and what waits for whom."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.utils import timezone

from portal.accounts.models import Membership, Qualification, Role, User
from portal.accounts.queries import memberships, organisation_ids
from portal.programmes import rules
from portal.programmes.models import PART_ROLES, Assignment, Case, PanelMember, Programme, Protocol
from portal.programmes.rules import Offer, Reader

KINDS = sorted(rules.KIND_ORDER, key=rules.KIND_ORDER.__getitem__)


def newest_protocol(programme: Programme) -> Protocol:
    """The protocol version under which new cases are read. Raises Protocol.DoesNotExist."""
    return programme.protocols.order_by("-number")[:1].get()


def programmes(user: Any) -> QuerySet[Programme]:
    """Programmes of the user's organisations: all for coordinators, engineers and auditors, else own panels."""
    wide = Membership.objects.filter(
        user=user.pk,
        active=True,
        organisation__in=organisation_ids(user),
        roles__overlap=[Role.COORDINATOR, Role.ENGINEER, Role.AUDITOR],
    ).values("organisation")
    own = Q(pk__in=PanelMember.objects.filter(user=user.pk).values("programme"))
    mine = Programme.objects.filter(organisation__in=organisation_ids(user))
    return mine.filter(Q(organisation__in=wide) | own).distinct()


def access_programme(user: Any, slug: str, need: str = "read") -> Programme:
    """The one door to a programme; need="manage" asks for the coordinator's role. Raises Http404."""
    programme = programmes(user).filter(slug=slug).order_by("pk").first()
    if programme is None or (need == "manage" and not is_coordinator(user, programme.organisation_id)):
        raise Http404
    return programme


def is_coordinator(user: Any, organisation_id: int) -> bool:
    """Whether the user coordinates reading in an organisation."""
    return Membership.objects.filter(
        user=user.pk,
        active=True,
        organisation=organisation_id if organisation_id in organisation_ids(user) else None,
        roles__contains=[Role.COORDINATOR],
    ).exists()


def access_case(user: Any, slug: str, number: int) -> Case:
    """A case by its number, for those who manage the programme. Raises Http404."""
    programme = access_programme(user, slug, "manage")
    case = programme.cases.select_related("study", "protocol", "programme").filter(number=number).first()
    if case is None:
        raise Http404
    return case


def reader(user: User, case: int | None = None) -> Reader:
    """What the assignment rules ask about one reader; of the reader's cases, only whether this one is among them."""
    panels = list(
        PanelMember.objects.filter(
            user=user, available=True, programme__active=True, programme__organisation__in=organisation_ids(user)
        ).select_related("programme")
    )
    roles = {m.organisation_id: set(m.roles) for m in memberships(user)}
    panels = [p for p in panels if roles.get(p.programme.organisation_id, set()) & set(PART_ROLES[p.part])]
    valid = Q(valid_until=None) | Q(valid_until__gte=timezone.localdate())
    held = set(Qualification.objects.filter(valid, user=user).values_list("organisation_id", "category"))
    wanted = dict(
        Protocol.objects.filter(programme__in={p.programme_id for p in panels})
        .order_by("programme", "number")
        .values_list("programme_id", "qualification")
    )
    limited = {p.programme_id for p in panels if p.quota is not None}
    claimed = Assignment.objects.filter(reader=user, state=Assignment.State.CLAIMED, case__programme__in=limited)
    counts = dict(claimed.values_list("case__programme").annotate(n=Count("pk"))) if limited else {}
    full = {p.programme_id for p in panels if p.quota is not None and counts.get(p.programme_id, 0) >= p.quota}
    qualified = {
        p.programme_id
        for p in panels
        if not wanted.get(p.programme_id) or (p.programme.organisation_id, wanted[p.programme_id]) in held
    }
    mine = Assignment.objects.filter(reader=user, case=case).exclude(state=Assignment.State.CANCELLED)
    return Reader(
        key=user.pk,
        parts=frozenset((p.programme_id, p.part) for p in panels),
        qualified=frozenset(qualified),
        cases=frozenset(mine.values_list("case_id", flat=True)) if case is not None else frozenset(),
        full=frozenset(full),
        organisations=frozenset(p.programme.organisation_id for p in panels),
    )


def takeable(who: Reader, kind: str, programme: int | None = None) -> QuerySet[Assignment]:
    """Offers of one kind that the reader may take, the best first: `rules.next_for` as a query, for any queue length.

    A test holds the two to the same answer. The partial index on offered assignments carries the order.
    """
    wanted = rules.open_programmes(who, kind)
    if programme is not None:
        wanted &= {programme}
    had = Assignment.objects.filter(case=OuterRef("case"), reader=who.key).exclude(state=Assignment.State.CANCELLED)
    return (
        Assignment.objects.filter(state=Assignment.State.OFFERED, kind=kind)
        .filter(organisation__in=who.organisations, case__programme__in=wanted)
        .filter(Q(reader=who.key) | Q(~Exists(had), reader=None))
        .order_by("-priority", "created_at", "pk")
    )


def as_offer(row: Assignment) -> Offer:
    """An assignment as the rules take it."""
    age = (timezone.now() - row.created_at).total_seconds()
    return Offer(str(row.pk), row.kind, row.case_id, row.case.programme_id, row.priority, age, row.reader_id)


def with_part_role(part: str, organisation_id: int) -> QuerySet[User]:
    """People, not service accounts, whose roles in the organisation let them take a part of a panel."""
    members = Membership.objects.filter(
        organisation=organisation_id, active=True, roles__overlap=list(PART_ROLES.get(part, ()))
    )
    return User.objects.filter(pk__in=members.values("user"), is_active=True, is_service=False)


def may_be(user: User, part: str, organisation_id: int) -> bool:
    """Whether the user may take a part of a panel in the organisation."""
    return with_part_role(part, organisation_id).filter(pk=user.pk).exists()


def panel_users(programme: Programme, part: str) -> QuerySet[User]:
    """The available members of a panel with one part, who still have its role."""
    here = PanelMember.objects.filter(programme=programme, part=part, available=True)
    return with_part_role(part, programme.organisation_id).filter(pk__in=here.values("user"))
