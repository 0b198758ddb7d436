"""Versions of a site's own rules: written once, never changed; the newest that is active counts."""

from __future__ import annotations

from typing import Any

import pghistory
from django.db import transaction
from django.db.models import Max

from portal.accounts.models import Organisation, Role
from portal.accounts.queries import require_role
from portal.core.errors import Refused
from portal.deidentify import site_rules
from portal.deidentify.models import SiteRules
from portal.deidentify.table import Row


def write(
    user: Any, organisation_id: int, text: str, note: str, active: bool = True, loosen: bool = False
) -> SiteRules:
    """Write the next version of an organisation's rules.

    active  whether it counts from now on; otherwise it is kept beside the one in force
    loosen  take rules that leave more than the profile does; that this was said is part of the version
    Raises Http404 without the role, Refused for text that is no rules, and for weaker ones without `loosen`.
    """
    require_role(user, organisation_id, Role.PACS_ADMIN)
    rows, faults = site_rules.parse(text)
    if faults:
        raise Refused("bad_rules", "; ".join(faults[:10]), status=422, faults=faults)
    weaker = site_rules.weaker(rows)
    if weaker and not loosen:
        words = f"These rules leave more than the profile does: {', '.join(weaker[:20])}. Say so if that is wanted."
        raise Refused("weaker", words, status=422, weaker=weaker)
    with transaction.atomic(), pghistory.context(by=str(user)):
        Organisation.objects.select_for_update().get(pk=organisation_id)  # numbers are given one after another
        last = SiteRules.objects.filter(organisation=organisation_id).aggregate(last=Max("number"))["last"] or 0
        return SiteRules.objects.create(
            organisation_id=organisation_id,
            number=last + 1,
            text=site_rules.text_of(rows),
            weaker=weaker,
            note=note.strip()[:200],
            active=active,
            by=user,
        )


def in_force(organisation_id: int) -> tuple[int | None, dict[int, Row]]:
    """(number, tag → row) of the version that counts; (None, {}) where none does."""
    return _read(SiteRules.objects.filter(organisation=organisation_id, active=True).order_by("-number").first())


def version(organisation_id: int, number: int | None) -> tuple[int | None, dict[int, Row]]:
    """The same of one version; (None, {}) for None."""
    if number is None:
        return None, {}
    return _read(SiteRules.objects.filter(organisation=organisation_id, number=number).first())


def _read(found: SiteRules | None) -> tuple[int | None, dict[int, Row]]:
    if found is None:
        return None, {}
    cited = f"site rules {found.number}"
    return found.number, {tag: Row(row.action, cited, row.value) for tag, row in rows_of(found).items()}


def rows_of(found: SiteRules) -> dict[int, Row]:
    """Tag → row of a version."""
    return site_rules.parse(found.text)[0]
