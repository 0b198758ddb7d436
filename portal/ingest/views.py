"""Pages of the doors: receipts, quarantine, upload, sources, header rules."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.accounts.web import signed_in
from portal.core import bulk
from portal.core.errors import Refused
from portal.ingest import actions, queries, standardise, tables
from portal.ingest.forms import HeaderRuleForm, SourceForm
from portal.ingest.models import Receipt, Source
from portal.ingest.rules import WAITS_FOR_SERIES, seen_state, words
from portal.ingest.upload import upload as take_upload

PAGE = 50


def _page(request: HttpRequest, rows: Any) -> tuple[list[Receipt], str | None]:
    """Fifty receipts after `?before=<id>`, and the id that the next page begins after."""
    before = queries.as_uuid(request.GET.get("before", ""))
    last = Receipt.objects.filter(pk=before).values_list("received_at", "pk").first() if before else None
    if last:
        rows = rows.filter(Q(received_at__lt=last[0]) | Q(received_at=last[0], pk__lt=last[1]))
    found = list(rows[: PAGE + 1])
    for receipt in found:
        receipt.look, receipt.word = seen_state(receipt.state, receipt.reason)
        receipt.why = words(receipt.reason) if receipt.reason else ""
    return found[:PAGE], str(found[PAGE - 1].pk) if len(found) > PAGE else None


@login_required
def receipts(request: HttpRequest) -> HttpResponse:
    """What came in, newest first; refreshes itself as receipts change."""
    require_role(request.user, request.organisation, *queries.VIEWERS)  # type: ignore[attr-defined]
    rows, more = _page(request, queries.receipts(request.user, request.GET))
    counts = queries.counts(request.user)
    tabs = [("", "All", sum(counts.values()))]
    tabs += [(state.value, state.label, counts.get(state.value, 0)) for state in Receipt.State]
    waits = {"waiting": queries.waiting_for_series(request.user), "waits": WAITS_FOR_SERIES}
    context = {"receipts": rows, "more": more, "tabs": tabs, "state": request.GET.get("state", ""), **waits}
    return render(request, "ingest/receipts.html", context)


@login_required
def quarantine(request: HttpRequest) -> HttpResponse:
    """What was set aside and why; what is inside is not shown."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    page = tables.quarantine(request.user).page(request.GET, queries.quarantine(request.user), tables.explain)
    if isinstance(page, HttpResponse):
        return page
    return render(request, "ingest/quarantine.html", {"table": page})


@login_required
@require_POST
def quarantine_decide(request: HttpRequest) -> HttpResponse:
    """Retry or discard the chosen receipts; each is tried on its own. What is discarded cannot be had back."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    rows = [queries.access_quarantined(request.user, key) for key in bulk.chosen(request)]
    user: Any = request.user
    if request.POST.get("do") != "discard":
        done = "sent on their way again" if len(rows) > 1 else "sent on its way again"
        bulk.each(request, rows, lambda row: actions.retry(user, row), "file", "files", done)
    elif rows and not bulk.confirmed(request):
        words = f"{len(rows)} {'file is' if len(rows) == 1 else 'files are'} deleted for good. There is no way back."
        return bulk.confirm(request, "Discard these files?", words, "Discard", reverse("quarantine"))
    else:
        bulk.each(request, rows, lambda row: actions.discard(user, row), "file", "files", "discarded")
    return bulk.back(request, "quarantine")


@login_required
def upload_page(request: HttpRequest) -> HttpResponse:
    """Drop files here."""
    require_role(request.user, request.organisation, *actions.SENDERS)  # type: ignore[attr-defined]
    limit = settings.MAX_INSTANCE_BYTES
    return render(request, "ingest/upload.html", {"limit": limit})


upload_files = signed_in(take_upload)


def upload(request: HttpRequest) -> HttpResponseBase:
    """GET: the page. POST: receive files, answer JSON."""
    return upload_files(request) if request.method == "POST" else upload_page(request)


upload.csrf_exempt = True  # type: ignore[attr-defined]  # signed_in checks it for sessions; tokens need none


@login_required
def sources(request: HttpRequest) -> HttpResponse:
    """Ways in, each with its privacy profile."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    rows = queries.sources(request.user).filter(organisation=request.organisation.pk)  # type: ignore[attr-defined]
    return render(request, "ingest/sources.html", {"sources": rows, "full": Source.Privacy.FULL})


@login_required
def source_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Create or change a source."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    row = get_object_or_404(queries.sources(request.user), pk=pk, organisation=organisation.pk) if pk else None
    form = SourceForm(request.POST or None, instance=row, organisation=organisation)
    if request.method == "POST" and form.is_valid():
        try:
            actions.save_source(request.user, form.save(commit=False))  # type: ignore[arg-type]
            messages.success(request, "The source was saved.")
            return redirect("sources")
        except Refused as error:
            form.add_error(None, error.message)
    return render(request, "ingest/source_edit.html", {"form": form, "source": row})


@login_required
def header_rules(request: HttpRequest) -> HttpResponse:
    """Header rules in the order in which they are tried."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    rows = queries.header_rules(request.user).filter(organisation=request.organisation.pk)  # type: ignore[attr-defined]
    return render(request, "ingest/rules.html", {"rules": rows})


@login_required
def header_rule_edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Create or change a header rule, or try it on an example without saving."""
    organisation = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, Role.PACS_ADMIN)
    row = get_object_or_404(queries.header_rules(request.user), pk=pk, organisation=organisation.pk) if pk else None
    form = HeaderRuleForm(request.POST or None, instance=row, organisation=organisation)
    tried: dict[str, Any] | None = None
    if request.method == "POST" and form.is_valid():
        draft = form.save(commit=False)
        try:
            if "try" in request.POST:
                tried = _try(draft, form.cleaned_data["example"])
            else:
                actions.save_header_rule(request.user, draft)  # type: ignore[arg-type]
                messages.success(request, "The rule was saved; it applies to what is received from now on.")
                return redirect("header_rules")
        except (Refused, standardise.BadRule) as error:
            form.add_error(None, str(error))
    return render(request, "ingest/rule_edit.html", {"form": form, "rule": row, "tried": tried})


def _try(draft: Any, example: dict[str, str]) -> dict[str, Any]:
    rule = standardise.Rule(draft.name, draft.match, draft.assign, draft.study_key, draft.series_key)
    standardise.check(rule)
    done = standardise.standardise(example, [rule])
    return {"fits": done is not None, "done": done}
