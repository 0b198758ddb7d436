"""REST of cohorts."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.queries import memberships
from portal.archive.api import StudySerializer
from portal.archive.cohorts import actions, guarded, queries
from portal.archive.models import Cohort, Study
from portal.archive.queries import organisations
from portal.core.errors import Refused


class CohortSerializer(serializers.ModelSerializer[Cohort]):
    """A cohort; `query` holds the filters as of `GET /api/v1/studies/`."""

    owner = serializers.CharField(source="owner.username", default=None, read_only=True)
    query = serializers.SerializerMethodField()

    class Meta:
        model = Cohort
        fields = ["id", "name", "description", "query", "shared", "owner", "frozen_at", "created_at"]
        read_only_fields = ["id", "frozen_at", "created_at"]

    def get_query(self, cohort: Cohort) -> dict[str, str]:
        """Filter → value."""
        return guarded.read(QueryDict(cohort.query))


class CohortBody(serializers.Serializer[Any]):
    """What a cohort is made of, or changed to."""

    name = serializers.CharField(max_length=80)
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    shared = serializers.BooleanField(required=False)
    query = serializers.DictField(child=serializers.CharField(max_length=100, allow_blank=True), required=False)
    organisation = serializers.SlugField(required=False, help_text="One's first, if left out.")


def _wanted(request: Request, partial: bool) -> dict[str, Any]:
    sent = CohortBody(data=request.data, partial=partial)
    sent.is_valid(raise_exception=True)
    values: dict[str, Any] = dict(sent.validated_data)
    if "query" in values:
        query = QueryDict(mutable=True)
        query.update(values["query"])
        known = {one.key for one in guarded.every()}
        if wrong := {key for key, value in values["query"].items() if value} - {*guarded.read(query)}:
            words = f"{', '.join(sorted(wrong))}: no filter, or no value for it. Filters: {', '.join(sorted(known))}."
            raise Refused("invalid", words, status=422, fields={"query": words})
        values["query"] = query
    return values


class CohortList(generics.ListAPIView[Cohort]):
    """One's own cohorts and the shared ones, newest first."""

    serializer_class = CohortSerializer
    queryset = Cohort.objects.none()

    def get_queryset(self) -> QuerySet[Cohort]:
        return queries.cohorts(self.request.user)

    @extend_schema(request=CohortBody, responses={201: CohortSerializer}, operation_id="cohort_create")
    def post(self, request: Request) -> Response:
        """Keep a search of the archive as a cohort."""
        values = _wanted(request, partial=False)
        may = organisations(request.user)
        rows = [m.organisation for m in memberships(request.user) if m.organisation_id in may]
        slug = values.pop("organisation", None)
        chosen = next((row for row in rows if slug in (None, row.slug)), None)
        if chosen is None:
            raise Refused("not_found", "Not found.", status=404)
        query = values.pop("query", QueryDict())
        cohort = actions.create(request.user, chosen, values.pop("name"), query, **values)  # type: ignore[arg-type]
        return Response(CohortSerializer(cohort).data, status=201)


class CohortDetail(APIView):
    """A cohort, how many scans it has, and what they are made of."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="cohort")
    def get(self, request: Request, pk: int) -> Response:
        cohort = queries.access_cohort(request.user, pk)
        total, parts = queries.composition(request.user, cohort)
        made = {part.key: [{"value": bar.word, "count": bar.count} for bar in part.bars] for part in parts}
        return Response({**CohortSerializer(cohort).data, "count": total, "composition": made})

    @extend_schema(request=CohortBody, responses=CohortSerializer, operation_id="cohort_change")
    def patch(self, request: Request, pk: int) -> Response:
        """Change name, description, shared, or the filters of one that is not frozen."""
        cohort = queries.access_cohort(request.user, pk, "change")
        values = _wanted(request, partial=True)
        values.pop("organisation", None)
        return Response(CohortSerializer(actions.change(request.user, cohort, **values)).data)  # type: ignore[arg-type]

    @extend_schema(responses={204: None}, operation_id="cohort_remove")
    def delete(self, request: Request, pk: int) -> Response:
        """Remove it; its scans stay."""
        actions.remove(request.user, queries.access_cohort(request.user, pk, "change"))  # type: ignore[arg-type]
        return Response(status=204)


class CohortFreeze(APIView):
    """Fix the scans as they are found now."""

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT, operation_id="cohort_freeze")
    def post(self, request: Request, pk: int) -> Response:
        cohort = queries.access_cohort(request.user, pk, "change")
        count = actions.freeze(request.user, cohort)  # type: ignore[arg-type]
        return Response({**CohortSerializer(cohort).data, "count": count})


class CohortMembers(generics.ListAPIView[Study]):
    """The scans of a cohort, newest first."""

    serializer_class = StudySerializer
    queryset = Study.objects.none()

    def get_queryset(self) -> QuerySet[Study]:
        cohort = queries.access_cohort(self.request.user, self.kwargs["pk"])
        return queries.members(self.request.user, cohort).select_related("patient")
