"""Writing many rows at once where Django's own way costs more than the database's work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connection, models

Row = TypeVar("Row", bound=models.Model)


def quote(name: str | None) -> str:
    """A table's or a column's name as SQL has it."""
    assert name is not None
    return connection.ops.quote_name(name)


def insert(rows: Sequence[Row], *, skip_conflicts: bool = False) -> list[Row]:
    """Insert a few rows of one model by one statement; returns those that are new, and each knows its key.

    As `bulk_create`, which composes the statement for as long as the database takes to carry it out, and which
    cannot say what it skipped.
    skip_conflicts  leave out what a constraint forbids; only for models whose keys the program draws
    """
    if not rows:
        return []
    model = type(rows[0])
    key = model._meta.pk
    drawn = key is model._meta.auto_field
    assert key is not None and not (drawn and skip_conflicts)
    fields = [field for field in model._meta.concrete_fields if not (drawn and field is key)]
    values = [value for row in rows for value in _values(row, fields)]
    with connection.cursor() as cursor:
        cursor.execute(_insert(model, len(rows), drawn, skip_conflicts), values)
        found: list[Any] = [found for (found,) in cursor.fetchall()] if drawn or skip_conflicts else []
    if drawn:
        for row, number in zip(rows, found, strict=True):
            row.pk = number
    new = [row for row in rows if row.pk in set(found)] if skip_conflicts else list(rows)
    _written(new)
    return new


def _values(row: models.Model, fields: Sequence[models.Field[Any, Any]]) -> list[Any]:
    return [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]


def _written(rows: Sequence[models.Model]) -> None:
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


@lru_cache(256)
def _insert(model: type[models.Model], count: int, drawn: bool, skip_conflicts: bool) -> str:
    meta = model._meta
    assert meta.pk is not None
    columns = [quote(field.column) for field in meta.concrete_fields if not (drawn and field is meta.pk)]
    one = f"({', '.join(['%s'] * len(columns))})"
    text = f"INSERT INTO {quote(meta.db_table)} ({', '.join(columns)}) VALUES {', '.join([one] * count)}"
    if skip_conflicts:
        text += " ON CONFLICT DO NOTHING"
    # a role may write where it may not read, so nothing is asked back without need
    return f"{text} RETURNING {quote(meta.pk.column)}" if drawn or skip_conflicts else text


def insert_all(rows: Sequence[models.Model]) -> None:
    """Insert rows of one model by COPY, with keys drawn beforehand; the rows know theirs afterwards.

    As `bulk_create`, which spends most of its time on quoting bytes and JSON into a statement.
    """
    if not rows:
        return
    meta = rows[0]._meta
    fields = list(meta.concrete_fields)
    table, key = meta.db_table, meta.auto_field
    with connection.cursor() as cursor:
        if key is not None and (new := [row for row in rows if row.pk is None]):
            drawn = "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)"
            cursor.execute(drawn, [quote(table), key.column, len(new)])
            for row, (number,) in zip(new, cursor.fetchall(), strict=True):
                row.pk = number
        columns = ", ".join(quote(field.column) for field in fields)
        kinds = [str(field.db_type(connection)) for field in fields]
        with cursor.copy(f"COPY {quote(table)} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([kind.partition("(")[0] for kind in kinds])
            for row in rows:
                copy.write_row(_values(row, fields))
    _written(rows)


def update_each(rows: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write the named fields of rows of one model, each row its own values, in one statement.

    As `bulk_update`, whose CASE over every row and field takes Django longer to write than PostgreSQL to carry out.
    Values go through JSON, so it is for fields that JSON can hold (text, numbers, JSON, UUID, times).
    """
    if not rows:
        return
    meta = rows[0]._meta
    named = {field.name: field for field in meta.concrete_fields}
    fields = [next(field for field in named.values() if field.primary_key), *(named[name] for name in names)]
    columns = [(field.column, str(field.db_type(connection))) for field in fields]
    given = [{field.column: getattr(row, field.attname) for field in fields} for row in rows]
    kinds = ", ".join(f"{quote(column)} {kind}" for column, kind in columns)
    sets = ", ".join(f"{quote(column)} = given.{quote(column)}" for column, _ in columns[1:])
    key = quote(columns[0][0])
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(meta.db_table)} AS kept SET {sets} "
            f"FROM jsonb_to_recordset(%s::jsonb) AS given({kinds}) WHERE kept.{key} = given.{key}",
            [json.dumps(given, default=str)],
        )
