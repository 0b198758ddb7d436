"""The model's output as a part of other pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from portal.archive.queries import access_study, organisations
from portal.core import blinding
from portal.core.errors import Refused
from portal.functions.queries import choose, functions
from portal.infer import actions, queries

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
    """Fragment: how much a function ran on the user's organisations' scans, and its last runs."""
    function = get_object_or_404(functions(request.user), slug=slug)
    rows = queries.runs_of(request.user, function.pk)
    context = {
        "volume": queries.volume(rows, timezone.now() - timedelta(days=7)),
        "runs": rows.select_related("study", "version")[:SHOWN_RUNS],
    }
    return render(request, "infer/function_runs.html", context)
