"""Pages of routing: rules, and what they sent."""

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
from portal.peers import queries
from portal.peers import routing as actions
from portal.peers.forms import RoutingForm
from portal.peers.models import Delivery, RoutingRule


@login_required
def routing(request: HttpRequest) -> HttpResponse:
    """Which studies go where by themselves, and the latest that went."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    rules = queries.routing_rules(request.user).filter(organisation=organisation)
    rows: list[Any] = list(queries.deliveries(request.user).filter(organisation=organisation)[:50])
    for row in rows:
        row.failed = row.state == Delivery.State.FAILED
    return render(request, "peers/routing.html", {"rules": rules, "rows": rows})


@login_required
def rule_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Enter or change a routing rule."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    mine = queries.routing_rules(request.user).filter(organisation=organisation)
    row = get_object_or_404(mine, pk=pk) if pk else None
    form = RoutingForm(request.POST or None, instance=row, organisation=organisation)
    if request.method == "POST" and form.is_valid():
        try:
            actions.save_rule(request.user, form.save(commit=False))
            messages.success(request, "The rule was saved; it holds for studies that are complete from now on.")
            return redirect("routing_rules")
        except Refused as error:
            form.add_error(None, error.message)
    shown = RoutingRule.objects.get(pk=pk) if pk else None
    return render(request, "peers/routing_edit.html", {"form": form, "rule": shown})


@login_required
@require_POST
def delivery_retry(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Send a failed delivery again now."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    row = get_object_or_404(queries.deliveries(request.user).filter(organisation=organisation), pk=pk)
    try:
        actions.retry(request.user, row)
        messages.success(request, "The study is on its way again.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("routing_rules")
