"""Password sign-in is for people; service accounts use tokens, whatever password they may have come by."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend


class PeopleOnly(AuthenticationBackend):
    """Sign-in by name or e-mail; a service account is refused, and a session it may hold is void."""

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and not user.is_service
