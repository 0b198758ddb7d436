"""REST: input alerts, decisions about them, and what the check says of a scan."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive.queries import access_study
from portal.check import actions, queries
from portal.check.models import SeriesCheck
from portal.check.serializers import DecisionSerializer, SeriesCheckSerializer

FILTERS = [
    OpenApiParameter("state", str, enum=[s for s in SeriesCheck.State.values if s != "passed"]),
    OpenApiParameter("source", int, description="Only series of the source with this key."),
    OpenApiParameter("found", str, description="Only series whose picture shows this category."),
]


@extend_schema(parameters=FILTERS)
class InputAlertList(generics.ListAPIView[SeriesCheck]):
    """Series about which the input check has, or had, something to say, newest first."""

    serializer_class = SeriesCheckSerializer
    queryset = SeriesCheck.objects.none()

    def get_queryset(self) -> QuerySet[SeriesCheck]:
        rows, asked = queries.alerts(self.request.user).select_related("check_made"), self.request.GET
        if asked.get("state") in SeriesCheck.State.values:
            rows = rows.filter(state=asked["state"])
        if asked.get("source", "").isdecimal() and len(asked["source"]) < 10:
            rows = rows.filter(source=int(asked["source"]))
        if found := asked.get("found", "").replace("\0", ""):
            rows = rows.filter(found=found)
        return rows


class InputAlert(APIView):
    """One checked series."""

    @extend_schema(responses=SeriesCheckSerializer)
    def get(self, request: Request, pk: int) -> Response:
        return Response(SeriesCheckSerializer(queries.access_check(request.user, pk)).data)


class InputAlertDecide(APIView):
    """Say what a series is."""

    @extend_schema(request=DecisionSerializer, responses=SeriesCheckSerializer, operation_id="input_alert_decide")
    def post(self, request: Request, pk: int) -> Response:
        """keep: its header is right. correct: it is of `category`. discard: no function and no reader gets it."""
        row = queries.access_check(request.user, pk, "category")
        asked = DecisionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response(SeriesCheckSerializer(actions.decide(request.user, row, **asked.validated_data)).data)  # type: ignore[arg-type]


class StudyInputCheck(APIView):
    """The input check of one scan."""

    @extend_schema(responses=SeriesCheckSerializer(many=True), operation_id="study_input_check")
    def get(self, request: Request, study_uid: str) -> Response:
        """What it says of each series; empty before it was made."""
        study = access_study(request.user, study_uid)
        return Response(SeriesCheckSerializer(queries.of_study(study), many=True).data)
