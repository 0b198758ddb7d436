"""Every write of cohorts."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.http import QueryDict
from django.utils import timezone

from portal.accounts.models import Organisation, User
from portal.archive.cohorts import guarded, queries
from portal.archive.models import Cohort, CohortMember
from portal.archive.queries import organisations
from portal.core.errors import Refused

MOST = 200  # cohorts of one person in an organisation
FROZEN = 100_000  # studies of a frozen cohort


def _plain(text: str, longest: int) -> str:
    return " ".join(text.replace("\0", "").split())[:longest]


def _name(given: str) -> str:
    name = _plain(given, 80)
    if not name:
        raise Refused("invalid", "A cohort needs a name.", status=422, fields={"name": "A cohort needs a name."})
    return name


def kept(user: User, organisation: int, query: QueryDict) -> str:
    """The filters of an address that say something, as an address.

    Raises Refused (422) when they are too long, or tell what the person may not know (`guarded`).
    """
    if not guarded.may(user, organisation, query):
        words = "What was said about scans is no filter for those who read them."
        raise Refused("invalid", words, status=422, fields={"query": words})
    plain = QueryDict(mutable=True)
    plain.update(guarded.read(query))  # type: ignore[arg-type]
    text = plain.urlencode()
    if len(text) > 1000:
        raise Refused("invalid", "These filters are too long to be kept.", status=422)
    return text


def _save(cohort: Cohort) -> Cohort:
    try:
        with transaction.atomic():
            cohort.save()
    except IntegrityError:
        words = "You have a cohort of this name already."
        raise Refused("name_taken", words, status=409, fields={"name": words}) from None
    return cohort


def create(
    user: User, organisation: Organisation, name: str, query: QueryDict, *, description: str = "", shared: bool = False
) -> Cohort:
    """Keep a search as a cohort. Raises Refused: 404 without a right to the organisation's scans, 409, 422."""
    if organisation.pk not in organisations(user):
        raise Refused("not_found", "Not found.", status=404)
    if Cohort.objects.filter(owner=user, organisation=organisation).count() >= MOST:
        raise Refused("too_many", f"You have {MOST} cohorts already; remove one first.", status=422)
    return _save(
        Cohort(
            organisation_id=organisation.pk,
            owner=user,
            name=_name(name),
            description=_plain(description, 500),
            query=kept(user, organisation.pk, query),
            shared=shared,
        )
    )


def change(user: User, cohort: Cohort, **wanted: Any) -> Cohort:
    """Change name, description, shared, or the query while it is not frozen.

    wanted  name, description: text; shared: bool; query: QueryDict
    Raises Refused: 404 for who may not, 409 for the query of a frozen one or a name that is taken, 422.
    """
    _may(user, cohort)
    if "name" in wanted:
        cohort.name = _name(wanted["name"])
    if "description" in wanted:
        cohort.description = _plain(wanted["description"], 500)
    if "shared" in wanted:
        cohort.shared = bool(wanted["shared"])
    if "query" in wanted and (text := kept(user, cohort.organisation_id, wanted["query"])) != cohort.query:
        if cohort.frozen:
            raise Refused("frozen", "A frozen cohort keeps its studies; make another from its filters.")
        cohort.query = text
    return _save(cohort)


def _may(user: User, cohort: Cohort) -> None:
    if cohort.organisation_id not in organisations(user) or not queries.may_change(user, cohort):
        raise Refused("not_found", "Not found.", status=404)


@transaction.atomic
def freeze(user: User, cohort: Cohort) -> int:
    """Fix the studies as they are found now; twice has the effect of once. Returns how many there are.

    Raises Refused: 404 for who may not, 422 when there are more than FROZEN.
    """
    _may(user, cohort)
    now = Cohort.objects.select_for_update(no_key=True).get(pk=cohort.pk)
    if not now.frozen:
        found = list(queries.members(user, now).order_by("pk").values_list("pk", flat=True)[: FROZEN + 1])
        if len(found) > FROZEN:
            raise Refused("too_many", f"A frozen cohort has at most {FROZEN:,} studies; narrow the search.", status=422)
        CohortMember.objects.bulk_create((CohortMember(cohort=now, study_id=study) for study in found), batch_size=5000)
        now.frozen_at = timezone.now()
        now.save(update_fields=["frozen_at"])
    cohort.frozen_at = now.frozen_at
    return CohortMember.objects.filter(cohort=now).count()


def remove(user: User, cohort: Cohort) -> None:
    """Remove a cohort; its scans stay. Raises Refused (404) for who may not."""
    _may(user, cohort)
    cohort.delete()
