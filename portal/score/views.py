"""The page of scores."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from portal.accounts.models import Role
from portal.score import queries


@login_required
def scores(request: HttpRequest) -> HttpResponse:
    """A reader's own figures beside the anonymous field."""
    if not {Role.READER, Role.COORDINATOR} & set(request.roles):  # type: ignore[attr-defined]
        raise Http404
    organisation = request.organisation  # type: ignore[attr-defined]
    context = {
        "mine": queries.reader_summary(request.user, organisation),  # type: ignore[arg-type]
        "field": queries.field(organisation),
    }
    return render(request, "score/scores.html", context)
