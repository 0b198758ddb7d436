"""A programme's cases, readings, marks, truth and model output as CSV and JSON in one zip, with a manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

MANIFEST = "manifest.json"


def write(out: IO[bytes], tables: Mapping[str, Iterable[Mapping[str, Any]]], about: Mapping[str, Any]) -> None:
    """Write the zip to `out`: <name>.csv and <name>.json for each table, and manifest.json with SHA-256 of each.

    Rows are read once and never held together: they wait in a temporary file until all columns are known.
    """
    files: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in tables.items():
            with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
                columns, count = _spool(rows, spool)
                for file, pieces in (
                    (f"{name}.csv", _csv(_lines(spool), columns)),
                    (f"{name}.json", _json(_lines(spool))),
                ):
                    files[file] = {**_add(archive, file, pieces), "rows": count}
        archive.writestr(MANIFEST, json.dumps({**about, "files": files}, default=str, indent=1, ensure_ascii=False))


def _spool(rows: Iterable[Mapping[str, Any]], spool: IO[str]) -> tuple[list[str], int]:
    columns: dict[str, None] = {}
    count = 0
    for row in rows:
        columns |= dict.fromkeys(row)
        spool.write(json.dumps(dict(row), default=str, ensure_ascii=False) + "\n")
        count += 1
    return list(columns), count


def _lines(spool: IO[str]) -> Iterator[str]:
    spool.seek(0)
    for line in spool:
        yield line.rstrip("\n")


def _add(archive: zipfile.ZipFile, file: str, pieces: Iterable[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with archive.open(file, "w", force_zip64=True) as entry:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            entry.write(piece)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _csv(lines: Iterable[str], columns: list[str]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for line in lines:
        row = json.loads(line)
        writer.writerow([cell(row.get(column)) for column in columns])
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
