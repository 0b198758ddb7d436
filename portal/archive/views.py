"""Pages: the list of scans, and one scan with everything known about it."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from portal.archive import queries
from portal.archive.models import Study
from portal.deidentify.models import DeidentificationReport
from portal.ingest.models import Receipt

PAGE = 50


@login_required
def scans(request: HttpRequest) -> HttpResponse:
    """Newest first, by key: `?before=<id>` turns the page."""
    if not queries.organisations(request.user):
        raise Http404
    rows = queries.filtered(request.user, request.GET).select_related("patient", "source").order_by("-id")
    before = request.GET.get("before", "")
    if before.isdigit():
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.defer("headers")[: PAGE + 1])
    query = request.GET.copy()
    query.pop("before", None)
    context = {
        "studies": found[:PAGE],
        "more": found[PAGE - 1].pk if len(found) > PAGE else None,
        "query": query.urlencode(),
        "filters": request.GET,
        "filtered": any(request.GET.get(k) for k in ("q", "modality", "state", "from", "to")),
        "modalities": ["MG", "DX", "CR", "CT", "MR", "US"],
        "states": Study.State.choices,
    }
    return render(request, "archive/scans.html", context)


@login_required
def scan_detail(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Pictures, header summary, de-identification, receipts; the model's output is loaded into its slot."""
    study = queries.access_study(request.user, study_uid)
    receipts = Receipt.objects.filter(organisation=study.organisation_id, study_uid=study_uid).select_related("source")
    reports = DeidentificationReport.objects.filter(receipt__in=receipts).order_by("pk")
    images = study.instances.filter(rows__gt=0).select_related("series").defer("headers")
    context = {
        "study": study,
        "images": images.order_by("series__number", "number", "pk")[:24],
        "receipts": receipts.order_by("received_at")[:50],
        "report": reports.first(),
        "priors": queries.priors(study),
    }
    return render(request, "archive/scan.html", context)
