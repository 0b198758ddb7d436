"""Who may not see what is said of a scan now: a model's output, and reports, masks and drawings that came with it.

Later steps register; earlier steps ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

Rule = Callable[[Any], QuerySet[Any, Any]]
_rules: dict[Rule, str] = {}


def register(rule: Rule, concerns: str) -> None:
    """Add a rule.

    rule      user → a query of one column, the keys of the studies of which nothing that is said is shown to the user
    concerns  an SQL condition without values that holds for whomever the rule may ever hide something from; `{user}`
              stands for their key. Who it does not hold for is not asked further
    """
    _rules[rule] = concerns


def hidden(user: Any, study_id: int) -> bool:
    """Whether any rule hides what is said of this study from this user."""
    return any(rule(user).filter(study=study_id).exists() for rule in _rules)


def hidden_sql(user: Any) -> tuple[str, list[Any]]:
    """The keys of all studies of which something is hidden from the user, as SQL and its values; empty for none."""
    parts, values = [], list[Any]()
    for rule in _rules:
        try:
            sql, given = rule(user).query.sql_with_params()
        except EmptyResultSet:
            continue
        parts.append(f"({sql})")
        values += given
    return " UNION ALL ".join(parts), values


def concerned(user: str) -> str:
    """An SQL condition: whether any rule may ever hide something from whom the SQL expression `user` names."""
    return " OR ".join(f"({concerns.format(user=user)})" for concerns in _rules.values()) or "false"
