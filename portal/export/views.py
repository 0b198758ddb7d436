"""Data sets: asked for and fetched by coordinators."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.core import storage
from portal.export.actions import ask_data_set
from portal.export.models import DataSet
from portal.programmes.queries import access_programme


@login_required
@require_POST
def ask(request: HttpRequest, slug: str) -> HttpResponse:
    """Queue a data set of a programme."""
    ask_data_set(request.user, access_programme(request.user, slug, "manage"), "table")
    return redirect("programme_detail", slug=slug)


@login_required
def download(request: HttpRequest, slug: str, data_set: Any) -> FileResponse:
    """The file of a data set that is ready."""
    programme = access_programme(request.user, slug, "manage")
    row = DataSet.objects.filter(pk=data_set, programme=programme, state=DataSet.State.READY).first()
    if row is None:
        raise Http404
    file = storage.archive().open(row.name)
    return FileResponse(file, as_attachment=True, filename=f"{slug}-{row.asked_at:%Y%m%d}.zip")
