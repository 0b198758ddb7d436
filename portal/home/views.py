"""Home by role, health, metrics and error pages."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from portal.core.errors import body


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The page a person starts from, by role."""
    return render(request, "home/home.html")


def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """The parts this process needs answer: 200, else 503 and which does not."""
    parts = {"database": _database_answers, "broker": _broker_answers}
    state = {name: _ask(part) for name, part in parts.items()}
    return JsonResponse(state, status=200 if all(v == "ok" for v in state.values()) else 503)


def _ask(part: object) -> str:
    try:
        part()  # type: ignore[operator]
    except Exception as error:
        return type(error).__name__
    return "ok"


def _database_answers() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker_answers() -> None:
    cache.set("readyz", "1", 5)


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics; open to scrapers on loopback and to nobody else."""
    if request.META.get("REMOTE_ADDR") not in {"127.0.0.1", "::1"}:
        return error_404(request)
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _error(request: HttpRequest, status: int, code: str, title: str, words: str) -> HttpResponse:
    request_id = getattr(request, "id", "")
    if request.path.startswith(("/api/", "/dicomweb/")):
        return JsonResponse(body(code, words, request_id), status=status)
    context = {"title": title, "words": words, "request_id": request_id, "status": status}
    return render(request, "error.html", context, status=status)


def error_400(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(request, 400, "bad_request", "That request was not understood", "Nothing was changed.")


def error_404(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    words = "It does not exist, or it belongs to someone else."
    return _error(request, 404, "not_found", "Nothing here", words)


def error_500(request: HttpRequest) -> HttpResponse:
    words = "The error was logged. What you had saved is kept; try again, or tell support the id below."
    return _error(request, 500, "server_error", "Something went wrong on our side", words)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    words = "The page was open too long or cookies are off. Reload it and try again."
    return _error(request, 403, "csrf", "This form has expired", words)
