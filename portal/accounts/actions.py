"""Every write of accounts: tokens, roles, saved views."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.http import QueryDict
from django.utils import timezone

from portal.accounts.authentication import digest
from portal.accounts.models import ApiToken, Membership, Organisation, Role, SavedView, User
from portal.accounts.queries import has_role
from portal.core.errors import Refused
from portal.core.live import announce, user_group
from portal.core.tables import AFTER, FORMAT

VIEWS = 50  # saved views of one table that a person may keep


@transaction.atomic
def invite(
    by: User, organisation: Organisation, username: str, email: str, roles: Sequence[str], display_name: str = ""
) -> tuple[Membership, str]:
    """Make a person and their membership. Returns it and the first password, which is shown once.

    Raises Refused without the right, and when the name is taken.
    """
    if not has_role(by, organisation.pk, Role.ACCOUNT_ADMIN):
        raise Refused("not_found", "Not found.", status=404)
    if User.objects.filter(username__iexact=username).exists():
        raise Refused("name_taken", "That name is taken.")
    password = secrets.token_urlsafe(12)
    user = User.objects.create_user(username=username, email=email, password=password, display_name=display_name)
    wanted = sorted({role for role in roles if role in Role.values})
    return Membership.objects.create(user=user, organisation=organisation, roles=wanted), password


def create_token(user: User, organisation: Organisation, name: str, days: int | None = None) -> tuple[ApiToken, str]:
    """A new token and its text, which is shown this once. Raises Refused for strangers of the organisation."""
    if not Membership.objects.filter(user=user, organisation=organisation, active=True).exists():
        raise Refused("not_found", "Not found.", status=404)
    text = f"ccd_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        user=user,
        organisation=organisation,
        name=name.strip()[:80] or "token",
        digest=digest(text),
        prefix=text[:10],
        expires_at=timezone.now() + timedelta(days=days) if days else None,
    )
    return token, text


def revoke_token(user: User, token: ApiToken) -> None:
    """End a token: its owner, or an account administrator of its organisation."""
    if token.user_id != user.pk and not has_role(user, token.organisation_id, Role.ACCOUNT_ADMIN):
        raise Refused("not_found", "Not found.", status=404)
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())


@transaction.atomic
def set_roles(by: User, membership: Membership, roles: Sequence[str], active: bool) -> Membership:
    """Change what a member may do. Raises Refused without the right, or when nobody could administer any more."""
    if not has_role(by, membership.organisation_id, Role.ACCOUNT_ADMIN):
        raise Refused("not_found", "Not found.", status=404)
    wanted = sorted({role for role in roles if role in Role.values})
    # two administrators who step down at once must not both be told that the other stays
    Organisation.objects.select_for_update(no_key=True).get(pk=membership.organisation_id)
    others = Membership.objects.filter(
        organisation=membership.organisation_id, active=True, roles__contains=[Role.ACCOUNT_ADMIN]
    ).exclude(pk=membership.pk)
    if not others.exists() and (not active or Role.ACCOUNT_ADMIN not in wanted):
        raise Refused("last_admin", "Someone has to stay account administrator.")
    membership.roles, membership.active = wanted, active
    membership.save(update_fields=["roles", "active"])
    announce([user_group(membership.user_id)], "membership.changed", {})  # open connections look again
    return membership


@transaction.atomic
def save_view(user: User, organisation: Organisation | None, table: str, name: str, query: str) -> SavedView:
    """Keep a table's filters, order and columns under a name; a name that is taken gets the new ones.

    query  the address's part after the question mark; the place on the page is left out
    Raises Refused for someone who is no member, without a name, and when there are too many.
    """
    if (
        not organisation or not Membership.objects.filter(user=user, organisation=organisation.pk, active=True).exists()
    ):  # falsy, not None: a request's is lazy
        raise Refused("not_found", "Not found.", status=404)
    words = " ".join(name.replace("\0", "").split())[:60]
    if not words or not re.fullmatch(r"[a-z-]{1,40}", table):
        raise Refused("invalid", "A view needs a name.", status=422)
    kept = QueryDict(query.replace("\0", "")[:2000], mutable=True)
    for key in (AFTER, FORMAT):
        kept.pop(key, None)
    for key in [key for key, values in kept.lists() if not any(values)]:
        kept.pop(key)
    text = kept.urlencode()
    if len(text) > 1000:
        raise Refused("invalid", "These filters are too long to be kept.", status=422)
    kept_now = SavedView.objects.filter(user=user, organisation=organisation, table=table)
    if kept_now.exclude(name=words).count() >= VIEWS:
        raise Refused("too_many", f"There are {VIEWS} views of this table already; remove one first.", status=422)
    values = {"query": text}
    view, _ = SavedView.objects.update_or_create(
        user=user, organisation=organisation, table=table, name=words, defaults=values
    )
    return view


def remove_view(user: User, view: SavedView) -> None:
    """Take a saved view away. Raises Refused for anybody but its owner."""
    if view.user_id != user.pk:
        raise Refused("not_found", "Not found.", status=404)
    view.delete()
