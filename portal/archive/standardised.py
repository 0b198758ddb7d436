"""What header rules have changed: which attributes, in how many files; never the values."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import CharField, Count, F, Func, Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.models import Role
from portal.accounts.queries import has_role, organisation_ids, require_role
from portal.deidentify.models import DeidentificationReport


def changes(user: Any) -> list[dict[str, Any]]:
    """[{"rule", "attribute", "files", "last"}] of the organisations whose doors the user administers, by rule."""
    mine = [pk for pk in organisation_ids(user) if has_role(user, pk, Role.PACS_ADMIN)]
    rows = DeidentificationReport.objects.filter(organisation__in=mine).exclude(header_rule="")
    each = Func(F("standardised"), function="jsonb_array_elements_text", output_field=CharField())
    rows = rows.annotate(attribute=each)
    found = rows.values("header_rule", "attribute").annotate(files=Count("pk"), last=Max("created_at"))
    return [
        {"rule": row["header_rule"], "attribute": row["attribute"], "files": row["files"], "last": row["last"]}
        for row in found.order_by("header_rule", "attribute")
    ]


class Standardised(APIView):
    """What header rules have changed."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="standardised")
    def get(self, request: Request) -> Response:
        return Response({"changes": changes(request.user)})


@login_required
def page(request: HttpRequest) -> HttpResponse:
    """The same as a table."""
    require_role(request.user, request.organisation, Role.PACS_ADMIN)  # type: ignore[attr-defined]
    return render(request, "archive/standardised.html", {"changes": changes(request.user)})
