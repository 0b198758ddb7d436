"""The reading room's pages, and the worklist."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from portal.archive.queries import access_study
from portal.core.errors import Refused
from portal.programmes.actions import claim_next
from portal.programmes.models import Assignment
from portal.read import actions, queries, tables


def _page(request: HttpRequest, mode: str, assignment: Any, study_uid: str) -> HttpResponse:
    page = {
        "mode": mode,
        "assignment": str(assignment) if assignment else None,
        "study_uid": study_uid,
        "user": {"name": str(request.user)},
    }
    return render(request, "read/viewer.html", {"page": page})


@login_required
@ensure_csrf_cookie
def read(request: HttpRequest, assignment: Any) -> HttpResponse:
    """The reading room for one assignment; opening an offered one takes it."""
    row = queries.access_assignment(request.user, assignment)
    try:
        actions.start(request.user, row)  # type: ignore[arg-type]
    except Refused:
        return redirect("worklist")
    return _page(request, "read", row.pk, row.case.study.study_uid)


@login_required
@ensure_csrf_cookie
def view_study(request: HttpRequest, study_uid: str) -> HttpResponse:
    """The viewer without an assignment."""
    return _page(request, "view", None, access_study(request.user, study_uid).study_uid)


@login_required
def worklist(request: HttpRequest) -> HttpResponse:
    """What waits for the reader; the list renews itself when something arrives."""
    user: Any = request.user
    table = tables.worklist(user)
    page = table.listed(request.GET, queries.worklist(user, where=table.where(request.GET)), _links)
    if isinstance(page, HttpResponse):
        return page
    # the next case is the next of all, whatever the table shows
    first = page.rows[:1] if not page.filtered and not page.later else queries.worklist(user, 1)
    context = {
        "table": page,
        "items": [queries.assignment_json(row) for row in first],
        "done_today": queries.done_today(user),
    }
    return render(request, "programmes/worklist.html", context)


def _links(rows: list[Assignment]) -> None:
    for row in rows:
        row.line = queries.assignment_json(row)  # type: ignore[attr-defined]


@login_required
@require_POST
def next_case(request: HttpRequest) -> HttpResponse:
    """Take the next case and open it."""
    row = claim_next(request.user)  # type: ignore[arg-type]
    return redirect("read", row.pk) if row else redirect("worklist")
