"""Query a peer: the question and the answer name patients, so both are sealed, and each look is recorded.

The key that opens an answer lies in a cookie of the browser that asked, for one page and one hour.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core import letter_cookies
from portal.core.errors import Refused
from portal.peers import fetching, queries
from portal.peers.forms import QueryForm
from portal.peers.models import PeerQuery


@sensitive_post_parameters()
@login_required
def query_peer(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what to look for at a peer."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    peer = get_object_or_404(queries.peers(request.user), pk=pk, organisation=organisation)
    form = QueryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            query, key = fetching.ask_query(request.user, peer, form.keys())
        except Refused as error:
            form.add_error(None, error.message)
        else:
            answer = redirect("peer_query", query.pk)
            letter_cookies.hand_over(answer, query.pk, key, reverse("peer_query", args=[query.pk]))
            return answer
    earlier = queries.peer_queries(request.user).filter(peer=peer)[:10]
    return render(request, "peers/query.html", {"form": form, "peer": peer, "earlier": earlier})


@never_cache
@login_required
def peer_query(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """The answer, once it is there; shown to the browser that asked, and that is recorded."""
    query = queries.access_query(request.user, pk)
    studies: list[dict[str, Any]] = []
    closed = ""
    if query.state == PeerQuery.State.ANSWERED:
        try:
            found = fetching.look(request.user, query, letter_cookies.held(request, query.pk))
            fetched = {f.number: f for f in query.fetches.all()}
            studies = [{**study, "number": n, "fetch": fetched.get(n)} for n, study in enumerate(found)]
        except Refused as error:
            closed = error.message
    looks = query.looks.select_related("user").order_by("-at")[:5]
    context = {"query": query, "studies": studies, "closed": closed, "looks": looks, "peer": query.peer}
    return render(request, "peers/answers.html", context)


@login_required
@require_POST
def query_fetch(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Fetch the chosen studies; they come in by the peer's own way and are de-identified there."""
    query = queries.access_query(request.user, pk)
    try:
        made = fetching.ask_fetch(request.user, query, [int(n) for n in request.POST.getlist("number") if n.isdigit()])
        messages.success(request, f"{len(made)} {'study is' if len(made) == 1 else 'studies are'} being fetched.")
        return redirect("fetches")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("peer_query", query.pk)
