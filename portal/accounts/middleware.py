"""The organisation a person is working in; chosen in the session, else the first membership."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from portal.accounts.models import Organisation
from portal.accounts.queries import memberships, roles


def _current(request: HttpRequest) -> Organisation | None:
    mine = list(memberships(request.user))
    wanted = request.session.get("organisation")
    for membership in mine:
        if membership.organisation_id == wanted:
            return membership.organisation
    return mine[0].organisation if mine else None


class CurrentOrganisation:
    """Sets request.organisation and request.roles, both worked out when first asked for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.organisation = SimpleLazyObject(lambda: _current(request))  # type: ignore[attr-defined]
        request.roles = SimpleLazyObject(lambda: roles(request.user, _current(request)))  # type: ignore[attr-defined]
        return self.get_response(request)
