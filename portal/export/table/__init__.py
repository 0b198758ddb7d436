"""A programme's cases, readings, marks, truth and model output as CSV and JSON in one zip, with a manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

MANIFEST = "manifest.json"


def write(out: BinaryIO, tables: Mapping[str, Iterable[Mapping[str, Any]]], about: Mapping[str, Any]) -> None:
    """Write the zip to `out`: <name>.csv and <name>.json for each table, and manifest.json with SHA-256 of each."""
    files: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in tables.items():
            found = [dict(row) for row in rows]
            for file, data in ((f"{name}.csv", _csv(found)), (f"{name}.json", _json(found))):
                archive.writestr(file, data)
                files[file] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "rows": len(found)}
        archive.writestr(MANIFEST, _json({**about, "files": files}))


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    # a spreadsheet must not take a comment for a formula
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t"}:
        return "'" + value
    return "" if value is None else value


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str, indent=1, ensure_ascii=False).encode()
