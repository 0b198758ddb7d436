"""Sign-in of plain views that programs use: token or session, and 401 in the house shape, never a redirect."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from portal.accounts.authentication import ApiSessionAuthentication, TokenAuthentication
from portal.core.errors import Refused, body

View = Callable[..., HttpResponseBase]


def authenticate(request: HttpRequest) -> Any:
    """The user of a request, by token or session (with the CSRF check on writes); None for strangers."""
    wrapped = Request(request)
    for way in (TokenAuthentication(), ApiSessionAuthentication()):
        if found := way.authenticate(wrapped):
            request.user = found[0]
            return found[0]
    return None


def signed_in(view: View) -> View:
    """Let only signed-in users pass; answer 401 to strangers and refusals in the house shape."""

    @functools.wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request_id = getattr(request, "id", "")
        try:
            if authenticate(request) is None:
                raise AuthenticationFailed("Sign in or send a token.")
            return view(request, *args, **kwargs)
        except AuthenticationFailed as error:
            answer = JsonResponse(body("not_signed_in", str(error.detail), request_id), status=401)
            answer["WWW-Authenticate"] = 'Bearer realm="Concord"'
            return answer
        except PermissionDenied as error:  # the CSRF check of a session
            return JsonResponse(body("csrf", str(error.detail), request_id), status=403)
        except Refused as error:
            return JsonResponse(body(error.code, error.message, request_id, **error.extra), status=error.status)

    inner.csrf_exempt = True  # type: ignore[attr-defined]  # checked above, for sessions
    return inner
