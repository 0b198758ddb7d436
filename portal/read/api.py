"""REST of the reading room."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.archive.queries import access_study
from portal.core.errors import Refused
from portal.programmes.actions import claim_next, release
from portal.programmes.queries import access_programme
from portal.read import actions, queries

OBJECT = OpenApiTypes.OBJECT


def _body(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise Refused("invalid", "Send a JSON object.", status=422)
    return request.data


class Worklist(APIView):
    """What the reader has open and may take."""

    @extend_schema(responses=OBJECT, operation_id="worklist")
    def get(self, request: Request) -> Response:
        rows = queries.worklist(request.user)  # type: ignore[arg-type]
        done = queries.done_today(request.user)  # type: ignore[arg-type]
        items = [queries.assignment_json(row) for row in rows]
        return Response({"items": items, "next_available": bool(rows), "done_today": done})


class Claim(APIView):
    """Take the next case."""

    @extend_schema(request=OBJECT, responses=OBJECT, operation_id="worklist_claim")
    def post(self, request: Request) -> Response:
        slug = _body(request).get("programme")
        programme = access_programme(request.user, str(slug)) if slug else None
        row = claim_next(request.user, programme)  # type: ignore[arg-type]
        return Response({"assignment": queries.assignment_json(row) if row else None})


class AssignmentBundle(APIView):
    """Everything the viewer opens with."""

    @extend_schema(responses=OBJECT, operation_id="assignment")
    def get(self, request: Request, assignment_id: str) -> Response:
        row = queries.access_assignment(request.user, assignment_id)
        return Response(queries.bundle(request.user, row))  # type: ignore[arg-type]


class Draft(APIView):
    """Keep a draft."""

    @extend_schema(request=OBJECT, responses=OBJECT, operation_id="assignment_draft")
    def put(self, request: Request, assignment_id: str) -> Response:
        row = queries.access_assignment(request.user, assignment_id)
        reading = actions.save_draft(request.user, row, _body(request))  # type: ignore[arg-type]
        return Response({"revision": reading.revision, "saved_at": reading.saved_at.isoformat()})


SUBMISSION = {
    "type": "object",
    "required": ["answers", "key"],
    "properties": {
        "answers": {"type": "object", "description": "Question key to answer."},
        "marks": {"type": "array", "items": {"type": "object"}},
        "display": {
            "type": "object",
            "description": "SOP Instance UID to the window under which it was read last.",
            "additionalProperties": {
                "type": "object",
                "required": ["centre", "width"],
                "properties": {
                    "centre": {"type": "number"},
                    "width": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                    "inverted": {"type": "boolean", "default": False},
                },
            },
        },
        "active_ms": {"type": "number", "minimum": 0},
        "key": {"type": "string", "format": "uuid", "description": "Made by the sender; the same key twice is one."},
        "revision": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "Revision of the draft seen last. Left out, it says that no draft was kept.",
        },
    },
}


class Submit(APIView):
    """Make a reading final. 409 with `revision` and `draft` when the draft was changed since the revision sent."""

    @extend_schema(
        request={"application/json": SUBMISSION},
        responses={200: OBJECT, 409: OBJECT, 410: OBJECT, 422: OBJECT},
        operation_id="assignment_submit",
    )
    def post(self, request: Request, assignment_id: str) -> Response:
        row = queries.access_assignment(request.user, assignment_id)
        reading = actions.submit_reading(request.user, row, _body(request))  # type: ignore[arg-type]
        following = next(iter(queries.worklist(request.user, 1)), None)  # type: ignore[arg-type]
        after = queries.assignment_json(following) if following else None
        return Response({"state": reading.state, "next": after and {"id": after["id"], "url": after["url"]}})


class Reveal(APIView):
    """Show the model's output where the protocol offers it on demand."""

    @extend_schema(request=None, responses=OBJECT, operation_id="assignment_reveal")
    def post(self, request: Request, assignment_id: str) -> Response:
        row = queries.access_assignment(request.user, assignment_id)
        actions.reveal(request.user, row)  # type: ignore[arg-type]
        return Response(queries.model_part(request.user, row))  # type: ignore[arg-type]


class Release(APIView):
    """Give an assignment back unread."""

    @extend_schema(request=None, responses={204: None}, operation_id="assignment_release")
    def post(self, request: Request, assignment_id: str) -> Response:
        release(request.user, queries.access_assignment(request.user, assignment_id))  # type: ignore[arg-type]
        return Response(status=204)


class StudyBundle(APIView):
    """The viewer without an assignment."""

    @extend_schema(responses=OBJECT, operation_id="study_bundle")
    def get(self, request: Request, study_uid: str) -> Response:
        return Response(queries.study_bundle(request.user, access_study(request.user, study_uid)))
