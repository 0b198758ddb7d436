"""Reads of the registry."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404

from portal.accounts.models import Membership, Role
from portal.accounts.queries import has_role, organisation_ids
from portal.archive.models import Study
from portal.archive.queries import category
from portal.functions import rules
from portal.functions.models import FunctionVersion, InferenceFunction

HISTORY = 12
READERS = (Role.ENGINEER, Role.COORDINATOR, Role.AUDITOR, Role.PACS_ADMIN)


def choose(study: Study) -> list[FunctionVersion]:
    """The versions in service that fit a study, one for each output type; empty: the case goes to people."""
    rows = FunctionVersion.objects.filter(state=FunctionVersion.State.IN_SERVICE).select_related("function")
    rows = rows.filter(Q(function__organisation=None) | Q(function__organisation=study.organisation_id))
    found = {version.pk: version for version in rows}
    offers = [offer(version) for version in found.values()]
    return [found[key] for key in rules.choose(offers, *category(study))]


def offer(version: FunctionVersion) -> rules.Offer:
    """What the version is for, as the rules take it."""
    function = version.function
    return rules.Offer(version.pk, function.output_type, tuple(function.modalities), tuple(function.body_parts))


def may_see(user: Any) -> bool:
    """Whether the registry is shown to the user."""
    return Membership.objects.filter(
        user=user.pk, active=True, organisation__in=organisation_ids(user), roles__overlap=list(READERS)
    ).exists()


def functions(user: Any) -> QuerySet[InferenceFunction]:
    """Functions offered to all and those of the user's organisations. Raises Http404 without the role."""
    if not may_see(user):
        raise Http404
    own = Q(organisation=None) | Q(organisation__in=organisation_ids(user))
    return InferenceFunction.objects.filter(own).prefetch_related("versions").order_by("name")


def is_engineer(user: Any, function: InferenceFunction) -> bool:
    """Whether the user may register and move the function's versions: an engineer of its owner.

    A function without an owner is the house's: its commands alone move it.
    """
    return function.owner_id is not None and has_role(user, function.owner_id, Role.ENGINEER)


def history(version: FunctionVersion, named: bool = True) -> list[dict[str, Any]]:
    """The states a version went through, newest first: state, when, who, and the note.

    named  False leaves out who it was, for people of other organisations than the owner
    """
    events = version.events.select_related("pgh_context").order_by("-pgh_id")  # type: ignore[attr-defined]
    rows: list[dict[str, Any]] = []
    for event in events[: 4 * HISTORY]:
        context = (event.pgh_context.metadata if event.pgh_context else None) or {}
        rows.append(
            {
                "state": event.state,
                "at": event.pgh_created_at,
                "who": context.get("by", "") if named else "",
                "note": context.get("note", ""),
            }
        )
    # an event that did not change the state is not a step of its life
    steps = [
        row for row, older in zip(rows, [*rows[1:], None], strict=True) if not older or older["state"] != row["state"]
    ]
    return steps[:HISTORY]
