"""A function over the scans of a cohort."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from portal.accounts.models import User
from portal.archive.cohorts import queries as cohorts
from portal.archive.models import Cohort, Study
from portal.archive.queries import category, organisations
from portal.check.queries import held
from portal.core.errors import Refused
from portal.functions import rules
from portal.functions.models import FunctionVersion
from portal.functions.queries import functions, may_see
from portal.functions.queries import offer as category_of
from portal.infer.actions import queue_run

AT_ONCE = 1000  # runs queued by one request


def versions(user: Any, cohort: Cohort) -> list[FunctionVersion]:
    """Versions in service that the person may run over the cohort's scans; none without the right to run functions."""
    if cohort.organisation_id not in organisations(user, "run") or not may_see(user):
        return []
    rows = FunctionVersion.objects.filter(function__in=functions(user), state=FunctionVersion.State.IN_SERVICE)
    return [
        version
        for version in rows.select_related("function").order_by("function__name")
        if version.function.organisation_id in (None, cohort.organisation_id)
    ]


def run_over(user: User, cohort: Cohort, version_pk: Any) -> tuple[int, int]:
    """Queue a function version on the complete scans of a cohort that it fits and has not seen as they are now.

    A run is held where the scan's category waits for a decision. Returns (how many were queued, how many scans it does
    not fit or has seen). Raises Refused: 404 without the right.
    """
    version = next((one for one in versions(user, cohort) if str(one.pk) == str(version_pk)), None)
    if version is None:
        raise Refused("not_found", "Not found.", status=404)
    queued = passed = 0
    wanted = category_of(version)
    seen = version.runs.values_list("study_id", "study_revision")
    known = set(seen.filter(study__in=cohorts.members(user, cohort).values("pk")))
    rows = cohorts.members(user, cohort).filter(state=Study.State.SETTLED).defer("headers").order_by("pk")
    for study in rows.iterator(500):
        if queued == AT_ONCE:
            break
        if (study.pk, study.revision) in known or not rules.fits(wanted, *category(study)):
            passed += 1
        elif queue_run(study, version, held(study)) is not None:
            queued += 1
    return queued, passed


def offer(user: Any, cohort: Cohort) -> cohorts.Use | None:
    """What the page of a cohort offers to who may run functions."""
    found = versions(user, cohort)
    if not found:
        return None
    return cohorts.Use(
        "Run a function over its scans",
        "Run",
        reverse("cohort_runs", args=[cohort.pk]),
        "version",
        "Function",
        [(str(version.pk), str(version)) for version in found],
    )
