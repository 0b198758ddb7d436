"""Pages: the list of scans, and one scan with everything known about it."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from portal.accounts.models import Role
from portal.accounts.queries import has_role
from portal.archive import queries
from portal.archive.models import Instance
from portal.archive.tables import SCANS
from portal.deidentify.models import DeidentificationReport
from portal.deidentify.report import ACTIONS
from portal.ingest.models import Receipt

SHOWN_IMAGES, SHOWN_RECEIPTS = 24, 8
UPLOADERS = (Role.COORDINATOR, Role.PACS_ADMIN, Role.ENGINEER)


@login_required
def scans(request: HttpRequest) -> HttpResponse:
    """The scans that the person may see, newest first unless the address asks otherwise."""
    if not queries.organisations(request.user):
        raise Http404
    rows = queries.studies(request.user).select_related("patient", "source").defer("headers")
    page = SCANS.page(request.GET, rows)
    if isinstance(page, HttpResponse):
        return page
    context = {
        "table": page,
        "may_upload": has_role(request.user, request.organisation, *UPLOADERS),  # type: ignore[attr-defined]
    }
    return render(request, "archive/scans.html", context)


@login_required
def scan_detail(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Pictures, header summary, de-identification, receipts; the model's output is loaded into its slot."""
    study = queries.access_study(request.user, study_uid)
    receipts = Receipt.objects.filter(organisation=study.organisation_id, study_uid=study_uid)
    report = DeidentificationReport.objects.filter(receipt__in=receipts).order_by("pk").first()
    images = queries.shown(request.user, study).filter(rows__gt=0).select_related("series")
    images = images.defer("headers", "frame_table")
    shown = list(images.order_by("series__number", "series_id", "number", "pk")[:SHOWN_IMAGES])
    counts = report.counts if report else {}
    context = {
        "study": study,
        "title": study.description or "Scan",
        "lead": ", ".join(study.modalities),
        "images": [_shown(image) for image in shown],
        "more_images": max(0, images.count() - len(shown)),
        "may_ask": has_role(request.user, study.organisation_id, Role.PACS_ADMIN),
        "receipts": receipts.select_related("source").order_by("received_at", "pk")[:SHOWN_RECEIPTS],
        "more_receipts": max(0, receipts.count() - SHOWN_RECEIPTS),
        "report": report,
        "deidentified": [(word, counts[code]) for code, word in ACTIONS.items() if counts.get(code)],
        "priors": queries.priors(study),
        "quality_words": sorted({word for part in study.quality_parts for word in part["words"]}),
    }
    return render(request, "archive/scan.html", context)


def _shown(image: Instance) -> dict[str, str]:
    place = " ".join(part for part in (image.laterality, image.view) if part)
    words = place or f"{image.series.modality} {image.number or ''}".strip()
    if image.frames > 1:
        words += f", {image.frames} frames"
    return {"sop_uid": image.sop_uid, "series_uid": image.series.series_uid, "label": words}
