"""REST: data sets of a programme, asked for, listed, fetched."""

from __future__ import annotations

from typing import Any

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive.cohorts.queries import access_cohort
from portal.export import actions, queries
from portal.export.delivery import file_of
from portal.export.models import DataSet
from portal.export.sets import CONTAINERS, FORMATS
from portal.programmes.queries import access_programme

MOST = 200


class DataSetRequest(serializers.Serializer[dict[str, str]]):
    """What is wanted."""

    format = serializers.ChoiceField(choices=[(key, one.words) for key, one in FORMATS.items()])
    container = serializers.ChoiceField(choices=list(CONTAINERS.items()), default="zip")
    cohort = serializers.IntegerField(required=False, help_text="Only the cases whose scans are in this cohort.")


class DataSetSerializer(serializers.ModelSerializer[DataSet]):
    """A data set; `file` is where it is fetched once it is ready."""

    file = serializers.SerializerMethodField()

    class Meta:
        model = DataSet
        fields = ["id", "format", "container", "state", "size", "sha256", "content_sha256", "cohort_name", "error",
                  "asked_at", "ready_at", "file"]  # fmt: skip

    def get_file(self, row: DataSet) -> str | None:
        """Its address."""
        ready = row.state == DataSet.State.READY
        return f"/api/v1/programmes/{row.programme.slug}/data-sets/{row.pk}/file/" if ready else None


class DataSets(APIView):
    """Data sets of a programme."""

    @extend_schema(responses=DataSetSerializer(many=True), operation_id="data_sets")
    def get(self, request: Request, slug: str) -> Response:
        """The newest 200."""
        programme = access_programme(request.user, slug, "manage")
        rows = queries.data_sets(request.user).filter(programme=programme)[:MOST]
        return Response(DataSetSerializer(rows, many=True).data)

    @extend_schema(request=DataSetRequest, responses={202: DataSetSerializer}, operation_id="data_set_ask")
    def post(self, request: Request, slug: str) -> Response:
        """Ask for one; it is made by a worker."""
        programme = access_programme(request.user, slug, "manage")
        body = DataSetRequest(data=request.data)
        body.is_valid(raise_exception=True)
        wanted: dict[str, Any] = body.validated_data
        cohort = access_cohort(request.user, wanted["cohort"]) if "cohort" in wanted else None
        row = actions.ask_data_set(request.user, programme, wanted["format"], wanted["container"], cohort)
        return Response(DataSetSerializer(row).data, status=202)


class DataSetFile(APIView):
    """The file, or a part of it by `Range`."""

    @extend_schema(
        responses={(200, "application/zip"): OpenApiTypes.BINARY, (206, "application/zip"): OpenApiTypes.BINARY},
        operation_id="data_set_file",
    )
    def get(self, request: Request, slug: str, data_set: str) -> FileResponse:
        return file_of(request._request, queries.ready_data_set(request.user, slug, data_set))
