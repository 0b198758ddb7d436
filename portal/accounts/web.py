"""Sign-in of plain views that programs use: token or session, and 401 in the house shape, never a redirect."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from portal.accounts.authentication import TokenAuthentication
from portal.core.errors import Refused, body

View = Callable[..., HttpResponseBase]


def authenticate(request: HttpRequest) -> Any:
    """The user of a request, by token or session (with the CSRF check on writes); None for strangers.

    Raises AuthenticationFailed for a bad token, PermissionDenied for a session's write without the CSRF token.
    """
    if found := TokenAuthentication().authenticate(Request(request)):
        request.user = found[0]
        return found[0]
    if not (request.user.is_authenticated and request.user.is_active):
        return None
    # on Django's own request: DRF's would try to parse the body by its JSON parser
    check = CSRFCheck(lambda _: HttpResponse())
    check.process_request(request)
    if reason := check.process_view(request, authenticate, (), {}):
        raise PermissionDenied(f"CSRF: {reason}")
    return request.user


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
