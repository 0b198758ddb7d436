"""Foreign layers over REST, and their list on the scan's page."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive.foreign import queries
from portal.archive.queries import access_study
from portal.core.errors import Refused


class Layers(APIView):
    """Reports, segmentations and presentation states of other systems on a study; none while reading is blinded."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="layers")
    def get(self, request: Request, study_uid: str) -> Response:
        return Response({"layers": queries.listed(request.user, access_study(request.user, study_uid))})


class LayerDetail(APIView):
    """One of them as shapes on images (docs/engineers/viewer-api.md); 422 when it cannot be understood."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT, 422: OpenApiTypes.OBJECT}, operation_id="layer")
    def get(self, request: Request, study_uid: str, sop_uid: str) -> Response:
        study = access_study(request.user, study_uid)
        return Response(queries.layer(request.user, study, sop_uid).to_dict())


@login_required
def layers(request: HttpRequest, study_uid: str) -> HttpResponse:
    """The part of the scan's page that lists them."""
    study = access_study(request.user, study_uid)
    return render(request, "archive/layers.html", {"study": study, "layers": queries.listed(request.user, study)})


@login_required
def layer(request: HttpRequest, study_uid: str, sop_uid: str) -> HttpResponse:
    """What one of them says, in words."""
    study = access_study(request.user, study_uid)
    try:
        found, fault = queries.layer(request.user, study, sop_uid), ""
    except Refused as error:
        found, fault = None, error.message
    return render(request, "archive/layer.html", {"study": study, "layer": found, "fault": fault, "sop_uid": sop_uid})
