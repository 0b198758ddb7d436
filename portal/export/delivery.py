"""A data set's file as an answer: whole, or the part that a broken download still wants (RFC 9110 14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import FileResponse, HttpRequest

from portal.archive.delivery import byte_range
from portal.core import storage
from portal.export.models import DataSet
from portal.export.sets import CONTAINERS

PIECE = 1 << 20
TYPES = {"zip": "application/zip", "tar": "application/gzip"}


def file_of(request: HttpRequest, row: DataSet) -> FileResponse:
    """The file with its SHA-256 as ETag; a part of it by `Range`, unless `If-Range` names another file."""
    file = storage.archive().open(row.name)
    tag, kind = f'"{row.sha256[:32]}"', TYPES[row.container]
    wanted = byte_range(request.headers.get("Range", ""), row.size)
    if wanted and request.headers.get("If-Range", tag) == tag:
        first, last = wanted
        file.seek(first)
        answer = FileResponse(_piece(file, last - first + 1), status=206, content_type=kind)
        answer["Content-Range"] = f"bytes {first}-{last}/{row.size}"
        answer["Content-Length"] = str(last - first + 1)
    else:
        answer = FileResponse(file, content_type=kind)
    name = f"{row.programme.slug}-{row.format}-{row.asked_at:%Y%m%d-%H%M}.{CONTAINERS[row.container]}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Accept-Ranges"], answer["ETag"] = "bytes", tag
    return answer


def _piece(file: Any, size: int) -> Iterator[bytes]:
    with file:
        while size > 0 and (data := file.read(min(PIECE, size))):
            size -= len(data)
            yield data
