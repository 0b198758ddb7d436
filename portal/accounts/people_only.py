"""Passwords and sign-in are for people: a service account works by token, whatever password it may have come by."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.forms import ResetPasswordForm, UserTokenForm

from portal.accounts.models import User


class PeopleOnly(AuthenticationBackend):
    """Sign-in by user name or e-mail; a service account is refused, and a session that it holds is void."""

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and not user.is_service

    def _check_password(self, user: Any, password: str) -> Any:
        # allauth keeps aside whom user_can_authenticate refuses and goes on with them: not even that
        return super()._check_password(None if user and user.is_service else user, password)


class ResetForm(ResetPasswordForm):
    """Asks for a link; to the address of a service account goes the same mail as to an unknown one."""

    users: Any

    def clean_email(self) -> str:
        email = super().clean_email()
        self.users = [user for user in self.users if not user.is_service]
        return email


class ResetKeyForm(UserTokenForm):
    """Reads a link; one that was made for a service account by any other way is void."""

    def _get_user(self, uidb36: str) -> User | None:
        user = super()._get_user(uidb36)
        return user if user is not None and not user.is_service else None
