"""Pages of the account: organisation switch, members, API tokens; saved views of tables."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from portal.accounts import actions
from portal.accounts.forms import InviteForm, RolesForm, TokenForm
from portal.accounts.models import ApiToken, Membership, Role
from portal.accounts.queries import memberships, require_role, saved_views
from portal.core import bulk
from portal.core.errors import Refused


@login_required
@require_POST
def switch_organisation(request: HttpRequest) -> HttpResponse:
    """Work in another of one's organisations from now on."""
    wanted = request.POST.get("organisation", "")
    if membership := next((m for m in memberships(request.user) if str(m.organisation_id) == wanted), None):
        request.session["organisation"] = membership.organisation_id
    return redirect("home")


@login_required
def members(request: HttpRequest) -> HttpResponse:
    """Who works here and with which roles; inviting someone."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.ACCOUNT_ADMIN)
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made, password = actions.invite(request.user, organisation, **form.cleaned_data)  # type: ignore[arg-type]
            request.session["invited"] = {"name": str(made.user), "username": made.user.username, "password": password}
            return redirect("members")
        except Refused as error:
            form.add_error("username", error.message)
    rows = Membership.objects.filter(organisation=organisation.pk).select_related("user").order_by("user__username")
    context = {
        "rows": [
            (row, RolesForm(initial={"roles": row.roles, "active": row.active}, auto_id=f"m{row.pk}_%s"))
            for row in rows
        ],
        "form": form,
        "invited": request.session.pop("invited", None),
        "words": dict(Role.choices),
    }
    return render(request, "account/members.html", context)


@login_required
@require_POST
def member_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change someone's roles, or whether they may work here."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.ACCOUNT_ADMIN)
    membership = get_object_or_404(Membership, pk=pk, organisation=organisation.pk)
    form = RolesForm(request.POST)
    if form.is_valid():
        try:
            actions.set_roles(request.user, membership, form.cleaned_data["roles"], form.cleaned_data["active"])  # type: ignore[arg-type]
            messages.success(request, f"The roles of {membership.user} were changed.")
        except Refused as error:
            messages.error(request, error.message)
    else:
        messages.error(request, "Choose at least one role, or make the person inactive.")
    return redirect("members")


@login_required
def tokens(request: HttpRequest) -> HttpResponse:
    """One's own API tokens; a new one is shown once."""
    organisation = request.organisation  # type: ignore[attr-defined]
    form = TokenForm(request.POST or None)
    made = None
    if request.method == "POST" and form.is_valid():
        if not organisation:
            raise Http404  # who belongs nowhere has nothing that a token could open
        made = actions.create_token(request.user, organisation, **form.cleaned_data)  # type: ignore[arg-type]
        form = TokenForm()
    rows = ApiToken.objects.filter(user=request.user.pk, organisation=organisation.pk if organisation else None)
    return render(request, "account/tokens.html", {"rows": rows.order_by("-created_at"), "form": form, "made": made})


@login_required
@require_POST
def token_revoke(request: HttpRequest, pk: str) -> HttpResponse:
    """End one of one's own tokens at once."""
    token = get_object_or_404(ApiToken, pk=pk, user=request.user.pk)
    actions.revoke_token(request.user, token)  # type: ignore[arg-type]
    messages.success(request, f"{token.name} was revoked; programs that use it are refused from now on.")
    return redirect("tokens")


@login_required
@require_POST
def view_save(request: HttpRequest) -> HttpResponse:
    """Keep a table as it is shown now, for oneself."""
    given = [request.POST.get(key, "") for key in ("table", "name", "query")]
    try:
        view = actions.save_view(request.user, request.organisation, *given)  # type: ignore[arg-type,attr-defined]
        messages.success(request, f"The view {view} is kept; it stands under Views.")
    except Refused as error:
        messages.error(request, error.message)
    return bulk.back(request, "home")


@login_required
@require_POST
def view_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take one of one's own views away; it can be had back."""
    view = get_object_or_404(saved_views(request.user, request.organisation), pk=pk)  # type: ignore[attr-defined]
    kept = [("table", view.table), ("name", view.name), ("query", view.query), ("back", request.POST.get("back", ""))]
    actions.remove_view(request.user, view)  # type: ignore[arg-type]
    messages.success(request, f"The view {view.name} was removed.")
    bulk.offer_undo(request, reverse("view_save"), kept)
    return bulk.back(request, "home")
