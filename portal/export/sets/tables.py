"""Cases, readings, marks, truth and model output as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from portal.export import queries
from portal.export.scope import Scope


def files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """<name>.csv and <name>.json of each table."""
    return _files(queries.tables(scope), ("csv", "json"))


def csv_files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """<name>.csv of each table."""
    return _files(queries.tables(scope), ("csv",))


def json_files(scope: Scope) -> Iterator[tuple[str, Iterator[bytes]]]:
    """<name>.json of each table."""
    return _files(queries.tables(scope), ("json",))


def _files(
    tables: Mapping[str, Iterable[Mapping[str, Any]]], kinds: tuple[str, ...]
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Rows are read once and never held together: they wait in a temporary file until all columns are known."""
    for name, rows in tables.items():
        with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
            columns = _spool(rows, spool)
            for kind in kinds:
                yield f"{name}.{kind}", _csv(_lines(spool), columns) if kind == "csv" else _json(_lines(spool))


def _spool(rows: Iterable[Mapping[str, Any]], spool: IO[str]) -> list[str]:
    columns: dict[str, None] = {}
    for row in rows:
        columns |= dict.fromkeys(row)
        spool.write(json.dumps(dict(row), default=str, ensure_ascii=False) + "\n")
    return list(columns)


def _lines(spool: IO[str]) -> Iterator[str]:
    spool.seek(0)
    for line in spool:
        yield line.rstrip("\n")


def _csv(lines: Iterable[str], columns: list[str]) -> Iterator[bytes]:
    return csv_pieces(([json.loads(line).get(column) for column in columns] for line in lines), columns)


def csv_pieces(rows: Iterable[Iterable[Any]], columns: list[str]) -> Iterator[bytes]:
    """A CSV file line by line."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(value) for value in row])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _json(lines: Iterable[str]) -> Iterator[bytes]:
    before = "[\n"
    for line in lines:
        yield (before + line).encode()
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def cell(value: Any) -> Any:
    """A value as a cell of a CSV file; text that a spreadsheet would take for a formula is quoted."""
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return "'" + value
    return "" if value is None else value
