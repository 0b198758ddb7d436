"""Who may what: memberships, roles and the groups of the live channel."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404

from portal.accounts.models import Membership, Organisation, Role, SavedView, User
from portal.core.live import audience_group, user_group

# Who hears which of an organisation's live events; scans and what is made of them are not for account administrators.
AUDIENCES: dict[str, frozenset[Role]] = {
    "scans": frozenset({Role.READER, Role.COORDINATOR, Role.ENGINEER, Role.PACS_ADMIN, Role.AUDITOR}),
    "output": frozenset({Role.READER, Role.COORDINATOR, Role.ENGINEER, Role.PACS_ADMIN}),
    "doors": frozenset({Role.COORDINATOR, Role.ENGINEER, Role.PACS_ADMIN}),
    "account": frozenset({Role.ACCOUNT_ADMIN}),
}


def memberships(user: Any) -> QuerySet[Membership]:
    """Active memberships of a signed-in user, with their organisations; empty for anyone else.

    Someone who came with a token is, for this request, a member of the token's organisation alone.
    """
    if not getattr(user, "is_authenticated", False) or not user.is_active:
        return Membership.objects.none()
    rows = Membership.objects.filter(user=user, active=True)
    if user.token is not None:
        rows = rows.filter(organisation=user.token.organisation_id)
    return rows.select_related("organisation").order_by("pk")


def organisation_ids(user: Any) -> list[int]:
    """Keys of the organisations whose data the user may see."""
    if (cached := getattr(user, "_organisation_ids", None)) is None:
        cached = list(memberships(user).values_list("organisation_id", flat=True))
        user._organisation_ids = cached
    return list(cached)


def roles(user: Any, organisation: Organisation | int | None) -> set[str]:
    """The user's roles in one organisation."""
    pk = organisation.pk if isinstance(organisation, Organisation) else organisation
    return {role for m in memberships(user) if m.organisation_id == pk for role in m.roles}


def has_role(user: Any, organisation: Organisation | int | None, *wanted: Role) -> bool:
    """Whether the user has one of the wanted roles there."""
    return bool(roles(user, organisation) & set(wanted))


def require_role(user: Any, organisation: Organisation | int | None, *wanted: Role) -> None:
    """Raise Http404 unless the user has one of the wanted roles: forbidden and missing look the same."""
    if not has_role(user, organisation, *wanted):
        raise Http404


def live_groups(user: Any) -> list[str]:
    """Names of the live groups of a user; none for someone who is not signed in or belongs nowhere."""
    mine = list(memberships(user)) if isinstance(user, User) else []
    heard = [
        audience_group(m.organisation_id, name)
        for m in mine
        for name, wanted in AUDIENCES.items()
        if wanted & {*m.roles}
    ]
    return [user_group(user.pk), *heard] if mine else []


def saved_views(user: Any, organisation: Organisation | None, table: str = "") -> QuerySet[SavedView]:
    """The user's own views in an organisation they work in, of one table or of all."""
    pk = organisation.pk if organisation and organisation.pk in organisation_ids(user) else None
    rows = SavedView.objects.filter(user=user.pk, organisation=pk)
    return (rows.filter(table=table) if table else rows).order_by("name")
