"""REST: a run's maps as DICOM objects."""

from __future__ import annotations

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from inference.explain.export import KINDS
from portal.export.maps.actions import TakenOut, take_out


class MapsRequest(serializers.Serializer[dict[str, str]]):
    """What to take out, and of which image when not of all."""

    kind = serializers.ChoiceField(choices=list(KINDS.items()))
    sop_uid = serializers.RegexField(r"^[0-9.]{1,64}$", required=False)


class RunMaps(APIView):
    """A run's probability maps as DICOM files in a zip with a manifest."""

    @extend_schema(
        request=MapsRequest, responses={(200, "application/zip"): OpenApiTypes.BINARY}, operation_id="run_maps"
    )
    def post(self, request: Request, run_id: str) -> FileResponse:
        """Segmentations, Parametric Maps or Secondary Captures that refer to the archived scan; 409 when nothing may
        leave (a malignancy run that does not call its case gives no places)."""
        body = MapsRequest(data=request.data)
        body.is_valid(raise_exception=True)
        return answer(take_out(request.user, run_id, **body.validated_data))


def answer(taken: TakenOut) -> FileResponse:
    """The zip as a download with its SHA-256 as ETag."""
    response = FileResponse(taken.file, as_attachment=True, filename=taken.name, content_type="application/zip")
    response["Content-Length"] = str(taken.record.size)
    response["ETag"] = f'"{taken.record.sha256}"'
    return response
