"""Reads of what PACS administrators may know: who looked into the identity zone, the site's rules, reports."""

from __future__ import annotations

import uuid
from typing import Any

from django.apps import apps
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404

from portal.accounts.models import Role
from portal.accounts.queries import memberships, organisation_ids, require_role
from portal.deidentify.models import SiteRules, TermChange, ZoneLook
from portal.ingest.models import Receipt


def administered(user: Any) -> list[int]:
    """Keys of the organisations whose PACS the user administers."""
    visible = set(organisation_ids(user))
    return [m.organisation_id for m in memberships(user) if m.organisation_id in visible and Role.PACS_ADMIN in m.roles]


def access_zone_look(user: Any, pk: uuid.UUID) -> ZoneLook:
    """One look, of the person who asked. Raises Http404 otherwise."""
    row = ZoneLook.objects.filter(pk=pk, user_id=user.pk, organisation__in=administered(user)).first()
    if row is None:
        raise Http404
    return row


def past_looks(user: Any) -> QuerySet[Any]:
    """Looks into the identity zone as the audit has them, newest first; `shown` says whether one was opened."""
    events = apps.get_model("deidentify", "ZoneLookEvent").objects
    after = events.filter(pgh_obj_id=OuterRef("pgh_obj_id"), opened_at__isnull=False)
    asked = events.filter(pgh_label="insert", organisation__in=administered(user))
    return asked.annotate(shown=Exists(after)).select_related("user").order_by("-pgh_id")


def term_changes(user: Any, organisation_id: int) -> QuerySet[TermChange]:
    """Changes of an organisation's lists, newest first; none for anyone but its PACS administrators."""
    mine = set(administered(user)) & {organisation_id}
    return TermChange.objects.filter(organisation__in=mine).select_related("user").order_by("-at", "-pk")


def access_term_change(user: Any, pk: uuid.UUID) -> TermChange:
    """One change. Raises Http404 when it is missing or someone else's."""
    row = TermChange.objects.filter(organisation__in=administered(user), pk=pk).select_related("user").first()
    if row is None:
        raise Http404
    return row


def site_rules(user: Any, organisation_id: int) -> QuerySet[SiteRules]:
    """Versions of an organisation's own rules, newest first; none for anyone but its PACS administrators."""
    mine = set(administered(user)) & {organisation_id}
    return SiteRules.objects.filter(organisation__in=mine).order_by("-number")


def access_site_rules(user: Any, organisation: Any, number: int) -> SiteRules:
    """One version. Raises Http404 when it is missing or someone else's."""
    require_role(user, organisation, Role.PACS_ADMIN)
    row = site_rules(user, organisation.pk).filter(number=number).select_related("by").first()
    if row is None:
        raise Http404
    return row


def reported(user: Any, organisation_id: int) -> QuerySet[Receipt]:
    """Receipts of an administered organisation that have a report of what was done to them, newest first."""
    mine = set(administered(user)) & {organisation_id}
    rows = Receipt.objects.filter(organisation__in=mine, deidentification__isnull=False)
    return rows.select_related("source", "deidentification").order_by("-received_at", "-pk")
