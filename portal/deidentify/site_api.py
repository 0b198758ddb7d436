"""REST: versions of a site's own rules."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core.pagination import KeysetPagination
from portal.deidentify import queries, site_actions
from portal.deidentify.models import SiteRules
from portal.deidentify.serializers import SiteRulesSerializer


class ByNumber(KeysetPagination):
    ordering = ("-number", "-pk")  # type: ignore[assignment]


class SiteRulesList(generics.ListCreateAPIView[SiteRules]):
    """Versions of the rules, newest first; POST writes the next one."""

    serializer_class = SiteRulesSerializer
    pagination_class = ByNumber
    queryset = SiteRules.objects.none()

    def get_queryset(self) -> QuerySet[SiteRules]:
        organisation: Any = self.request.organisation  # type: ignore[attr-defined]
        return queries.site_rules(self.request.user, organisation.pk if organisation else 0).select_related("by")

    @extend_schema(request=SiteRulesSerializer, responses={201: SiteRulesSerializer})
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        organisation: Any = request._request.organisation  # type: ignore[attr-defined]
        require_role(request.user, organisation, Role.PACS_ADMIN)
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        data = form.validated_data
        saved = site_actions.write(
            request.user, organisation.pk, data.get("text", ""), data.get("note", ""), data["active"], data["loosen"]
        )
        return Response(SiteRulesSerializer(saved).data, status=201)


class SiteRulesDetail(generics.RetrieveAPIView[SiteRules]):
    """One version."""

    serializer_class = SiteRulesSerializer
    queryset = SiteRules.objects.none()

    def get_object(self) -> SiteRules:
        organisation: Any = self.request._request.organisation  # type: ignore[attr-defined]
        return queries.access_site_rules(self.request.user, organisation, self.kwargs["number"])
