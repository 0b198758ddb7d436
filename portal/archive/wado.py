"""WADO-RS (PS3.18 section 10.4): metadata, instances, frames, bulk data, pictures."""

from __future__ import annotations

import hashlib
import io
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.cache import cache
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

from portal.archive import media, metadata, queries, render
from portal.archive.files import local_copy, read_pieces
from portal.archive.models import Instance
from portal.core import storage
from portal.core.errors import Refused

CHUNK = 1 << 18
THUMBNAIL = 256
KEPT_SECONDS = 7 * 24 * 3600


def _fresh(request: HttpRequest, tag: str) -> bool:
    return tag in {t.strip() for t in request.headers.get("If-None-Match", "").split(",")}


def _kept(response: HttpResponseBase, tag: str, seconds: int = 31536000) -> HttpResponseBase:
    response["ETag"] = tag
    response["Cache-Control"] = f"private, max-age={seconds}" + (", immutable" if seconds > 86400 else "")
    response["Vary"] = "Accept, Authorization, Cookie"
    return response


def study_metadata(request: HttpRequest, study_uid: str, series_uid: str | None = None) -> HttpResponseBase:
    """DICOM JSON of a study's or a series' instances, compressed beforehand."""
    if series_uid:
        series = queries.access_series(request.user, study_uid, series_uid)
        tag = f'"{series.pk}-{series.instance_count}"'
    else:
        study = queries.access_study(request.user, study_uid)
        tag = f'"{study.pk}-{study.revision}"'
    if _fresh(request, tag):
        return _kept(HttpResponse(status=304), tag, 0)
    data = metadata.series_metadata(series) if series_uid else metadata.study_metadata(study)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response = HttpResponse(data, content_type="application/dicom+json")
        response["Content-Encoding"] = "gzip"
    else:
        import gzip

        response = HttpResponse(gzip.decompress(data), content_type="application/dicom+json")
    return _kept(response, tag, 0)


def instance_metadata(request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str) -> HttpResponse:
    """DICOM JSON of one instance."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    body = metadata.encode([metadata.public(instance.headers)])
    return HttpResponse(body, content_type="application/dicom+json")


def _path(instance: Instance) -> Path | None:
    return storage.local_path(storage.archive(), instance.name)


def frames(
    request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, numbers: str, **_: Any
) -> HttpResponseBase:
    """Frames by number, stored bytes where they are accepted (PS3.18 10.4.1.1.6)."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    wanted = [int(n) for n in numbers.split(",")]
    if any(not 1 <= n <= instance.frames for n in wanted) or not instance.rows:
        raise Http404
    offer = media.frame_offer(media.parse_accept(request.headers.get("Accept", "")), instance.transfer_syntax)
    if offer is None:
        raise Refused("not_acceptable", "None of the accepted media types can be made of these frames.", status=406)
    tag = f'"{instance.sha256[:24]}-{numbers[:40]}-{int(offer.decode)}"'
    if _fresh(request, tag):
        return _kept(HttpResponse(status=304), tag)
    with local_copy(storage.archive(), instance.name) as path:
        parts = _frame_bytes(instance, path, wanted, offer.decode)
    if not offer.multipart and len(parts) == 1:
        return _kept(HttpResponse(parts[0], content_type=offer.part_type), tag)
    return _kept(_multipart([(offer.part_type, part) for part in parts], offer.media), tag)


def _frame_bytes(instance: Instance, path: Path, wanted: list[int], decode: bool) -> list[bytes]:
    if not decode and len(instance.frame_table) >= max(wanted):
        return [read_pieces(path, instance.frame_table[n - 1]) for n in wanted]
    dataset = dcmread(path, force=True)
    try:
        out = [pixel_array(dataset, index=n - 1, raw=True) for n in wanted]
    except Exception as error:
        words = f"These frames cannot be decoded ({type(error).__name__})."
        raise Refused("not_acceptable", words, status=406) from error
    return [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in out]


def _multipart(parts: Iterable[tuple[str, bytes]], kind: str) -> HttpResponse:
    boundary = uuid.uuid4().hex
    body = io.BytesIO()
    for content_type, data in parts:
        body.write(f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode())
        body.write(data)
        body.write(b"\r\n")
    body.write(f"--{boundary}--\r\n".encode())
    return HttpResponse(body.getvalue(), content_type=f'multipart/related; type="{kind}"; boundary={boundary}')


def instances(
    request: HttpRequest, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> HttpResponseBase:
    """Whole instances as multipart/related, one after the other from the disk; one alone as a file."""
    accept = media.parse_accept(request.headers.get("Accept", ""))
    if series_uid and sop_uid:
        rows = [queries.access_instance(request.user, study_uid, series_uid, sop_uid)]
    elif series_uid:
        series = queries.access_series(request.user, study_uid, series_uid)
        rows = list(series.instances.defer("headers").order_by("number", "pk"))
    else:
        study = queries.access_study(request.user, study_uid)
        rows = list(study.instances.defer("headers").order_by("series_id", "number", "pk"))
    offers = [media.instance_offer(accept, row.transfer_syntax) for row in rows]
    if not rows or any(offer is None for offer in offers):
        raise Refused("not_acceptable", "Instances are sent as application/dicom.", status=406)
    path = _path(rows[0])
    if len(rows) == 1 and offers[0] and not offers[0].multipart and not offers[0].decode and path:
        return _kept(FileResponse(path.open("rb"), content_type="application/dicom"), f'"{rows[0].sha256[:24]}"')
    boundary = uuid.uuid4().hex
    response = StreamingHttpResponse(
        _stream(rows, [bool(o and o.decode) for o in offers], boundary),
        content_type=f'multipart/related; type="application/dicom"; boundary={boundary}',
    )
    return response


def _stream(rows: list[Instance], decode: list[bool], boundary: str) -> Iterator[bytes]:
    for row, plain in zip(rows, decode, strict=True):
        syntax = str(ExplicitVRLittleEndian) if plain else row.transfer_syntax
        yield f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={syntax}\r\n\r\n".encode()
        with local_copy(storage.archive(), row.name) as path:
            if plain:
                yield _as_explicit(path)
            else:
                with path.open("rb") as file:
                    while piece := file.read(CHUNK):
                        yield piece
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _as_explicit(path: Path) -> bytes:
    dataset = dcmread(path, force=True)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress(generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return out.getvalue()


def rendered(
    request: HttpRequest,
    study_uid: str,
    series_uid: str,
    sop_uid: str,
    numbers: str = "1",
    thumbnail: bool = False,
) -> HttpResponseBase:
    """One frame as JPEG or PNG; pictures are kept in the cache."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    frame = int(numbers.split(",")[0])
    if not 1 <= frame <= instance.frames or not instance.rows:
        raise Http404
    kind = media.picture_type(media.parse_accept(request.headers.get("Accept", "")))
    if kind is None:
        raise Refused("not_acceptable", "Pictures are image/jpeg or image/png.", status=406)
    look = render.look_from(request.GET, kind, THUMBNAIL if thumbnail else 0)
    digest = hashlib.sha256(f"{instance.sha256}/{frame}/{look}".encode()).hexdigest()
    tag = f'"{digest[:32]}"'
    if _fresh(request, tag):
        return _kept(HttpResponse(status=304), tag)
    key = f"picture/{digest}"
    data = cache.get(key)
    if data is None:
        with local_copy(storage.archive(), instance.name) as path:
            data = render.picture(path, frame, look)
        cache.set(key, data, KEPT_SECONDS)
    return _kept(HttpResponse(data, content_type=look.kind), tag)


def thumbnail_of(request: HttpRequest, study_uid: str, series_uid: str | None = None) -> HttpResponseBase:
    """The picture of a study or series: its middle image."""
    study = queries.access_study(request.user, study_uid)
    rows = study.instances.filter(rows__gt=0).select_related("series").defer("headers")
    if series_uid:
        rows = rows.filter(series__series_uid=series_uid)
    found = list(rows.order_by("series__number", "number", "pk").values_list("sop_uid", "series__series_uid"))
    if not found:
        raise Http404
    sop_uid, series = found[len(found) // 2]
    return rendered(request, study_uid, series, sop_uid, thumbnail=True)


def bulkdata(request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, place: str) -> HttpResponse:
    """A binary value that the metadata left out; `place` is tags and item numbers: 00420011 or 52009229/0/…"""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    steps = [s for s in place.split("/") if s]
    if not steps or not all(re.fullmatch(r"[0-9A-Fa-f]{8}|\d{1,6}", s) for s in steps):
        raise Http404
    with local_copy(storage.archive(), instance.name) as path:
        here: Any = dcmread(path, force=True)
        try:
            for step in steps:
                here = here[int(step, 16)].value if len(step) == 8 else here[int(step)]
        except (KeyError, IndexError, TypeError):
            raise Http404 from None
    if not isinstance(here, bytes):
        raise Http404
    return _multipart([(f"{media.OCTETS}; transfer-syntax={ExplicitVRLittleEndian}", here)], media.OCTETS)
