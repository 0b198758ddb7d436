"""What every page's shell needs."""

from __future__ import annotations

from django.http import HttpRequest

from portal.accounts.queries import memberships
from portal.core.bulk import UNDO
from portal.home.navigation import pages

THEMES = ("light", "dark")


def shell(request: HttpRequest) -> dict[str, object]:
    """Organisation, roles, navigation and theme; only the theme for strangers."""
    chosen = request.COOKIES.get("theme", "")
    theme = chosen if chosen in THEMES else ""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"organisation": None, "roles": set(), "theme": theme}
    roles = set(request.roles)  # type: ignore[attr-defined]
    return {
        "organisation": request.organisation,  # type: ignore[attr-defined]
        "organisations": [m.organisation for m in memberships(request.user)],
        "roles": roles,
        "navigation": pages(roles, request.path),
        "theme": theme,
        "undo": _undo(request),
    }


def _undo(request: HttpRequest) -> object:
    """What the last action offers to take back: shown once, beside its message."""
    return request.session.pop(UNDO, None) if UNDO in request.session else None
