"""Whole instances (PS3.18 10.4.1.1.1 to .3): streamed from the disk, never all in memory."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from portal.archive import delivery, media, queries
from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.core import storage
from portal.core.errors import Refused

CHUNK = 1 << 20


def instances(
    request: HttpRequest, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> HttpResponseBase:
    """Instances as multipart/related, one after the other; one alone as a file with ranges, where asked for."""
    rows = _rows(request, study_uid, series_uid, sop_uid)
    accept = media.parse_accept(request.headers.get("Accept", ""))
    offers = [media.instance_offer(accept, row.transfer_syntax) for row in rows]
    if not rows or any(offer is None for offer in offers):
        raise Refused("not_acceptable", "Instances are sent as application/dicom.", status=406)
    chosen = [offer for offer in offers if offer]
    if not chosen[0].multipart:
        if len(rows) > 1:
            raise Refused("not_acceptable", "Several instances are sent as multipart/related only.", status=406)
        return _one(request, rows[0], chosen[0].decode)
    boundary = uuid.uuid4().hex
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    pieces = _pieces(list(zip(rows, chosen, strict=True)), boundary)
    return _streamed(request, pieces, kind)


def _rows(request: HttpRequest, study_uid: str, series_uid: str | None, sop_uid: str | None) -> list[Instance]:
    if series_uid and sop_uid:
        return [queries.access_instance(request.user, study_uid, series_uid, sop_uid)]
    if series_uid:
        found = queries.access_series(request.user, study_uid, series_uid).instances
    else:
        found = queries.access_study(request.user, study_uid).instances
    return list(found.defer("headers", "frame_table").order_by("series__number", "series_id", "number", "pk"))


def _streamed(request: HttpRequest, pieces: Iterator[bytes], kind: str) -> StreamingHttpResponse:
    # an ASGI server would collect a plain iterator in memory before it sends
    content = _in_threads(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(content, content_type=kind)
    response["Cache-Control"], response["Vary"] = "private, no-cache", delivery.VARY
    return response


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _pieces(parts: list[tuple[Instance, media.Offer]], boundary: str) -> Iterator[bytes]:
    for row, offer in parts:
        yield f"--{boundary}\r\nContent-Type: {offer.part_type}\r\n\r\n".encode()
        yield from _file(row, offer.decode)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _file(row: Instance, decode: bool) -> Iterator[bytes]:
    with local_copy(storage.archive(), row.name) as path:
        if decode:
            yield as_explicit(path)
            return
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece


def _one(request: HttpRequest, row: Instance, decode: bool) -> HttpResponseBase:
    tag = f'"{row.sha256[:24]}-{int(decode)}"'
    headers = {"ETag": tag, "Cache-Control": delivery.KEPT, "Vary": delivery.VARY, "Accept-Ranges": "bytes"}
    if delivery.fresh(request.headers.get("If-None-Match", ""), tag):
        return HttpResponse(status=304, headers=headers)
    with local_copy(storage.archive(), row.name) as path:
        data = as_explicit(path) if decode else None
        size = len(data) if data is not None else path.stat().st_size
        wanted = delivery.byte_range(request.headers.get("Range", ""), size)
        if data is None and wanted is None:
            streamed = _streamed(request, _file(row, False), media.DICOM)
            for name, value in {**headers, "Content-Length": str(size)}.items():
                streamed[name] = value
            return streamed
        first, last = wanted or (0, size - 1)
        if data is None:
            with path.open("rb") as file:
                file.seek(first)
                data = file.read(last - first + 1)
        else:
            data = data[first : last + 1]
    response = HttpResponse(data, status=206 if wanted else 200, content_type=media.DICOM, headers=headers)
    if wanted:
        response["Content-Range"] = f"bytes {first}-{last}/{size}"
    return response


def as_explicit(path: Path) -> bytes:
    """The file as Explicit VR Little Endian, pixels decompressed. Raises Refused (406)."""
    dataset = dcmread(path, force=True)
    out = io.BytesIO()
    try:
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dcmwrite(out, dataset, enforce_file_format=True, little_endian=True, implicit_vr=False)
    except Exception as error:  # decoders raise what they like; all of it means the same here
        words = f"This instance cannot be decompressed ({type(error).__name__}); accept transfer-syntax=*."
        raise Refused("not_acceptable", words, status=406) from error
    return out.getvalue()
