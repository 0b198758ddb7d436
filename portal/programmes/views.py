"""What the page of a cohort sends here."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive.cohorts.queries import access_cohort
from portal.core.errors import Refused
from portal.programmes.cohorts import take
from portal.programmes.queries import access_programme


@login_required
@require_POST
def cohort_cases(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a cohort's scans into a programme."""
    cohort = access_cohort(request.user, pk)
    programme = access_programme(request.user, request.POST.get("programme", ""), "manage")
    try:
        made, left = take(request.user, cohort, programme)  # type: ignore[arg-type]
        rest = f" {left} are left; send it again, or decide about their input alerts." if left else ""
        messages.success(request, f"{made} scan{'' if made == 1 else 's'} put into {programme}.{rest}")
    except Refused as error:
        messages.error(request, error.message)
    return redirect("cohort", cohort.pk)


class CohortCases(APIView):
    """Put a cohort's scans into a programme: `{"programme": slug}` → `{"made", "left"}`."""

    @extend_schema(request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT, operation_id="cohort_cases")
    def post(self, request: Request, pk: int) -> Response:
        cohort = access_cohort(request.user, pk)
        slug = request.data.get("programme") if isinstance(request.data, dict) else None
        programme = access_programme(request.user, str(slug or ""), "manage")
        made, left = take(request.user, cohort, programme)  # type: ignore[arg-type]
        return Response({"made": made, "left": left})
