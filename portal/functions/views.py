"""Pages of the registry."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.functions import queries
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
    """All functions with the state of their newest version."""
    return render(request, "functions/functions.html", {"functions": queries.functions(request.user)})


@login_required
def function_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """One function: versions, their history, figures and card."""
    function = get_object_or_404(queries.functions(request.user), slug=slug)
    versions = [
        {
            "version": version,
            "moves": [(after, WORDS[after]) for after in sorted(version.TRANSITIONS.get(version.state, ()))],
            "history": version.events.order_by("-pgh_created_at")[:10],  # type: ignore[attr-defined]
            "auc": sorted((version.manifest.get("metrics", {}).get("auc") or {}).items()),
        }
        for version in function.versions.order_by("-created_at")
    ]
    engineer = Role.ENGINEER in request.roles  # type: ignore[attr-defined]
    return render(
        request, "functions/function.html", {"function": function, "versions": versions, "engineer": engineer}
    )


@login_required
@require_POST
def move_version(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Move a version along its life."""
    function = get_object_or_404(queries.functions(request.user), slug=slug)
    version = get_object_or_404(FunctionVersion, pk=pk, function=function)
    move(version, request.POST.get("to", ""), request.user)
    return redirect("function_detail", slug=slug)
