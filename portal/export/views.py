"""Pages of the ways out: data sets for coordinators, returns and destinations for PACS administrators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.archive.delivery import byte_range
from portal.core import storage
from portal.core.errors import Refused
from portal.export import actions, queries
from portal.export.forms import DestinationForm
from portal.export.models import DataSet, Return
from portal.programmes.models import Programme
from portal.programmes.queries import access_programme

PAGE = 50
PIECE = 1 << 20


def _page(request: HttpRequest, rows: Any) -> tuple[list[Any], int | None]:
    """Fifty rows from `?from=<number>` on, and where the next page begins."""
    text = request.GET.get("from", "")
    first = int(text) if text.isdigit() and len(text) < 8 else 0
    found = list(rows[first : first + PAGE + 1])
    return found[:PAGE], first + PAGE if len(found) > PAGE else None


@login_required
def data_sets(request: HttpRequest) -> HttpResponse:
    """Every data set of the organisation, newest first; changes by itself while one is being made."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.COORDINATOR)
    rows, more = _page(request, queries.data_sets(request.user).filter(organisation=organisation))
    programmes = Programme.objects.filter(organisation=organisation).order_by("name")
    return render(request, "export/data_sets.html", {"rows": rows, "more": more, "programmes": programmes})


@login_required
@require_POST
def ask(request: HttpRequest, slug: str) -> HttpResponse:
    """Queue a data set of a programme."""
    programme = access_programme(request.user, slug, "manage")
    actions.ask_data_set(request.user, programme, "table")
    messages.success(request, f"A data set of {programme} is being made.")
    return redirect("data_sets")


@login_required
def download(request: HttpRequest, slug: str, data_set: Any) -> FileResponse | HttpResponse:
    """The file of a data set that is ready; a part of it by `Range`, so that a broken download is taken up again."""
    programme = access_programme(request.user, slug, "manage")
    row = DataSet.objects.filter(pk=data_set, programme=programme, state=DataSet.State.READY).first()
    if row is None or not storage.archive().exists(row.name):
        raise Http404
    file = storage.archive().open(row.name)
    tag = f'"{row.sha256[:32]}"'
    wanted = byte_range(request.headers.get("Range", ""), row.size)
    if wanted and request.headers.get("If-Range", tag) == tag:
        first, last = wanted
        file.seek(first)
        answer = FileResponse(_piece(file, last - first + 1), status=206, content_type="application/zip")
        answer["Content-Range"] = f"bytes {first}-{last}/{row.size}"
        answer["Content-Length"] = str(last - first + 1)
    else:
        answer = FileResponse(file, content_type="application/zip")
    answer["Content-Disposition"] = f'attachment; filename="{slug}-{row.asked_at:%Y%m%d-%H%M}.zip"'
    answer["Accept-Ranges"], answer["ETag"] = "bytes", tag
    return answer


def _piece(file: Any, size: int) -> Iterator[bytes]:
    with file:
        while size > 0 and (data := file.read(min(PIECE, size))):
            size -= len(data)
            yield data


@login_required
def returns(request: HttpRequest) -> HttpResponse:
    """Results on their way to a PACS, each with its state, newest first."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    rows = queries.returns(request.user).filter(organisation=organisation)
    state = request.GET.get("state", "")
    tabs = [("", "All", rows.count())]
    tabs += [(value, word, rows.filter(state=value).count()) for value, word in Return.State.choices]
    if state in Return.State.values:
        rows = rows.filter(state=state)
    shown, more = _page(request, rows)
    return render(request, "export/returns.html", {"rows": shown, "more": more, "tabs": tabs, "state": state})


@login_required
@require_POST
def return_retry(request: HttpRequest, return_id: Any) -> HttpResponse:
    """Send a failed return again now."""
    row = get_object_or_404(queries.returns(request.user), pk=return_id)
    try:
        actions.retry_return(request.user, row)
        messages.success(request, f"Case {row.case.number} is on its way to {row.destination} again.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("returns")


@login_required
def destinations(request: HttpRequest) -> HttpResponse:
    """PACS that take results."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    rows = queries.destinations(request.user).filter(organisation=organisation)
    return render(request, "export/destinations.html", {"rows": rows})


@login_required
def destination_edit(request: HttpRequest, destination_id: int | None = None) -> HttpResponse:
    """Add or change a destination."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    mine = queries.destinations(request.user).filter(organisation=organisation)
    row = get_object_or_404(mine, pk=destination_id) if destination_id else None
    form = DestinationForm(request.POST or None, instance=row, organisation=organisation)
    if request.method == "POST" and form.is_valid():
        try:
            actions.save_destination(request.user, form.save(commit=False))
            messages.success(request, "The destination was saved.")
            return redirect("destinations")
        except Refused as error:
            form.add_error(None, error.message)
    return render(request, "export/destination_edit.html", {"form": form, "destination": row})
