"""Pages of the peers, for PACS administrators."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core.errors import Refused
from portal.peers import actions, queries
from portal.peers.forms import PeerForm, StandingForm
from portal.peers.models import Fetch, Peer, StandingQuery


def _mine(request: HttpRequest, rows: Any) -> Any:
    """Rows of the organisation that is worked in. Raises Http404 for anyone but its PACS administrators."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    return rows.filter(organisation=organisation)


@login_required
def peers(request: HttpRequest) -> HttpResponse:
    """Every peer, what it may do, and whether it answered when it was last asked."""
    rows = _mine(request, queries.peers(request.user))
    commitments = _mine(request, queries.commitments(request.user))[:20]
    return render(request, "peers/peers.html", {"rows": rows, "commitments": commitments})


@login_required
def peer_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Enter or change a peer."""
    rows = _mine(request, queries.peers(request.user))
    row = get_object_or_404(rows, pk=pk) if pk else None
    form = PeerForm(request.POST or None, instance=row, organisation=request.organisation)  # type: ignore[attr-defined]
    if request.method == "POST" and form.is_valid():
        try:
            actions.save_peer(request.user, form.save(commit=False), form.cleaned_data["privacy"])
            messages.success(request, "The peer was saved.")
            return redirect("peers")
        except Refused as error:
            form.add_error(None, error.message)
    shown = Peer.objects.get(pk=pk) if pk else None
    return render(request, "peers/peer_edit.html", {"form": form, "peer": shown})


@login_required
@require_POST
def peer_echo(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask a peer whether it is there; the answer appears on the page by itself."""
    peer = get_object_or_404(_mine(request, queries.peers(request.user)), pk=pk)
    actions.ask_echo(request.user, peer)
    messages.info(request, f"{peer} is being asked.")
    return redirect("peers")


@login_required
def fetches(request: HttpRequest) -> HttpResponse:
    """Studies on their way from peers, newest first, each with how far it is."""
    rows = list(_mine(request, queries.fetches(request.user))[:100])
    for row in rows:
        row.total = row.remaining + row.completed + row.failed
        row.parts = [
            {"tone": "agreed", "value": row.completed, "word": "Fetched"},
            {"tone": "failed", "value": row.failed, "word": "Failed"},
        ]
        row.stoppable = row.state in {Fetch.State.QUEUED, Fetch.State.RUNNING}
        row.repeatable = row.state in {Fetch.State.FAILED, Fetch.State.CANCELLED}
    return render(request, "peers/fetches.html", {"rows": rows})


@login_required
@require_POST
def fetch_decide(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Cancel a fetch, or try it again."""
    row = get_object_or_404(_mine(request, queries.fetches(request.user)), pk=pk)
    try:
        if request.POST.get("do") == "cancel":
            actions.cancel_fetch(request.user, row)
            messages.success(request, "The fetch is being stopped; what came in stays.")
        else:
            actions.retry_fetch(request.user, row)
            messages.success(request, "The study is fetched again.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("fetches")


@login_required
def standing(request: HttpRequest) -> HttpResponse:
    """Searches that are repeated, and what they found the last time."""
    rows = _mine(request, queries.standing(request.user))
    return render(request, "peers/standing.html", {"rows": rows})


@login_required
def standing_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Enter or change a standing query."""
    organisation = request.organisation  # type: ignore[attr-defined]
    row = get_object_or_404(_mine(request, queries.standing(request.user)), pk=pk) if pk else None
    require_role(request.user, organisation, Role.PACS_ADMIN)
    form = StandingForm(request.POST or None, instance=row, organisation=organisation)
    if request.method == "POST" and form.is_valid():
        try:
            actions.save_standing(request.user, form.save(commit=False))
            messages.success(request, "The standing query was saved; it runs in a moment.")
            return redirect("standing_queries")
        except Refused as error:
            form.add_error(None, error.message)
    shown = StandingQuery.objects.get(pk=pk) if pk else None
    return render(request, "peers/standing_edit.html", {"form": form, "standing": shown})


@login_required
@require_POST
def standing_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Run a standing query now."""
    row = get_object_or_404(_mine(request, queries.standing(request.user)), pk=pk)
    actions.run_standing_now(request.user, row)
    messages.info(request, f"{row} is running.")
    return redirect("standing_queries")


HOURS = {"1": "1 hour", "6": "6 hours", "24": "1 day", "168": "7 days"}


@login_required
def throughput(request: HttpRequest) -> HttpResponse:
    """Instances and bytes by door over time, and what waits."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    hours = request.GET.get("hours", "6")
    hours = hours if hours in HOURS else "6"
    plots = queries.throughput_plots(request.organisation, int(hours))  # type: ignore[attr-defined]
    waiting = queries.waiting(request.organisation)  # type: ignore[attr-defined]
    context = {"plots": plots, "hours": hours, "choices": HOURS.items(), "waiting": waiting}
    return render(request, "peers/throughput.html", context)
