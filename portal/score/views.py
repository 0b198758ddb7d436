"""The page of scores."""

from __future__ import annotations

from typing import Any

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
    mine = queries.reader_summary(request.user, organisation)  # type: ignore[arg-type]
    field = queries.field(organisation, request.user)  # type: ignore[arg-type]
    context = {"mine": mine, "field": field, "trend_plot": _trend(mine["trend"])}
    return render(request, "score/scores.html", context)


def _trend(values: list[float]) -> dict[str, Any] | None:
    """The plot of the latest accuracies; nothing to plot below two."""
    if len(values) < 2:
        return None
    return {
        "columns": [{"key": "n", "label": "Reading"}, {"key": "accuracy", "label": "Accuracy", "digits": 2}],
        "rows": [{"n": n, "accuracy": round(value, 4)} for n, value in enumerate(values, 1)],
        "x": "n",
        "series": [{"key": "accuracy", "label": "Accuracy"}],
        "xName": "Reading",
        "yName": "Accuracy",
        "xMin": 1,
        "xMax": len(values),
        "yMin": 0,
        "yMax": 1,
    }
