"""The model's output as a part of other pages."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.archive.queries import access_study
from portal.infer import queries


@login_required
def study_output(request: HttpRequest, study_uid: str) -> HttpResponse:
    """Fragment: runs on a scan with progress and results; loaded again when a run moves."""
    study = access_study(request.user, study_uid)
    runs = [queries.run_summary(run) for run in queries.visible_runs(request.user, study)]
    for run in runs:
        for image in run["images"]:
            image["top"] = sorted(image["global"].items(), key=lambda item: -item[1])[:6]
    return render(request, "infer/output.html", {"study": study, "runs": runs})
