"""The page of usage, and the month as a table for an invoice."""

from __future__ import annotations

import csv

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from portal.accounts.models import Organisation, Role
from portal.billing import queries
from portal.billing.models import LedgerEntry


def _organisation(request: HttpRequest) -> Organisation:
    if Role.ACCOUNT_ADMIN not in request.roles:  # type: ignore[attr-defined]
        raise Http404
    return request.organisation  # type: ignore[attr-defined]


@login_required
def usage(request: HttpRequest) -> HttpResponse:
    """Use against the plan, credits of readers, the newest entries."""
    organisation = _organisation(request)
    context = {
        "usage": queries.usage(organisation),
        "credits": queries.credits_by_reader(organisation),
        "entries": LedgerEntry.objects.filter(organisation=organisation).select_related("user").order_by("-pk")[:50],
    }
    return render(request, "billing/usage.html", context)


@login_required
def ledger_csv(request: HttpRequest) -> HttpResponse:
    """This month's entries as CSV, for a manual invoice."""
    rows = LedgerEntry.objects.filter(organisation=_organisation(request), at__gte=queries.month_start())
    response = HttpResponse(content_type="text/csv")
    response["Content-Disposition"] = 'attachment; filename="ledger.csv"'
    writer = csv.writer(response)
    writer.writerow(["at", "kind", "quantity", "user", "words", "key"])
    for row in rows.select_related("user").order_by("pk").iterator():
        writer.writerow([row.at.isoformat(), row.kind, row.quantity, row.user or "", row.words, row.key])
    return response
