"""Pages of the registry."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from portal.accounts.queries import organisation_ids
from portal.core.errors import Refused
from portal.core.states import IllegalTransition
from portal.functions import cards, queries, rules
from portal.functions.actions import move
from portal.functions.models import FunctionVersion

WORDS = {
    "commissioning": "Test it",
    "in_service": "Put into service",
    "remediation": "Take out for remediation",
    "out_of_service": "Take out of service",
    "retired": "Retire",
}


@login_required
def functions(request: HttpRequest) -> HttpResponse:
    """All functions, each with the version in service or else its newest."""
    found = list(queries.functions(request.user))
    for function in found:
        versions = sorted(function.versions.all(), key=lambda v: (v.state == "in_service", v.created_at))
        function.shown = versions[-1] if versions else None  # type: ignore[attr-defined]
    return render(request, "functions/functions.html", {"functions": found})


@login_required
def function_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """One function: versions, their history, figures and card."""
    function = get_object_or_404(queries.functions(request.user), slug=slug)
    versions = [
        {
            "version": version,
            "moves": [(after, WORDS[after]) for after in sorted(version.TRANSITIONS.get(version.state, ()))],
            "history": queries.history(
                version, function.owner_id is None or function.owner_id in organisation_ids(request.user)
            ),
            "figures": rules.figures(version.manifest.get("metrics") or {}),
            "auc": rules.auc_rows(version.manifest.get("metrics") or {}),
            "card": cards.html(version.card),
        }
        for version in function.versions.order_by("-created_at")
    ]
    scans = ", ".join(function.modalities) + (
        f" {'/'.join(function.body_parts).lower()}" if function.body_parts else ""
    )
    context = {
        "function": function,
        "versions": versions,
        "lead": f"{function.get_output_type_display()} for {scans} scans.",  # type: ignore[attr-defined]
        "engineer": queries.is_engineer(request.user, function),
    }
    return render(request, "functions/function.html", context)


@login_required
@require_POST
def move_version(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Move a version along its life."""
    function = get_object_or_404(queries.functions(request.user), slug=slug)
    version = get_object_or_404(FunctionVersion, pk=pk, function=function)
    try:
        move(version, request.POST.get("to", ""), request.user, request.POST.get("note", ""))
    except (Refused, IllegalTransition) as error:
        if getattr(error, "status", 0) == 404:
            raise Http404 from error
        messages.error(request, f"Nothing was changed: {error}.".replace("..", "."))
    else:
        messages.success(request, f"Version {version.version} is now: {version.State(version.state).label.lower()}.")
    return redirect("function_detail", slug=slug)
