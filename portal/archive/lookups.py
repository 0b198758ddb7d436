"""`like` and `ilike` on text columns: DICOM wildcards without regular expressions."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Lookup


class Like(Lookup):
    """column LIKE pattern; the pattern is the caller's, with % and _ as wildcards."""

    lookup_name = "like"
    operator = "LIKE"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_values = self.process_lhs(compiler, connection)
        right, right_values = self.process_rhs(compiler, connection)
        return f"{left} {self.operator} {right}", (*left_values, *right_values)


class ILike(Like):
    """The same without regard to case, by the upper-case index."""

    lookup_name = "ilike"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_values = self.process_lhs(compiler, connection)
        right, right_values = self.process_rhs(compiler, connection)
        return f"UPPER({left}) LIKE UPPER({right})", (*left_values, *right_values)


def register() -> None:
    """Make the lookups known; called when the app is ready."""
    CharField.register_lookup(Like)
    CharField.register_lookup(ILike)
