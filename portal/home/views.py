"""Home by role, health, metrics and error pages."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from prometheus_client import CONTENT_TYPE_LATEST

from portal.accounts.models import Membership, Role
from portal.billing.queries import usage
from portal.check.package import why_off
from portal.check.queries import waiting
from portal.core.errors import body
from portal.core.metrics import page
from portal.home import page_queries
from portal.home.navigation import pages
from portal.programmes import queries as programme_queries
from portal.programmes.models import PanelMember
from portal.read.queries import assignment_json, done_today, worklist
from portal.score.queries import reader_summary


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The page a person starts from: one part for each of their roles."""
    user, organisation = request.user, request.organisation  # type: ignore[attr-defined]
    roles = set(request.roles)  # type: ignore[attr-defined]
    context: dict[str, Any] = {}
    if Role.READER in roles or user.panels.filter(part=PanelMember.Part.ARBITER).exists():  # type: ignore[union-attr]
        items = [assignment_json(row) for row in worklist(user, 8)]  # type: ignore[arg-type]
        context |= {"reading": True, "is_reader": Role.READER in roles, "items": items, "done_today": done_today(user)}  # type: ignore[arg-type]
        context |= {"trend": page_queries.own_trend(user), "score": reader_summary(user, organisation)}  # type: ignore[arg-type]
    if Role.COORDINATOR in roles:
        mine = programme_queries.programmes(user).filter(organisation=organisation.pk, active=True)
        context["programmes"] = page_queries.programme_rows(mine.order_by("name"))
    if Role.ENGINEER in roles:
        context["functions"] = page_queries.functions_overview(organisation)
        context["failed_runs"] = page_queries.failed_runs(organisation)
    if Role.PACS_ADMIN in roles:
        context["doors"] = page_queries.doors(organisation)
        context |= {"alerts_held": waiting([organisation.pk]), "check_off": why_off()}
    if Role.ACCOUNT_ADMIN in roles:
        context["usage"] = usage(organisation)
        context["members"] = Membership.objects.filter(organisation=organisation.pk, active=True).count()
    return render(request, "home/home.html", context)


@login_required
def palette(request: HttpRequest) -> JsonResponse:
    """What the command palette offers: pages by role, programmes, the newest scans."""
    sprite = static("site/icons.svg")
    user, roles = request.user, request.roles  # type: ignore[attr-defined]

    def entry(group: str, word: str, hint: str, icon: str, href: str) -> dict[str, str]:
        return {"group": group, "word": word, "hint": hint, "icon": f"{sprite}#{icon}", "href": href}

    entries = [entry("Pages", p["word"], g["title"], p["icon"], p["href"]) for g in pages(roles) for p in g["entries"]]
    for programme in programme_queries.programmes(user).order_by("name")[:50]:
        href = reverse("programme_detail", args=[programme.slug])
        entries.append(entry("Programmes", programme.name, "", "clipboard-list", href))
    for study in page_queries.recent_scans(user, 12):  # type: ignore[arg-type]
        hint = " ".join([*study.modalities, str(study.study_date or "")])
        word = study.description or f"Scan …{study.study_uid[-8:]}"
        entries.append(entry("Recent scans", word, hint, "scan", reverse("scan_detail", args=[study.study_uid])))
    return JsonResponse({"entries": entries})


def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """The parts this process needs answer: 200, else 503 and which does not. That a helper is off stands beside."""
    parts = {"database": _database_answers, "broker": _broker_answers}
    state = {name: _ask(part) for name, part in parts.items()}
    status = 200 if all(v == "ok" for v in state.values()) else 503
    return JsonResponse({**state, "input_check": why_off() or "on"}, status=status)


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
    return HttpResponse(page(), content_type=CONTENT_TYPE_LATEST)


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
