"""Reports of settled cases offered as FHIR R4, pseudonymous: read, search by study, capability statement."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.models import Role
from portal.accounts.queries import has_role, organisation_ids
from portal.archive.models import Instance
from portal.consensus.models import Truth
from portal.export.report import fhir
from portal.export.returns.contents import headers, images_of, told_of
from portal.reports.models import Report

MOST = 100


class FhirRenderer(JSONRenderer):
    """JSON under FHIR's own name."""

    media_type = "application/fhir+json"
    format = "fhir"


def reports(user: Any) -> QuerySet[Report]:
    """Reports of the programmes that the user coordinates."""
    mine = [pk for pk in organisation_ids(user) if has_role(user, pk, Role.COORDINATOR)]
    rows = Report.objects.filter(organisation__in=mine).order_by("pk")
    return rows.select_related("case__programme", "case__protocol", "case__study", "case__organisation")


def resource(report: Report) -> dict[str, Any] | None:
    """The report as a DiagnosticReport; None while its case has no truth or its study no image."""
    truth = Truth.objects.filter(case=report.case).first()
    first: Instance | None = images_of(report.case.study).first()
    if truth is None or first is None:
        return None
    truth.case = report.case
    return fhir.build(told_of(report, truth, headers([first])[0], report.case.study, corrected=False))


class DiagnosticReportView(APIView):
    """One report."""

    renderer_classes = [FhirRenderer, JSONRenderer]

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="fhir_report")
    def get(self, request: Request, report_id: int) -> Response:
        report = reports(request.user).filter(pk=report_id).first()
        found = resource(report) if report else None
        if found is None:
            raise Http404
        return Response(found)


class DiagnosticReports(APIView):
    """Search: a Bundle of at most 100 reports, the oldest first; `after` goes on from a report's number."""

    renderer_classes = [FhirRenderer, JSONRenderer]

    @extend_schema(
        parameters=[OpenApiParameter("study", str), OpenApiParameter("after", int)],
        responses=OpenApiTypes.OBJECT,
        operation_id="fhir_reports",
    )
    def get(self, request: Request) -> Response:
        rows = reports(request.user)
        if study := request.query_params.get("study", "").replace("\0", ""):
            rows = rows.filter(case__study__study_uid=study.removeprefix("urn:oid:"))
        total, after = rows.count(), request.query_params.get("after", "")
        if after.isdecimal() and len(after) < 16:
            rows = rows.filter(pk__gt=int(after))
        page = list(rows[:MOST])
        found = [(row, body) for row in page if (body := resource(row))]
        root = request.build_absolute_uri("/fhir/DiagnosticReport")
        bundle: dict[str, Any] = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": total,
            "entry": [{"fullUrl": f"{root}/{row.pk}", "resource": body} for row, body in found],
        }
        if len(page) == MOST:
            more = f"{root}?after={page[-1].pk}" + (f"&study={study}" if study else "")
            bundle["link"] = [{"relation": "next", "url": more}]
        return Response(bundle)


class Capabilities(APIView):
    """What is offered."""

    renderer_classes = [FhirRenderer, JSONRenderer]

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="fhir_metadata")
    def get(self, request: Request) -> Response:
        return Response(
            {
                "resourceType": "CapabilityStatement",
                "status": "active",
                "date": "2026-11-21",
                "kind": "instance",
                "software": {"name": "Concord", "version": getattr(settings, "VERSION", "0.1.0")},
                "implementation": {"description": "Concord: reports of settled cases. Research use only."},
                "fhirVersion": "4.0.1",
                "format": ["application/fhir+json"],
                "rest": [
                    {
                        "mode": "server",
                        "resource": [
                            {
                                "type": "DiagnosticReport",
                                "interaction": [{"code": "read"}, {"code": "search-type"}],
                                "searchParam": [{"name": "study", "type": "token"}],
                            }
                        ],
                    }
                ],
            }
        )
