"""The organisation's black, white and grey lists: a look at their terms, asked for with a reason."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import letter_cookies
from portal.core.errors import Refused
from portal.deidentify import reidentify
from portal.deidentify.forms import ReasonForm


@login_required
def lists(request: HttpRequest) -> HttpResponse:
    """Ask what stands on the lists; terms may be names, so they come in a sealed letter."""
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
    return render(request, "deidentify/lists.html", {"form": form})
