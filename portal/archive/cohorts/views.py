"""Pages of cohorts: the list, making and changing one, and one with what it is made of."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from portal.archive.cohorts import actions, guarded, queries
from portal.archive.models import Cohort
from portal.archive.queries import organisations
from portal.archive.tables import COHORTS, SCANS
from portal.core.errors import Refused


def _here(request: HttpRequest) -> Any:
    """The organisation in which the person works now. Raises Http404 when they may not see its scans."""
    organisation = request.organisation  # type: ignore[attr-defined]
    if not organisation or organisation.pk not in organisations(request.user):
        raise Http404
    return organisation


@login_required
def cohorts(request: HttpRequest) -> HttpResponse:
    """One's own cohorts and those that others of the organisation share."""
    rows = queries.cohorts(request.user).filter(organisation=_here(request))
    page = COHORTS.page(request.GET, rows, _words)
    return page if isinstance(page, HttpResponse) else render(request, "archive/cohorts.html", {"table": page})


def _words(rows: list[Cohort]) -> None:
    for row in rows:
        row.words = guarded.words(QueryDict(row.query))  # type: ignore[attr-defined]


@login_required
def new(request: HttpRequest) -> HttpResponse:
    """Make a cohort; the address may bring the filters of the table of scans."""
    organisation = _here(request)
    if request.method != "POST":
        return _form(request, None, request.GET, {})
    post = request.POST
    try:
        cohort = actions.create(
            request.user, organisation, post.get("name", ""), post,  # type: ignore[arg-type]
            description=post.get("description", ""), shared="shared" in post,
        )  # fmt: skip
    except Refused as error:
        return _form(request, None, post, error)
    messages.success(request, f"{cohort} is kept.")
    return redirect("cohort", cohort.pk)


@login_required
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a cohort."""
    cohort = queries.access_cohort(request.user, pk, "change")
    if request.method != "POST":
        return _form(request, cohort, QueryDict(cohort.query), {})
    post = request.POST
    wanted = {"name": post.get("name", ""), "description": post.get("description", ""), "shared": "shared" in post}
    try:
        actions.change(request.user, cohort, **wanted, **({} if cohort.frozen else {"query": post}))  # type: ignore[arg-type]
    except Refused as error:
        return _form(request, cohort, post, error)
    messages.success(request, f"{cohort} was saved.")
    return redirect("cohort", cohort.pk)


def _form(request: HttpRequest, cohort: Cohort | None, query: QueryDict, error: Any) -> HttpResponse:
    given = request.POST if request.method == "POST" else None
    values = guarded.read(query)
    organisation = cohort.organisation_id if cohort else _here(request).pk
    context = {
        "cohort": cohort,
        "name": given.get("name", "") if given is not None else cohort.name if cohort else "",
        "description": given.get("description", "") if given is not None else cohort.description if cohort else "",
        "shared": "shared" in given if given is not None else bool(cohort and cohort.shared),
        "fields": [
            {"filter": one, "value": values.get(one.key, "")} for one in guarded.offered(request.user, organisation)
        ],
        "error": getattr(error, "message", ""),
    }
    return render(request, "archive/cohort_edit.html", context, status=getattr(error, "status", 200))


@login_required
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One cohort: what it searches for, how many scans it has, what they are made of, and which they are."""
    cohort = queries.access_cohort(request.user, pk)
    rows = queries.members(request.user, cohort).select_related("patient", "source").defer("headers")
    page = SCANS.page(request.GET, rows)
    if isinstance(page, HttpResponse):
        return page
    total, parts = queries.composition(request.user, cohort)
    query = QueryDict(cohort.query)
    # the table offers fewer values than a program may ask for
    opens = guarded.read(query) == {one.key: value for one in SCANS.filters if (value := one.read(query))}
    context = {
        "opens": opens and not cohort.frozen,
        "cohort": cohort,
        "table": page,
        "words": guarded.words(query),
        "total": total,
        "more": total >= queries.LOOKED_AT,
        "parts": parts,
        "may_change": queries.may_change(request.user, cohort),
        "uses": queries.uses(request.user, cohort),
    }
    return render(request, "archive/cohort.html", context)


@login_required
@require_POST
def freeze(request: HttpRequest, pk: int) -> HttpResponse:
    """Fix the scans as they are found now."""
    cohort = queries.access_cohort(request.user, pk, "change")
    try:
        count = actions.freeze(request.user, cohort)  # type: ignore[arg-type]
        messages.success(request, f"{cohort} is frozen to {count} scan{'' if count == 1 else 's'}.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("cohort", cohort.pk)


@login_required
@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a cohort; its scans stay."""
    cohort = queries.access_cohort(request.user, pk, "change")
    actions.remove(request.user, cohort)  # type: ignore[arg-type]
    messages.success(request, f"{cohort} was removed. Its scans stay.")
    return redirect("cohorts")
