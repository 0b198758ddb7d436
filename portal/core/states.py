"""Entities whose state moves only along a table, by compare-and-swap in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

Table = Mapping[str, frozenset[str]]


class IllegalTransition(Exception):
    """The table has no such step."""

    def __init__(self, entity: str, before: str, after: str) -> None:
        super().__init__(f"{entity} cannot go from {before} to {after}")
        self.entity, self.before, self.after = entity, before, after


def check(entity: str, table: Table, before: str, after: str) -> None:
    """Raise IllegalTransition unless the table allows before → after."""
    if after not in table.get(before, frozenset()):
        raise IllegalTransition(entity, before, after)


class StateModel(models.Model):
    """A model with a `state` that only `advance` may change."""

    TRANSITIONS: ClassVar[Table] = {}
    state = models.CharField(max_length=24, db_index=True)
    state_since = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    @classmethod
    def step_sql(cls, before: str, after: str) -> tuple[str, str]:
        """The same step for one SQL statement that must choose its row and move it at once.

        Returns (condition, assignments), both of bare column names; the time is the parameter %(now)s.
        Raises IllegalTransition when the table has no such step.
        """
        check(cls.__name__, cls.TRANSITIONS, before, after)
        return f"state = '{before}'", f"state = '{after}', state_since = %(now)s"

    def advance(self, after: str, **fields: Any) -> bool:
        """Move this row to `after` and set `fields`, if nobody moved it since it was read.

        Returns True for the one caller that made the move, False for all others.
        Raises IllegalTransition when the table has no such step.
        """
        check(type(self).__name__, self.TRANSITIONS, self.state, after)
        values = {"state": after, "state_since": timezone.now(), **fields}
        rows = type(self)._default_manager.filter(pk=self.pk, state=self.state)
        moved = rows.update(**values) == 1
        if moved:
            for name, value in values.items():
                setattr(self, name, value)
        return moved

    @classmethod
    def advance_all(cls, pks: Iterable[Any], before: str, after: str, **fields: Any) -> list[Any]:
        """`advance` for those of the rows that are in the state `before`; returns their keys.

        They are locked until the transaction ends, so the caller must be in one.
        """
        check(cls.__name__, cls.TRANSITIONS, before, after)
        rows = cls._default_manager.filter(pk__in=list(pks), state=before).order_by("pk")
        moved = list(rows.select_for_update().values_list("pk", flat=True))
        cls._default_manager.filter(pk__in=moved).update(state=after, state_since=timezone.now(), **fields)
        return moved
