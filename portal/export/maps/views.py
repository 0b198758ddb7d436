"""The same download from the scan's page."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from portal.core.errors import Refused
from portal.export.maps.actions import take_out
from portal.export.maps.api import answer
from portal.infer.queries import access_run


@login_required
@require_POST
def take(request: HttpRequest, run_id: Any) -> HttpResponseBase:
    """A run's maps as a zip; back to the scan with words when nothing may leave."""
    try:
        return answer(take_out(request.user, run_id, request.POST.get("kind", "")))
    except Refused as error:
        messages.error(request, error.message)
        return redirect("scan_detail", access_run(request.user, run_id, "run").study.study_uid)
