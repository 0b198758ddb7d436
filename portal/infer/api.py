"""REST: runs, their results and matrices."""

from __future__ import annotations

import gzip
from typing import Any

from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive.cohorts.queries import access_cohort
from portal.archive.queries import access_study
from portal.functions.queries import choose
from portal.infer import actions, queries
from portal.infer.cohorts import run_over
from portal.infer.models import Run


class StudyRuns(APIView):
    """Runs on one scan."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="study_runs")
    def get(self, request: Request, study_uid: str) -> Response:
        """The newest run of each function, with results."""
        study = access_study(request.user, study_uid)
        return Response([queries.run_summary(run) for run in queries.visible_runs(request.user, study)])

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT, operation_id="study_runs_ask")
    def post(self, request: Request, study_uid: str) -> Response:
        """Queue the fitting functions that have not run on the scan as it is now; `held` ones wait for a decision."""
        study = access_study(request.user, study_uid, "run")
        planned = actions.plan_runs(study.pk)
        body = {
            "queued": [str(run.pk) for run in planned if run.state == Run.State.QUEUED],
            "held": [str(run.pk) for run in planned if run.state == Run.State.HELD],
            "fitting": len(choose(study)),
        }
        return Response(body, status=status.HTTP_202_ACCEPTED)


class RunDetail(APIView):
    """One run."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="run_detail")
    def get(self, request: Request, run_id: str) -> Response:
        return Response(queries.run_summary(queries.access_run(request.user, run_id)))


class RunRetry(APIView):
    """Try a failed run again."""

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT, operation_id="run_retry")
    def post(self, request: Request, run_id: str) -> Response:
        run = actions.retry(queries.access_run(request.user, run_id, "run"))
        return Response(queries.run_summary(run), status=status.HTTP_202_ACCEPTED)


class RunCancel(APIView):
    """Take a run back."""

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT, operation_id="run_cancel")
    def post(self, request: Request, run_id: str) -> Response:
        """409 when it has ended already."""
        run = actions.cancel(queries.access_run(request.user, run_id, "run"))
        return Response(queries.run_summary(run))


class RunMatrix(APIView):
    """A probability matrix: uint8 (K, N, N), probability × 255, C order; shape in X-Shape."""

    @extend_schema(
        parameters=[OpenApiParameter("row", int, description="N: 8, 16, 32 or 64")],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
        operation_id="run_matrix",
    )
    def get(self, request: Request, run_id: str, sop_uid: str) -> HttpResponse:
        row = request.query_params.get("row", "64")
        if not row.isdigit():
            raise Http404
        run = queries.access_run(request.user, run_id)
        found = queries.matrix(run, sop_uid, int(row))
        tag = f'"{found.pk}"'
        if tag in request.headers.get("If-None-Match", ""):
            return HttpResponse(status=304)
        data: Any = bytes(found.data)
        response = HttpResponse(content_type="application/octet-stream")
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response["Content-Encoding"] = "gzip"
            response.content = data
        else:
            response.content = gzip.decompress(data)
        response["X-Shape"] = ",".join(map(str, found.shape))
        response["ETag"] = tag
        response["Cache-Control"] = "private, max-age=31536000, immutable"
        return response


class CohortRuns(APIView):
    """Run a function over the scans of a cohort: `{"version": id}` → `{"queued", "passed"}`."""

    @extend_schema(request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT, operation_id="cohort_runs")
    def post(self, request: Request, pk: int) -> Response:
        cohort = access_cohort(request.user, pk)
        wanted = request.data.get("version") if isinstance(request.data, dict) else None
        queued, passed = run_over(request.user, cohort, wanted)  # type: ignore[arg-type]
        return Response({"queued": queued, "passed": passed})
