"""What was done to one received file: page and REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.deidentify import report
from portal.deidentify.models import DeidentificationReport
from portal.deidentify.serializers import SummarySerializer
from portal.ingest import queries


def _done(user: Any, pk: uuid.UUID) -> dict[str, Any]:
    receipt = get_object_or_404(queries.receipts(user), pk=pk)
    return report.summary(DeidentificationReport.objects.filter(receipt=receipt))


@login_required
def receipt_report(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """The report of one received file, for those who see what was received."""
    return page(request, _done(request.user, pk), "Received", reverse("receipts"))


def page(request: HttpRequest, done: dict[str, Any], crumb: str, up: str) -> HttpResponse:
    """The page of a summary; crumb, up: the page that it belongs to."""
    context = {"done": done, "frames": report.frames(done["images"]), "crumb": crumb, "up": up}
    return render(request, "deidentify/report.html", context)


class ReceiptReport(APIView):
    """What was done to one received file: attributes, places and rules, without values."""

    @extend_schema(responses=SummarySerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        return Response(_done(request.user, pk))
