"""The package of the input check as pages and short tasks know it: read without PyTorch, loaded by gpu workers only."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

OFF = "off"


@dataclass(frozen=True)
class Package:
    """What function.toml says. `thresholds`: by category, from where on the check is certain."""

    folder: Path
    id: str
    version: str
    title: str
    thresholds: dict[str, float]
    card: str


def folder() -> Path | None:
    """Where the package should lie; None when the check is turned off."""
    return None if settings.INPUT_CHECK == OFF else settings.PACKAGES_ROOT / settings.INPUT_CHECK


def package() -> Package | None:
    """The package, None when there is none that can be read."""
    path = folder()
    if path is None:
        return None
    try:
        raw = tomllib.loads((path / "function.toml").read_text(encoding="utf-8"))
        card = (path / "card.md").read_text(encoding="utf-8")
        thresholds = {str(name): float(value) for name, value in raw["thresholds"].items()}
        return Package(path, str(raw["id"]), str(raw["version"]), str(raw["title"]), thresholds, card)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def why_off() -> str:
    """Why nothing is checked, in words; empty when the check is on."""
    if folder() is None:
        return "The input check is turned off (CONCORD_INPUT_CHECK=off)."
    if package() is None:
        return f"The input check is off: there is no package {settings.INPUT_CHECK} in CONCORD_PACKAGES."
    return ""
