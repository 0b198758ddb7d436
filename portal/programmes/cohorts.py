"""A cohort's scans as cases of a programme: what a coordinator chooses beside what the programme takes by itself."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from portal.accounts.models import User
from portal.archive.cohorts import queries as cohorts
from portal.archive.models import Cohort, Study
from portal.check.queries import held
from portal.core.errors import Refused
from portal.programmes.actions import make_case, open_if_ready
from portal.programmes.models import Case, Programme
from portal.programmes.queries import is_coordinator, programmes

AT_ONCE = 500  # cases made by one request


def take(user: User, cohort: Cohort, programme: Programme) -> tuple[int, int]:
    """Put the complete scans of a cohort that are not in a programme yet into it, oldest first.

    Scans of which a series waits for a decision are left out, as where a programme takes them by itself.
    Returns (how many were put in, how many are left for another time). Raises Refused: 404 for who does not coordinate
    the programme or where it is another organisation's, 409 for a closed one.
    """
    if cohort.organisation_id != programme.organisation_id or not is_coordinator(user, programme.organisation_id):
        raise Refused("not_found", "Not found.", status=404)
    if not programme.active:
        raise Refused("wrong_state", "This programme is closed.")
    there = Case.objects.filter(programme=programme).values("study")
    rows = cohorts.members(user, cohort).filter(state=Study.State.SETTLED).exclude(pk__in=there)
    made = 0
    for study in rows.defer("headers").order_by("pk")[:AT_ONCE]:
        if not held(study):
            open_if_ready(make_case(programme, study))
            made += 1
    return made, rows.all().count()  # asked anew: what is in it now is no longer among them


def offer(user: Any, cohort: Cohort) -> cohorts.Use | None:
    """What the page of a cohort offers to a coordinator."""
    if not is_coordinator(user, cohort.organisation_id):
        return None
    rows = programmes(user).filter(organisation=cohort.organisation_id, active=True).order_by("name")
    return cohorts.Use(
        "Read its scans in a programme",
        "Put into the programme",
        reverse("cohort_cases", args=[cohort.pk]),
        "programme",
        "Programme",
        [(row.slug, row.name) for row in rows],
    )
