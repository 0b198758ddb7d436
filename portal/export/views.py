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
from portal.core import bulk, storage
from portal.core.errors import Refused
from portal.export import actions, queries, tables
from portal.export.forms import DestinationForm
from portal.export.models import DataSet
from portal.export.returns import actions as returns_actions
from portal.ingest.queries import as_uuid
from portal.programmes.models import Programme
from portal.programmes.queries import access_programme

PIECE = 1 << 20


@login_required
def data_sets(request: HttpRequest) -> HttpResponse:
    """Every data set of the organisation, newest first; changes by itself while one is being made."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.COORDINATOR)
    programmes = Programme.objects.filter(organisation=organisation).order_by("name")
    page = tables.data_sets(programmes).page(
        request.GET, queries.data_sets(request.user).filter(organisation=organisation)
    )
    if isinstance(page, HttpResponse):
        return page
    return render(request, "export/data_sets.html", {"table": page, "programmes": programmes})


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
    peers = queries.destinations(request.user).filter(organisation=organisation)
    page = tables.returns(peers).page(request.GET, queries.returns(request.user).filter(organisation=organisation))
    if isinstance(page, HttpResponse):
        return page
    return render(request, "export/returns.html", {"table": page})


@login_required
@require_POST
def returns_retry(request: HttpRequest) -> HttpResponse:
    """Send the chosen failed returns again now."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    mine = queries.returns(request.user).filter(organisation=organisation)
    rows = [get_object_or_404(mine, pk=key) for key in bulk.chosen(request) if as_uuid(key)]
    bulk.each(request, rows, lambda row: returns_actions.retry_return(request.user, row),
              "result", "results", "on the way again")  # fmt: skip
    return bulk.back(request, "returns")


@login_required
@require_POST
def return_retry(request: HttpRequest, return_id: Any) -> HttpResponse:
    """Send a failed return again now."""
    row = get_object_or_404(queries.returns(request.user), pk=return_id)
    try:
        returns_actions.retry_return(request.user, row)
        messages.success(request, f"{row.about} is on its way to {row.destination} again.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("returns")


@login_required
def destinations(request: HttpRequest) -> HttpResponse:
    """Everything that takes results."""
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
            actions.save_destination(request.user, form.save(commit=False), form.new_secret)
            messages.success(request, "The destination was saved.")
            return redirect("destinations")
        except Refused as error:
            form.add_error(None, error.message)
    return render(request, "export/destination_edit.html", {"form": form, "destination": row})


@login_required
@require_POST
def destination_test(request: HttpRequest, destination_id: int) -> HttpResponse:
    """Ask a destination whether it is there."""
    organisation = request.organisation  # type: ignore[attr-defined]
    row = get_object_or_404(queries.destinations(request.user).filter(organisation=organisation), pk=destination_id)
    try:
        messages.success(request, f"{actions.test_destination(request.user, row)}.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("destinations")
