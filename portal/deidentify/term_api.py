"""REST: changes of an organisation's lists of terms. Terms go in, sealed for the identity zone; none comes out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from portal.accounts.models import Role
from portal.accounts.queries import require_role
from portal.core.pagination import KeysetPagination
from portal.deidentify import queries, term_actions
from portal.deidentify.models import TermChange
from portal.deidentify.serializers import TermChangeSerializer


class ByTime(KeysetPagination):
    ordering = ("-at", "-pk")  # type: ignore[assignment]


class TermChanges(generics.ListCreateAPIView[TermChange]):
    """Changes of the lists, newest first, without the terms; POST teaches a term or takes some back."""

    serializer_class = TermChangeSerializer
    pagination_class = ByTime
    queryset = TermChange.objects.none()

    def get_queryset(self) -> QuerySet[TermChange]:
        organisation: Any = self.request.organisation  # type: ignore[attr-defined]
        return queries.term_changes(self.request.user, organisation.pk if organisation else 0)

    @method_decorator(sensitive_variables())
    @extend_schema(request=TermChangeSerializer, responses={202: TermChangeSerializer})
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        organisation: Any = request._request.organisation  # type: ignore[attr-defined]
        require_role(request.user, organisation, Role.PACS_ADMIN)
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        said = form.validated_data
        texts, keys = said.get("texts", []), said.get("terms", [])
        if said["does"] == TermChange.Does.TEACH:
            made = term_actions.teach(request.user, organisation.pk, said["which"], texts, said.get("kind", ""))
        else:
            made = term_actions.take_back(request.user, organisation.pk, said["which"], texts, keys)
        return Response(TermChangeSerializer(made).data, status=202)


class TermChangeDetail(generics.RetrieveAPIView[TermChange]):
    """One change: whether the identity zone has made it."""

    serializer_class = TermChangeSerializer
    queryset = TermChange.objects.none()

    def get_object(self) -> TermChange:
        return queries.access_term_change(self.request.user, self.kwargs["pk"])
