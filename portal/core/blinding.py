"""Who may not see a model's output now. Later steps register; earlier steps ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = Callable[[Any, int], bool]
_rules: list[Rule] = []


def register(rule: Rule) -> None:
    """Add a rule (user, study key) → whether the model's output is hidden from the user."""
    if rule not in _rules:
        _rules.append(rule)


def hidden(user: Any, study_id: int) -> bool:
    """Whether any rule hides the model's output on this study from this user."""
    return any(rule(user, study_id) for rule in _rules)
