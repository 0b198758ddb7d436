"""Addresses of DICOMweb: who is asked for what by which method."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from portal.accounts.web import signed_in
from portal.archive import media, qido, queries, uri, wado, whole
from portal.archive import rendered as rendered_views
from portal.archive.metadata import encode
from portal.archive.models import Instance, Series
from portal.core.errors import Refused
from portal.ingest.dicomweb import stow

log = structlog.get_logger(__name__)


def _json(request: HttpRequest, page: qido.Page) -> HttpResponse:
    """200 with the answers, 204 when there are none; a Link header leads to the next page."""
    if not media.wants_json(media.parse_accept(request.headers.get("Accept", ""))):
        raise Refused("not_acceptable", "Searches are answered as application/dicom+json.", status=406)
    response = HttpResponse(encode(page.rows), content_type="application/dicom+json")
    if not page.rows:
        response = HttpResponse(status=204)
    if page.next is not None:
        query = request.GET.copy()
        query.pop("offset", None)
        query["after"] = str(page.next)
        response["Link"] = f'<{request.build_absolute_uri(request.path)}?{query.urlencode()}>; rel="next"'
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
    return _json(request, qido.search_studies(queries.studies(request.user), request.GET))


@signed_in
def study(request: HttpRequest, study_uid: str) -> HttpResponseBase:
    """GET: all instances of a study. POST: store instances of it."""
    _only(request, "GET", "POST")
    return stow(request, study_uid) if request.method == "POST" else _found(whole.instances)(request, study_uid)


@signed_in
def all_series(request: HttpRequest) -> HttpResponse:
    """Search for series over all studies."""
    _only(request, "GET")
    rows = Series.objects.filter(organisation__in=queries.organisations(request.user))
    return _json(request, qido.search_series(rows, request.GET, with_study=True))


@signed_in
def study_series(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Search for series of a study."""
    _only(request, "GET")
    found = queries.access_study(request.user, study_uid)
    return _json(request, qido.search_series(found.series.all(), request.GET, with_study=False))


@signed_in
def all_instances(request: HttpRequest) -> HttpResponse:
    """Search for instances over all studies."""
    _only(request, "GET")
    rows = Instance.objects.filter(organisation__in=queries.organisations(request.user))
    return _json(request, qido.search_instances(rows, request.GET, with_parents=True))


@signed_in
def study_instances(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Search for instances of a study."""
    _only(request, "GET")
    found = queries.access_study(request.user, study_uid)
    return _json(request, qido.search_instances(found.instances.all(), request.GET, with_parents=True))


@signed_in
def series_instances(request: HttpRequest, study_uid: str, series_uid: str) -> HttpResponse:
    """Search for instances of a series."""
    _only(request, "GET")
    found = queries.access_series(request.user, study_uid, series_uid)
    return _json(request, qido.search_instances(found.instances.all(), request.GET, with_parents=False))


def _get(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A signed-in view that only reads."""

    def inner(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        _only(request, "GET", "HEAD")
        return _found(view)(request, *args, **kwargs)

    return signed_in(inner)


def _found(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view that tells of a lost file in words."""

    def inner(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except FileNotFoundError as error:
            log.error("archive.file_missing", path=request.path)
            raise Refused("file_missing", "The stored file is missing; tell your administrator.", 404) from error

    return inner


study_metadata = _get(wado.study_metadata)
instance_metadata = _get(wado.instance_metadata)
instances = _get(whole.instances)
frames = _get(wado.frames)
rendered = _get(rendered_views.rendered)
picture_of = _get(rendered_views.picture_of)
bulkdata = _get(wado.bulkdata)
wado_uri = _get(uri.retrieve)
