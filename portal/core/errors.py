"""One shape for every error of the API: {"error": {"code", "message", "id"}}."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from portal.core.states import IllegalTransition


class Refused(Exception):
    """An action that may not happen now; `message` is for people.

    status: 409 conflict, 410 gone, 413 too large, 422 incomplete, 429 over a limit …
    """

    def __init__(self, code: str, message: str, status: int = 409, **extra: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.extra = code, message, status, extra


def body(code: str, message: str, request_id: str = "", **extra: Any) -> dict[str, Any]:
    """The error body that every door of the API answers with."""
    return {"error": {"code": code, "message": message, "id": request_id}, **extra}


def api_exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer with the house shape; forbidden looks like missing."""
    request_id = getattr(getattr(context.get("request"), "_request", None), "id", "")
    if isinstance(error, Refused):
        return Response(body(error.code, error.message, request_id, **error.extra), status=error.status)
    if isinstance(error, IllegalTransition):
        return Response(body("wrong_state", str(error), request_id), status=409)
    if isinstance(error, (PermissionDenied, exceptions.PermissionDenied)):
        error = Http404()
    response = exception_handler(error, context)
    if response is None:
        return None
    code = getattr(error, "default_code", "not_found" if isinstance(error, Http404) else "error")
    if isinstance(error, exceptions.ValidationError):
        response.data = body("invalid", "Some fields are not right.", request_id, fields=response.data)
    else:
        detail = "Not found." if isinstance(error, Http404) else str(getattr(error, "detail", error))
        fields = getattr(error, "fields", None)
        response.data = body(str(code), detail, request_id, **({"fields": fields} if fields else {}))
    return response
