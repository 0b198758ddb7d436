"""Pages of the review of pixels: covered lines, and a look at some of them with the decision."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import bulk, letter_cookies
from portal.core.errors import Refused
from portal.deidentify.models import PixelQuestion
from portal.deidentify.pixels import queries, review, tables

DONE = {"keep": "shown again", "cover": "left covered"}


@login_required
def pixel_questions(request: HttpRequest) -> HttpResponse:
    """Lines of text that were covered without being sure; nothing of what they say is on this page."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    page = tables.lines(request.user).page(request.GET, queries.questions(request.user), tables.explain)
    return page if isinstance(page, HttpResponse) else render(request, "deidentify/lines.html", {"table": page})


@login_required
@require_POST
def pixel_decide(request: HttpRequest) -> HttpResponse:
    """Look at the chosen lines, or decide about them together; each is tried on its own."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    rows = [queries.access_question(request.user, key) for key in bulk.chosen(request)]
    do, _, learn = request.POST.get("do", "").partition("-")
    if do in DONE:
        bulk.each(
            request, rows, lambda row: review.decide(request.user, row, do, learn == "learn"), "line", "lines", DONE[do]
        )
        return bulk.back(request, reverse("pixel_questions"))
    try:
        made, key = review.look(request.user, rows)
    except Refused as error:
        messages.info(request, error.message)
        return redirect("pixel_questions")
    answer = redirect("pixel_look", made.pk)
    letter_cookies.hand_over(answer, made.pk, key, reverse("pixel_look", args=[made.pk]))
    return answer


@never_cache
@login_required
def pixel_look(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """The lines that were asked for, with their pictures, for the browser that asked; POST decides about one."""
    made = queries.access_look(request.user, pk)
    if request.method == "POST":
        row = queries.access_question(request.user, request.POST.get("row", ""))
        do, _, learn = request.POST.get("do", "").partition("-")
        try:
            review.decide(request.user, row, do, learn == "learn")
        except Refused as error:
            messages.error(request, f"Nothing was changed: {error.message}")
        return redirect("pixel_look", pk)
    shown: dict[int, dict[str, str]] = {}
    closed = ""
    if made.letter or made.user_id != request.user.pk:
        try:
            shown = review.opened(request.user, made, letter_cookies.held(request, made.pk))
        except Refused as error:
            closed = error.message
    rows: list[Any] = list(queries.questions(request.user).filter(pk__in=made.questions))
    tables.explain(rows)
    for row in rows:
        row.seen = shown.get(row.pk)
        x0, y0, x1, y1 = row.box
        row.upright = y1 - y0 > x1 - x0
    waiting = [row for row in rows if row.state == PixelQuestion.State.OPEN]
    context = {"look": made, "rows": rows, "closed": closed, "first": waiting[0] if waiting else None}
    return render(request, "deidentify/look.html", context)
