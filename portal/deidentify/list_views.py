"""The organisation's black, white and grey lists: a look at their terms with a reason, and changes by hand."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import letter_cookies
from portal.core.errors import Refused
from portal.core.tables import Column, Filter, Table
from portal.deidentify import queries, reidentify, term_actions
from portal.deidentify.forms import KIND_WORDS, ReasonForm, TermForm
from portal.deidentify.models import ListedTerm, TermChange

DOES, WHICH = dict(TermChange.Does.choices), dict(ListedTerm.Which.choices)
CHANGES = Table(
    "term-changes",
    (
        Column("at", "When", lambda c: c.at, order="at", fixed=True, css="tight"),
        Column("who", "Who", lambda c: c.user.username),
        Column("does", "What", lambda c: DOES[c.does]),
        Column("which", "List", lambda c: WHICH[c.which]),
        Column("kind", "Kind", lambda c: KIND_WORDS.get(c.kind, "")),
        Column("number", "Terms", lambda c: c.number, css="num"),
        Column("state", "State", lambda c: TermChange.State(c.state).label, css="tight"),
    ),
    (
        Filter("does", "What", lambda v: Q(does=v), TermChange.Does.choices, "chips"),
        Filter("which", "List", lambda v: Q(which=v), ListedTerm.Which.choices),
        Filter("who", "User name", lambda v: Q(user__username=v), kind="text"),
    ),
    sort="-at",
)


@login_required
def lists(request: HttpRequest) -> HttpResponse:
    """Ask what stands on the lists; terms may be names, so they come in a sealed letter. Below: who changed them."""
    organisation: Any = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made, key = reidentify.ask_lists(request.user, organisation.pk, form.cleaned_data["reason"])
        except Refused as error:
            form.add_error("reason", error.message)
        else:
            answer = redirect("zone_look", made.pk)
            letter_cookies.hand_over(answer, made.pk, key, reverse("zone_look", args=[made.pk]))
            return answer
    return _page(request, form, TermForm())


@sensitive_variables()
@sensitive_post_parameters()
@login_required
@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Teach a term, or take back those that were chosen on a look at the lists."""
    organisation: Any = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    form = TermForm(request.POST)
    try:
        if request.POST.get("do") == TermChange.Does.TAKE_BACK:
            keys = [int(key) for key in request.POST.getlist("term") if key.isdecimal() and len(key) < 19]
            term_actions.take_back(request.user, organisation.pk, request.POST.get("which", ""), keys=keys)
        elif not form.is_valid():
            return _page(request, ReasonForm(), form)
        else:
            said = form.cleaned_data
            term_actions.teach(request.user, organisation.pk, said["which"], [said["text"]], said["kind"])
    except Refused as error:
        messages.error(request, f"Nothing was changed: {error.message}")
    else:
        messages.success(request, "Sent to the identity zone. It counts for scans that come from now on.")
    return redirect("term_lists")


def _page(request: HttpRequest, form: ReasonForm, term: TermForm) -> HttpResponse:
    organisation: Any = request.organisation  # type: ignore[attr-defined]
    page = CHANGES.page(request.GET, queries.term_changes(request.user, organisation.pk), _explain)
    if isinstance(page, HttpResponse):
        return page
    return render(request, "deidentify/lists.html", {"form": form, "term": term, "table": page})


def _explain(rows: list[Any]) -> None:
    for row in rows:
        row.did, row.list = DOES[row.does], WHICH[row.which]
        row.sort, row.word = KIND_WORDS.get(row.kind, "–"), TermChange.State(row.state).label
