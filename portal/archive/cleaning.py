"""What was done to the files of a scan: page and REST."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive import queries
from portal.archive.models import Study
from portal.deidentify import report
from portal.deidentify.models import DeidentificationReport
from portal.deidentify.report_views import page
from portal.deidentify.serializers import SummarySerializer
from portal.ingest.models import Receipt


def _done(study: Study) -> dict[str, Any]:
    receipts = Receipt.objects.filter(organisation=study.organisation_id, study_uid=study.study_uid)
    return report.summary(DeidentificationReport.objects.filter(receipt__in=receipts).order_by("pk").iterator(200))


@login_required
def scan_cleaning(request: HttpRequest, study_uid: str) -> HttpResponse:
    """The report of all files of a scan, for those who see the scan."""
    study = queries.access_study(request.user, study_uid)
    return page(request, _done(study), study.description or "Scan", reverse("scan_detail", args=[study_uid]))


class StudyCleaning(APIView):
    """What was done to the files of a study: attributes, places and rules, without values."""

    @extend_schema(responses=SummarySerializer)
    def get(self, request: Request, study_uid: str) -> Response:
        return Response(_done(queries.access_study(request.user, study_uid)))
