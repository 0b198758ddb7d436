"""The page to hand in reports: text, HL7 v2, PDF, CDA or JSON, and what became of the last ones."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat

from portal.accounts.models import Role
from portal.accounts.queries import has_role, require_role
from portal.accounts.web import signed_in
from portal.core.errors import Refused
from portal.ingest import actions, queries
from portal.ingest.dicomweb import organisation_of
from portal.ingest.forms import ReportForm
from portal.ingest.models import Receipt, Source
from portal.ingest.report_api import from_json
from portal.ingest.report_form import BadReport, Told
from portal.ingest.report_hl7 import read_hl7
from portal.ingest.report_kinds import reports_of
from portal.ingest.rules import report_state, words
from portal.ingest.upload import base_name

SHOWN = 50
TYPED = "Typed text"


@login_required
def reports_page(request: HttpRequest, form: ReportForm | None = None) -> HttpResponse:
    """Hand in reports; below, what came in lately by any door for reports. No text and no identity is shown."""
    organisation: Any = request.organisation  # type: ignore[attr-defined]
    require_role(request.user, organisation, *actions.SENDERS)
    rows: list[Any] = list(queries.reports(request.user, organisation)[:SHOWN])
    for row in rows:
        row.look, row.word, row.why = report_state(row.state, row.reason)
        row.why = row.why or words(row.reason)
    profile = _profile(request.user, organisation)
    context = {
        "form": form or ReportForm(),
        "rows": rows,
        "limit": settings.MAX_REPORT_BYTES,
        "profile": profile.label,
        "trusted": profile == Source.Privacy.DONE,
        "decides": has_role(request.user, organisation, Role.PACS_ADMIN),
    }
    return render(request, "ingest/reports.html", context)


def _profile(user: Any, organisation: Any) -> Source.Privacy:
    """The privacy profile of the user's own way in, as it is or will be made."""
    row = Source.objects.filter(organisation=organisation, kind=Source.Kind.REPORT, name=user.username[:80]).first()
    return Source.Privacy(row.privacy) if row else Source.Privacy.FULL


@signed_in
def hand_in(request: HttpRequest) -> HttpResponseBase:
    """Take files and typed text; one result for each report, in order. JSON, or for a page without scripts the page.

    Form fields: those of ReportForm, `files` (any number), `batch` (a UUID that joins requests). Raises Refused 400
    without any report, 422 when the form is not right.
    """
    source = actions.source_for(request.user, organisation_of(request), Source.Kind.REPORT)  # type: ignore[arg-type]
    form = ReportForm(request.POST)
    page = "text/html" in request.headers.get("Accept", "")
    if not form.is_valid():
        if page:
            return reports_page(request, form)
        fields = "; ".join(f"{form[name].label}: {' '.join(map(str, found))}" for name, found in form.errors.items())
        raise Refused("invalid", fields, status=422)
    said = form.told()
    batch = queries.as_uuid(request.POST.get("batch", "")) or uuid.uuid4()
    handed = [(base_name(file.name or ""), _read(file)) for file in request.FILES.getlist("files")]
    if text := form.cleaned_data["text"].strip():
        handed.append((TYPED, text.encode()))
    if not handed:
        if page:
            form.add_error(None, "Choose a file or type the report's text.")
            return reports_page(request, form)
        raise Refused("empty", "No report was sent.", status=400)
    results = [result for name, raw in handed for result in _take(source, name, raw, said, batch)]
    if page:
        for one in results:
            tell = messages.error if one["state"] == "refused" else messages.success
            tell(request, f"{one['name']}: {one['words']}")
        return redirect("reports_in")
    return JsonResponse({"batch": str(batch), "results": results})


def reports(request: HttpRequest) -> HttpResponseBase:
    """GET: the page. POST: take reports."""
    return hand_in(request) if request.method == "POST" else reports_page(request)


reports.csrf_exempt = True  # type: ignore[attr-defined]  # signed_in checks it for sessions; tokens need none


def _read(file: UploadedFile[Any]) -> bytes | None:
    return file.read() if (file.size or 0) <= settings.MAX_REPORT_BYTES else None


def _take(source: Source, name: str, raw: bytes | None, said: Told, batch: uuid.UUID) -> list[dict[str, Any]]:
    try:
        if raw is None:
            raise BadReport(f"The file is larger than {filesizeformat(settings.MAX_REPORT_BYTES)}.")
        if not raw.strip():
            raise BadReport("The file is empty.")
        receipts = actions.receive_reports(source, reports_of(raw, said, read_hl7, from_json), batch)
    except BadReport as error:
        return [{"name": name, "state": "refused", "receipt": None, "reason": "bad_report", "words": str(error)}]
    return [_result(name, receipt) for receipt in receipts]


def _result(name: str, receipt: Receipt) -> dict[str, Any]:
    *_, why = report_state(receipt.state, receipt.reason)
    return {
        "name": name,
        "state": receipt.state,
        "receipt": str(receipt.pk),
        "reason": receipt.reason,
        "words": why or words(receipt.reason),
    }
