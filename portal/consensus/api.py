"""REST: a case under another rule, agreement, and truth by pathology or a person's word; for coordinators."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.consensus import actions, queries, rules
from portal.consensus.models import Truth
from portal.programmes.queries import access_case, access_programme

BY = (Truth.Origin.PATHOLOGY, Truth.Origin.PERSON)


class TruthSerializer(serializers.Serializer[Any]):
    """What a case is held to be, and by whose word."""

    positive = serializers.BooleanField()
    origin = serializers.ChoiceField(choices=[(o.value, o.label) for o in BY])


class ConsensusPreview(APIView):
    """The readings of a case merged under a rule; nothing is stored."""

    @extend_schema(
        parameters=[OpenApiParameter("rule", str, enum=list(rules.CHOSEN))],
        responses=OpenApiTypes.OBJECT,
        operation_id="case_consensus",
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        case = access_case(request.user, slug, number)
        return Response(actions.preview(case, request.query_params.get("rule", rules.CHOSEN[0])))


class CaseTruth(APIView):
    """Set the truth of a case."""

    @extend_schema(request=TruthSerializer, responses=TruthSerializer, operation_id="case_truth")
    def post(self, request: Request, slug: str, number: int) -> Response:
        case = access_case(request.user, slug, number)
        body = TruthSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        actions.set_truth(request.user, case, **body.validated_data)  # type: ignore[arg-type]
        return Response(body.data)


class Agreement(APIView):
    """Agreement of readers with each other and with the model, in all and by question."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="programme_agreement")
    def get(self, request: Request, slug: str) -> Response:
        programme = access_programme(request.user, slug, "manage")
        questions = queries.agreement_by_question(programme)
        return Response({**queries.agreement(programme), "questions": questions})
