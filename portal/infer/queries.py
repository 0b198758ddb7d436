"""Reads of runs and results; blinded readers get nothing."""

from __future__ import annotations

import statistics
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import Http404

from portal.archive.models import Study
from portal.archive.queries import organisations
from portal.core import blinding
from portal.infer.models import Matrix, Run


def visible_runs(user: Any, study: Study) -> list[Run]:
    """The newest run of each function on a study, for a user who may see output; else none."""
    if study.organisation_id not in organisations(user, "output") or blinding.hidden(user, study.pk):
        return []
    return newest_runs(study)


def newest_runs(study: Study) -> list[Run]:
    """The newest run of each function on a study."""
    rows = Run.objects.filter(study=study).select_related("version__function", "result", "study")
    found: dict[int, Run] = {}
    for run in rows.order_by("study_revision", "queued_at"):
        found[run.version.function_id] = run
    return list(found.values())


def access_run(user: Any, run_id: Any, need: str = "output") -> Run:
    """The one door to a run. Raises Http404 for missing, forbidden and blinded alike."""
    run = (
        Run.objects.select_related("version__function", "study", "result")
        .filter(pk=run_id, organisation__in=organisations(user, need))
        .first()
    )
    if run is None or blinding.hidden(user, run.study_id):
        raise Http404
    return run


def run_summary(run: Run) -> dict[str, Any]:
    """A run as the viewer and the pages take it (shape in docs/engineers/viewer-api.md)."""
    function = run.version.function
    result = getattr(run, "result", None)
    return {
        "id": str(run.pk),
        "function": {
            "slug": function.slug,
            "name": function.name,
            "version": run.version.version,
            "output_type": function.output_type,
        },
        "state": run.state,
        "progress": run.progress,
        "stage": run.stage,
        "error": {"code": run.error_code, "message": run.error} if run.error_code else None,
        "case": {
            "score": result.score,
            "call": result.call,
            "threshold": result.threshold,
            "sides": result.sides,
            "views": result.views,
            "missing_views": result.missing_views,
            "lesions": result.lesions,
            "warnings": result.warnings,
        }
        if result
        else None,
        "images": _images(run),
        "provenance": run.provenance,
        "timings_ms": run.timings_ms,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }


def _images(run: Run) -> list[dict[str, Any]]:
    rows: dict[int, list[int]] = {}
    for image_id, row in Matrix.objects.filter(image__run=run).order_by("row").values_list("image_id", "row"):
        rows.setdefault(image_id, []).append(row)
    return [
        {
            "sop_uid": image.instance.sop_uid,
            "score": image.score,
            "rows": rows.get(image.pk, []),
            "classes": image.classes,
            "global": image.global_probabilities,
            "present": image.present,
            "thresholds": image.thresholds,
            "any_abnormality": image.any_abnormality,
            "regions": image.regions,
            "matrix": f"/api/v1/runs/{run.pk}/matrix/{image.instance.sop_uid}/",
        }
        for image in run.images.select_related("instance").defer("instance__headers").order_by("pk")
    ]


def matrix(run: Run, sop_uid: str, row: int) -> Matrix:
    """One stored matrix of a run. Raises Http404."""
    found = Matrix.objects.filter(image__run=run, image__instance__sop_uid=sop_uid, row=row).first()
    if found is None:
        raise Http404
    return found


def runs_of(user: Any, function_pk: int) -> QuerySet[Run]:
    """A function's runs on scans of the organisations in which the user may see output, newest first."""
    allowed = organisations(user, "output")
    return Run.objects.filter(version__function=function_pk, organisation__in=allowed).order_by("-queued_at")


def volume(rows: QuerySet[Run], since: datetime) -> dict[str, Any]:
    """Numbers of runs: in all, since a moment, failed since then, and the median time of the last hundred."""
    recent = Q(queued_at__gte=since)
    counts = rows.order_by().aggregate(
        total=Count("pk"), week=Count("pk", filter=recent), failed=Count("pk", filter=recent & Q(state="failed"))
    )
    times = [t["total"] for t in rows.filter(state="done").values_list("timings_ms", flat=True)[:100] if "total" in t]
    return {**counts, "median": f"{statistics.median(times) / 1000:.1f} s" if times else "–"}
