"""REST: the story of a case, for those who manage or arbitrate it."""

from __future__ import annotations

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.queries import has_role
from portal.programmes.models import PART_ROLES, Assignment, PanelMember
from portal.programmes.queries import access_programme, is_coordinator
from portal.score.queries import story_for


class AssignmentCase(APIView):
    """The case of an assignment: for coordinators, and for its arbiter once the arbitration is submitted."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="assignment_case")
    def get(self, request: Request, assignment_id: str) -> Response:
        row = Assignment.objects.select_related("case__programme").filter(pk=assignment_id).first()
        if row is None:
            raise Http404
        arbiter = (
            row.reader_id == request.user.pk
            and row.kind == Assignment.Kind.ARBITRATION
            and row.state == Assignment.State.SUBMITTED
            and has_role(request.user, row.organisation_id, *PART_ROLES[PanelMember.Part.ARBITER])
        )
        if not arbiter and not is_coordinator(request.user, row.organisation_id):
            raise Http404
        return Response(story_for(request.user, row.case))  # type: ignore[arg-type]


class ProgrammeCase(APIView):
    """A case by its number, for coordinators."""

    @extend_schema(responses=OpenApiTypes.OBJECT, operation_id="programme_case")
    def get(self, request: Request, slug: str, number: int) -> Response:
        programme = access_programme(request.user, slug, "manage")
        case = programme.cases.filter(number=number).first()
        if case is None:
            raise Http404
        return Response(story_for(request.user, case))  # type: ignore[arg-type]
