"""The report of a case, as a page and as text."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.programmes.queries import access_case
from portal.reports.models import Report


@login_required
def report(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The text of a case's report for those who manage its programme; `?format=text` as a file."""
    case = access_case(request.user, slug, number)
    found = Report.objects.filter(case=case).first()
    if found and request.GET.get("format") == "text":
        answer = HttpResponse(found.text + "\n", content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{slug}-case-{number}.txt"'
        return answer
    return render(request, "reports/report.html", {"case": case, "programme": case.programme, "report": found})
