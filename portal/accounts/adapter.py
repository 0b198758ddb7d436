"""Sign-up is closed: account administrators invite people."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from django.http import HttpRequest, HttpResponse

from portal.accounts.models import User


class ClosedSignup(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_login(self, request: HttpRequest, user: User, **how: Any) -> HttpResponse | None:
        """Turn service accounts away whichever door they come by: password, link, another sign-in service."""
        if user.is_service:
            clear_login(request)
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **how)
