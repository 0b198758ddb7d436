"""Addresses of DICOMweb: who is asked for what by which method."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from portal.accounts.web import signed_in
from portal.archive import qido, queries, wado
from portal.archive.metadata import encode
from portal.archive.models import Instance, Series
from portal.core.errors import Refused
from portal.ingest.dicomweb import stow


def _json(rows: list[dict[str, Any]]) -> HttpResponse:
    response = HttpResponse(encode(rows), content_type="application/dicom+json")
    response["Cache-Control"] = "private, no-cache"
    return response


def _only(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise Refused("method", f"Only {' and '.join(methods)} here.", status=405)


@signed_in
def studies(request: HttpRequest) -> HttpResponse:
    """GET: search for studies. POST: store instances."""
    _only(request, "GET", "POST")
    if request.method == "POST":
        return stow(request)
    return _json(qido.search_studies(queries.studies(request.user), request.GET))


@signed_in
def study(request: HttpRequest, study_uid: str) -> HttpResponseBase:
    """GET: all instances of a study. POST: store instances of it."""
    _only(request, "GET", "POST")
    return stow(request, study_uid) if request.method == "POST" else wado.instances(request, study_uid)


@signed_in
def all_series(request: HttpRequest) -> HttpResponse:
    rows = Series.objects.filter(organisation__in=queries.organisations(request.user))
    return _json(qido.search_series(rows, request.GET, with_study=True))


@signed_in
def study_series(request: HttpRequest, study_uid: str) -> HttpResponse:
    found = queries.access_study(request.user, study_uid)
    return _json(qido.search_series(found.series.all(), request.GET, with_study=False))


@signed_in
def all_instances(request: HttpRequest) -> HttpResponse:
    rows = Instance.objects.filter(organisation__in=queries.organisations(request.user))
    return _json(qido.search_instances(rows, request.GET, with_parents=True))


@signed_in
def study_instances(request: HttpRequest, study_uid: str) -> HttpResponse:
    found = queries.access_study(request.user, study_uid)
    return _json(qido.search_instances(found.instances.all(), request.GET, with_parents=True))


@signed_in
def series_instances(request: HttpRequest, study_uid: str, series_uid: str) -> HttpResponse:
    found = queries.access_series(request.user, study_uid, series_uid)
    return _json(qido.search_instances(found.instances.all(), request.GET, with_parents=False))


study_metadata = signed_in(wado.study_metadata)
instance_metadata = signed_in(wado.instance_metadata)
instances = signed_in(wado.instances)
frames = signed_in(wado.frames)
rendered = signed_in(wado.rendered)
thumbnail_of = signed_in(wado.thumbnail_of)
bulkdata = signed_in(wado.bulkdata)
