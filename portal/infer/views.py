"""The model's output as a part of other pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from portal.archive.cohorts.queries import access_cohort
from portal.archive.queries import access_study, organisations
from portal.core import blinding, bulk
from portal.core.errors import Refused
from portal.functions.queries import choose, functions
from portal.infer import actions, cohorts, queries
from portal.infer.models import Run
from portal.infer.tables import RUNS
from portal.ingest.queries import as_uuid

TOP_CLASSES = 6
SHOWN_RUNS = 12


@login_required
@require_http_methods(["GET", "POST"])
def study_output(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Fragment: runs on a scan with progress and results; loaded again when a run moves.

    POST asks for the fitting functions, or with `retry=<run>` tries a failed run again.
    """
    study = access_study(request.user, study_uid)
    if request.method == "POST":
        access_study(request.user, study_uid, "run")
        try:
            if retry := request.POST.get("retry"):
                actions.retry(queries.access_run(request.user, retry, "run"))
            elif cancel := request.POST.get("cancel"):
                actions.cancel(queries.access_run(request.user, cancel, "run"))
            else:
                actions.plan_runs(study.pk)
        except Refused:
            pass  # someone was quicker; the fragment shows the state as it is
    runs = [queries.run_summary(run) for run in queries.visible_runs(request.user, study)]
    for run in runs:
        for image in run["images"]:
            rows = bars(image)
            image["top"], image["rest"] = rows[:TOP_CLASSES], rows[TOP_CLASSES:]
    context = {
        "study": study,
        "runs": runs,
        "hidden": blinding.hidden(request.user, study.pk),
        "fitting": len(choose(study)),
        "may_run": study.organisation_id in organisations(request.user, "run"),
    }
    return render(request, "infer/output.html", context)


def bars(image: dict[str, Any]) -> list[dict[str, Any]]:
    """An image's classes, most likely first: name, value, width and threshold in percent, present."""
    rows = []
    for name, value in sorted(image["global"].items(), key=lambda item: -item[1]):
        threshold = image["thresholds"].get(name)
        rows.append(
            {
                "name": name.replace("_", " "),
                "value": value,
                "width": f"{100 * value:.1f}",
                "threshold": None if threshold is None else f"{100 * threshold:.1f}",
                "present": bool(image["present"].get(name)),
            }
        )
    return rows


@login_required
def function_runs(request: HttpRequest, slug: str) -> HttpResponse:
    """How much a function ran on the user's organisations' scans, and its runs: a page, or a part of the function's."""
    function = get_object_or_404(functions(request.user), slug=slug)
    rows = queries.runs_of(request.user, function.pk).select_related("study", "version")
    context: dict[str, Any] = {"function": function, "may_run": bool(organisations(request.user, "run"))}
    if request.htmx:  # type: ignore[attr-defined]
        context |= {"volume": queries.volume(rows, timezone.now() - timedelta(days=7)), "runs": rows[:SHOWN_RUNS]}
        return render(request, "infer/function_runs.html", context)
    page = RUNS.page(request.GET, rows.defer("study__headers", "version__manifest", "version__card"), _may_retry)
    if isinstance(page, HttpResponse):
        return page
    return render(request, "infer/runs.html", {**context, "table": page})


def _may_retry(rows: list[Run]) -> None:
    for row in rows:
        row.retried = row.state == Run.State.FAILED  # type: ignore[attr-defined]


@login_required
@require_POST
def runs_retry(request: HttpRequest, slug: str) -> HttpResponse:
    """Try the chosen failed runs of a function again."""
    function = get_object_or_404(functions(request.user), slug=slug)
    if not organisations(request.user, "run"):
        raise Http404
    rows = [queries.access_run(request.user, key, "run") for key in bulk.chosen(request) if as_uuid(key)]
    rows = [row for row in rows if row.version.function_id == function.pk]
    bulk.each(request, rows, actions.retry, "run", "runs", "waiting again")
    return bulk.back(request, reverse("function_runs", args=[slug]))


@login_required
@require_POST
def cohort_runs(request: HttpRequest, pk: int) -> HttpResponse:
    """Run a function over the scans of a cohort."""
    cohort = access_cohort(request.user, pk)
    try:
        queued, passed = cohorts.run_over(request.user, cohort, request.POST.get("version"))  # type: ignore[arg-type]
        rest = f" {passed} it does not fit or has seen." if passed else ""
        messages.success(request, f"{queued} run{'' if queued == 1 else 's'} queued.{rest}")
    except Refused as error:
        if error.status == 404:
            raise Http404 from error
        messages.error(request, error.message)
    return redirect("cohort", cohort.pk)
