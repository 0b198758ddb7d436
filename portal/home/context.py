"""What every page's shell needs."""

from django.http import HttpRequest


def shell(request: HttpRequest) -> dict[str, object]:
    """Organisation and roles for the navigation; nothing for strangers."""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"organisation": None, "roles": set()}
    return {"organisation": request.organisation, "roles": request.roles}  # type: ignore[attr-defined]
