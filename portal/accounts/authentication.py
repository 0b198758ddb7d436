"""API sign-in: bearer tokens and the session; 401 with a challenge, never a redirect."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from portal.accounts.models import ApiToken, User


def digest(token: str) -> str:
    """SHA-256 of a token; tokens carry 256 bits of chance, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; the token's organisation becomes the user's only one."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = timezone.now()
        token = (
            ApiToken.objects.select_related("user", "organisation")
            .filter(digest=digest(value.strip()), revoked_at=None, user__is_active=True)
            .filter(Q(expires_at=None) | Q(expires_at__gt=now))
            .filter(user__memberships__organisation=F("organisation"), user__memberships__active=True)
            .first()
        )
        if token is None:
            raise AuthenticationFailed("This token is not valid.")
        if token.last_used_at is None or token.last_used_at < now - timedelta(minutes=1):
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        token.user.token = token
        request._request.organisation = token.organisation  # type: ignore[attr-defined]
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Concord"'


class ApiSessionAuthentication(SessionAuthentication):
    """Session sign-in that answers 401 (DRF's own answers 403) to strangers."""

    def authenticate_header(self, request: Request) -> str:
        return 'Session realm="Concord"'
