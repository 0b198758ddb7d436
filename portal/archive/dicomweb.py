"""Addresses of DICOMweb: who is asked for what by which method."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from psycopg.errors import QueryCanceled

from portal.accounts.web import signed_in
from portal.archive import capabilities, media, qido, queries, uri, wado, whole
from portal.archive import rendered as rendered_views
from portal.archive.search import INSTANCE, SERIES, STUDY
from portal.core.errors import Refused
from portal.ingest.dicomweb import stow

log = structlog.get_logger(__name__)


def _search(request: HttpRequest, level: str, *place: str) -> HttpResponse:
    """Answers of a search within a study or series, or everywhere; 404 when the place is not there for the user."""
    asked = qido.ask(level, place, request.GET)
    try:
        found = queries.search(request.user, asked.search)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise qido.too_broad() from error
        raise
    if place and not found.known:
        raise Http404
    headers = {name: request.headers.get(name, "") for name in ("accept", "accept-encoding", "if-none-match")}
    made = qido.reply(asked, found, request.build_absolute_uri(request.path), request.GET, headers)
    response = HttpResponse(made.body, status=made.status, headers=made.headers)
    if not made.body:
        del response["Content-Type"]
    return response


def _only(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise Refused("method", f"Only {' and '.join(methods)} here.", status=405)


@signed_in
def service(request: HttpRequest) -> HttpResponse:
    """The capabilities of the service (PS3.18 8.9); GET is for people who look it up in a browser."""
    _only(request, "OPTIONS", "GET")
    kinds = {one.media for one in media.parse_accept(request.headers.get("Accept", ""))}
    if not kinds & {"*/*", "application/*", capabilities.WADL_TYPE, "application/xml", "text/xml"}:
        raise Refused("not_acceptable", f"Capabilities are described in {capabilities.WADL_TYPE}.", status=406)
    return HttpResponse(capabilities.wadl(f"{settings.PUBLIC_URL}/dicomweb"), content_type=capabilities.WADL_TYPE)


@signed_in
def studies(request: HttpRequest) -> HttpResponse:
    """GET: search for studies. POST: store instances."""
    _only(request, "GET", "POST")
    if request.method == "POST":
        return stow(request)
    return _search(request, STUDY)


@signed_in
def study(request: HttpRequest, study_uid: str) -> HttpResponseBase:
    """GET: all instances of a study. POST: store instances of it."""
    _only(request, "GET", "POST")
    return stow(request, study_uid) if request.method == "POST" else _found(whole.instances)(request, study_uid)


@signed_in
def all_series(request: HttpRequest) -> HttpResponse:
    """Search for series over all studies."""
    _only(request, "GET")
    return _search(request, SERIES)


@signed_in
def study_series(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Search for series of a study."""
    _only(request, "GET")
    return _search(request, SERIES, study_uid)


@signed_in
def all_instances(request: HttpRequest) -> HttpResponse:
    """Search for instances over all studies."""
    _only(request, "GET")
    return _search(request, INSTANCE)


@signed_in
def study_instances(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Search for instances of a study."""
    _only(request, "GET")
    return _search(request, INSTANCE, study_uid)


@signed_in
def series_instances(request: HttpRequest, study_uid: str, series_uid: str) -> HttpResponse:
    """Search for instances of a series."""
    _only(request, "GET")
    return _search(request, INSTANCE, study_uid, series_uid)


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
