"""Pages of looks into the identity zone: one that was asked for, and who looked before."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import letter_cookies
from portal.core.errors import Refused
from portal.core.tables import Column, Filter, Table
from portal.deidentify import queries, reidentify
from portal.deidentify.models import ZoneLook

ABOUT = dict(ZoneLook.About.choices)
LOOKS = Table(
    "zone-looks",
    (
        Column("asked", "Asked", lambda e: e.at, order="pgh_id", fixed=True, css="tight"),
        Column("who", "Who", lambda e: e.user.username),
        Column("about", "About", lambda e: ABOUT.get(e.about, e.about)),
        Column("pseudonym", "Pseudonym", lambda e: e.pseudonym),
        Column("reason", "Reason", lambda e: e.reason, css="wide"),
        Column("shown", "Shown", lambda e: "yes" if e.shown else "no", css="tight"),
    ),
    (
        Filter("about", "About", lambda v: Q(about=v), ZoneLook.About.choices, "chips"),
        Filter("pseudonym", "Pseudonym", lambda v: Q(pseudonym=v), kind="text"),
        Filter("who", "User name", lambda v: Q(user__username=v), kind="text"),
    ),
    sort="-asked",
)


@login_required
def past_looks(request: HttpRequest) -> HttpResponse:
    """Who asked for what of the identity zone, and why; what it answered is nowhere."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    page = LOOKS.page(request.GET, queries.past_looks(request.user), _explain)
    return page if isinstance(page, HttpResponse) else render(request, "deidentify/looks.html", {"table": page})


def _explain(rows: list[Any]) -> None:
    for row in rows:
        row.what = ABOUT.get(row.about, row.about)


@never_cache
@login_required
def zone_look(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """A look that was asked for; POST opens it, once."""
    made = queries.access_zone_look(request.user, pk)
    context: dict[str, Any] = {"look": made, "what": ABOUT[made.about]}
    if request.method == "POST":
        try:
            context["shown"] = reidentify.show(request.user, made, letter_cookies.held(request, pk))
        except Refused as error:
            context["closed"] = error.message
    return render(request, "deidentify/zone_look.html", context)
