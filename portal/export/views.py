"""Pages of the ways out: data sets for coordinators, returns and destinations for PACS administrators."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.archive.cohorts.queries import access_cohort
from portal.core import bulk
from portal.core.errors import Refused
from portal.export import actions, queries, tables
from portal.export.delivery import file_of
from portal.export.forms import DestinationForm
from portal.export.returns import actions as returns_actions
from portal.export.sets import CONTAINERS, FORMATS
from portal.ingest.queries import as_uuid
from portal.programmes.models import Programme
from portal.programmes.queries import access_programme


@login_required
def data_sets(request: HttpRequest) -> HttpResponse:
    """Every data set of the organisation, newest first; live while one is being made. POST asks for one."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.COORDINATOR)
    if request.method == "POST":
        return ask(request, request.POST.get("programme", ""))
    programmes = Programme.objects.filter(organisation=organisation).order_by("name")
    page = tables.data_sets(programmes).page(
        request.GET, queries.data_sets(request.user).filter(organisation=organisation)
    )
    if isinstance(page, HttpResponse):
        return page
    context = {
        "table": page,
        "programmes": programmes,
        "formats": [(key, one.words) for key, one in FORMATS.items()],
        "containers": list(CONTAINERS.items()),
    }
    return render(request, "export/data_sets.html", context)


@login_required
@require_POST
def ask(request: HttpRequest, slug: str) -> HttpResponse:
    """Queue a data set of a programme."""
    programme = access_programme(request.user, slug, "manage")
    try:
        wanted = request.POST.get("format", "table"), request.POST.get("container", "zip")
        actions.ask_data_set(request.user, programme, *wanted)
        messages.success(request, f"A data set of {programme} is being made.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("data_sets")


@login_required
def download(request: HttpRequest, slug: str, data_set: Any) -> FileResponse:
    """The file of a data set that is ready; a part of it by `Range`, so that a broken download is taken up again."""
    return file_of(request, queries.ready_data_set(request.user, slug, data_set))


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
    rows = queries.destinations(request.user).filter(organisation_id=organisation.pk if organisation else 0)
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
    require_role(request.user, organisation, Role.PACS_ADMIN)
    rows = queries.destinations(request.user).filter(organisation=organisation)
    row = get_object_or_404(rows, pk=destination_id)
    try:
        messages.success(request, f"{actions.test_destination(request.user, row)}.")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("destinations")


@login_required
@require_POST
def cohort_data_set(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue a data set of the cases of a programme whose scans are in a cohort; `what` is <programme>/<format>."""
    cohort = access_cohort(request.user, pk)
    slug, _, kind = request.POST.get("what", "").partition("/")
    programme = access_programme(request.user, slug, "manage")
    try:
        actions.ask_data_set(request.user, programme, kind, cohort=cohort)
        messages.success(request, f"A data set of {programme} with the scans of {cohort} is being made.")
    except Refused as error:
        if error.status == 404:
            raise Http404 from error
        messages.error(request, error.message)
    return redirect("data_sets")
