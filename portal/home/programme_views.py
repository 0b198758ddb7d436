"""Pages of programmes: they gather what every step after `programmes` knows of them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from portal.accounts.models import Membership, User
from portal.consensus.queries import agreement
from portal.core import bulk
from portal.core.errors import Refused
from portal.core.tables import PAGE
from portal.home import page_queries
from portal.home.case_page import case_page
from portal.home.case_table import CASES, PRIORITIES, why
from portal.home.forms import PanelForm, ProtocolForm
from portal.programmes import actions, queries
from portal.programmes.models import Case, PanelMember
from portal.second_read.queries import compared, simulate

FEW = 30  # first readings: with fewer, a single one is seen in the plot


@login_required
def programmes(request: HttpRequest) -> HttpResponse:
    """The programmes a person may see, as rows."""
    rows = queries.programmes(request.user).order_by("-active", "name")
    return render(request, "programmes/programmes.html", {"rows": page_queries.programme_rows(rows)})


@login_required
def programme_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """Progress, agreement, the threshold's simulator, and the cases."""
    programme = queries.access_programme(request.user, slug)
    row = page_queries.programme_rows([programme])[0]
    manages = queries.is_coordinator(request.user, programme.organisation_id)
    if manages:
        rows = Case.objects.filter(programme=programme).select_related("study", "truth", "protocol")
        rows = rows.defer("study__headers").prefetch_related("comparisons")
        page = CASES.page(request.GET, rows, why(request.user))
        if isinstance(page, HttpResponse):
            return page
    context: dict[str, Any] = {
        "programme": programme,
        "row": row,
        "manages": manages,
        "protocol": queries.newest_protocol(programme) if programme.protocols.exists() else None,
        "forecast": page_queries.forecast(programme, row["total"]),
        "agreement": agreement(programme),
    }
    context["progress_plot"] = _progress_plot(context["forecast"], row["total"])
    if manages:
        context["simulator"] = _simulator_plot(programme, context["protocol"])
        context |= {"table": page, "priorities": PRIORITIES}
    return render(request, "programmes/programme.html", context)


@login_required
@require_POST
def cases_priority(request: HttpRequest, slug: str) -> HttpResponse:
    """Set the priority of the chosen cases; `set=<number>:<priority>` sets each to its own, which undoes it."""
    programme = queries.access_programme(request.user, slug, "manage")
    here = reverse("programme_detail", args=[slug])
    try:
        if each := request.POST.getlist("set"):
            wanted = {int(number): int(priority) for number, priority in (pair.split(":") for pair in each[:PAGE])}
        else:
            wanted = dict.fromkeys(map(int, bulk.chosen(request)), int(request.POST.get("do", "")))
    except ValueError:
        messages.error(request, "Nothing was changed.")
        return bulk.back(request, here)
    if not wanted:
        messages.info(request, "Choose at least one case first.")
        return bulk.back(request, here)
    try:
        before = actions.set_priorities(programme, wanted, by=request.user)  # type: ignore[arg-type]
    except Refused as error:
        messages.error(request, error.message)
        return bulk.back(request, here)
    number = len(before)
    words = f"The priority of {number} {'case' if number == 1 else 'cases'} was changed."
    messages.success(request, words if number else "They have this priority already.")
    if before and not each:
        fields = [("set", f"{case}:{priority}") for case, priority in before.items()]
        url = reverse("cases_priority", args=[slug])
        bulk.offer_undo(request, url, [*fields, ("back", request.POST.get("back", ""))])
    return bulk.back(request, here)


def _progress_plot(forecast: dict[str, Any] | None, total: int) -> dict[str, Any] | None:
    if forecast is None or sum(row["settled"] is not None for row in forecast["rows"]) < 2:
        return None
    return {
        "columns": [
            {"key": "day", "label": "Day"},
            {"key": "settled", "label": "Settled"},
            {"key": "forecast", "label": "Forecast"},
        ],
        "rows": forecast["rows"],
        "x": "day",
        "series": [
            {"key": "settled", "label": "Settled", "area": True},
            {"key": "forecast", "label": "Forecast at the pace of two weeks", "dashed": True},
        ],
        "xName": "Day",
        "yName": "Cases",
        "yMin": 0,
        "yMax": total,
    }


def simulator_sentence(number: int) -> str:
    """What the simulator shows, from how many readings, and how little so few of them say."""
    if number == 1:
        return "One first reading so far, and which similarity thresholds would have sent it to a second reader."
    words = (
        f"Share of {number:,} past first readings that each similarity threshold would have sent to a second reader."
    )
    if number >= FEW:
        return words
    return f"{words} So few say little: each moves the line by {100 / number:.0f} percentage points."


def _simulator_plot(programme: Any, protocol: Any) -> dict[str, Any] | None:
    rows = simulate(programme) if protocol is not None else []
    if not rows:
        return None
    at = protocol.similarity_threshold
    return {
        "columns": [
            {"key": "threshold", "label": "Threshold", "digits": 2},
            {"key": "share", "label": "Share of first readings sent on", "digits": 3},
        ],
        "rows": rows,
        "x": "threshold",
        "series": [{"key": "share", "label": "Sent to a second reader", "area": True, "step": "end"}],
        "xName": "Similarity threshold",
        "yName": "Share of first readings",
        "percent": True,
        "xMin": 0,
        "xMax": 1,
        "yMin": 0,
        "yMax": 1,
        "mark": {"x": at, "label": f"now {at:.2f}"},
        "sentence": simulator_sentence(compared(programme)),
        "threshold": at,
        "share": min(rows, key=lambda row: abs(row["threshold"] - at))["share"],
    }


@login_required
def programme_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Rules of new cases, as a new protocol version; and the panel."""
    programme = queries.access_programme(request.user, slug, "manage")
    protocol = get_object_or_404(programme.protocols.order_by("-number")[:1])
    form = ProtocolForm(request.POST or None, instance=protocol)
    if request.method == "POST" and form.is_valid():
        if changes := form.changes():
            made = actions.new_protocol(programme, by=request.user, **changes)  # type: ignore[arg-type]
            messages.success(request, f"Version {made.number} holds for new cases; earlier cases keep theirs.")
        else:
            messages.info(request, "Nothing was changed.")
        return redirect("programme_settings", slug)
    context = {
        "programme": programme,
        "protocol": protocol,
        "form": form,
        "versions": programme.protocols.order_by("-number")[:10],
        "panel": PanelMember.objects.filter(programme=programme)
        .select_related("user")
        .order_by("part", "user__username"),
        "panel_form": PanelForm(users=_people(programme)),
        "simulator": _simulator_plot(programme, protocol),
    }
    return render(request, "programmes/settings.html", context)


def _people(programme: Any) -> Any:
    members = Membership.objects.filter(organisation=programme.organisation_id, active=True)
    return User.objects.filter(Q(pk__in=members.values("user")), is_active=True, is_service=False).order_by("username")


@login_required
@require_POST
def panel_change(request: HttpRequest, slug: str) -> HttpResponse:
    """Put someone on the panel, or change whether they are available."""
    programme = queries.access_programme(request.user, slug, "manage")
    form = PanelForm(request.POST, users=_people(programme))
    if not form.is_valid():
        raise Http404
    data = form.cleaned_data
    try:
        member = actions.set_panel(programme, data["user"], data["part"], data["available"], by=request.user)  # type: ignore[arg-type]
        words = "is on the panel" if member.available else "gets no new cases"
        messages.success(request, f"{member.user} {words}.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("programme_settings", slug)


@login_required
def case_detail(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Why this case stands where it stands: who said what, what the model said, what was made of it."""
    case = queries.access_case(request.user, slug, number)
    return render(request, "programmes/case.html", case_page(request.user, case))  # type: ignore[arg-type]
