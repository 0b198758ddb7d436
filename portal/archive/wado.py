"""WADO-RS (PS3.18 section 10.4): metadata, frames, bulk data."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from portal.archive import delivery, media, metadata, queries
from portal.archive.delivery import Located
from portal.archive.dicom_xml import xml_parts
from portal.archive.files import local_copy, read_pieces
from portal.archive.transcode import frames_as
from portal.core import storage
from portal.core.errors import Refused

JSON, XML = "application/dicom+json", "application/dicom+xml"


def study_metadata(
    request: HttpRequest, study_uid: str, series_uid: str | None = None
) -> HttpResponse | StreamingHttpResponse:
    """DICOM JSON of a study's or a series' instances, compressed beforehand; or the same in XML."""
    if series_uid:
        series = queries.access_series(request.user, study_uid, series_uid)
        blind = queries.blind(request.user, series.study)
        tag, make = f'"e{series.pk}-{series.instance_count}', lambda: metadata.series_metadata(series, blind)
    else:
        study = queries.access_study(request.user, study_uid)
        blind = queries.blind(request.user, study)
        tag, make = f'"t{study.pk}-{study.revision}', lambda: metadata.study_metadata(study, blind)
    tag += "-images" if blind else ""
    kind = metadata_kind(request)
    if kind == XML:
        return _as_xml(request, f'{tag}-xml"', delivery.GROWS, lambda: gzip.decompress(make()))
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    headers = delivery.kept(tag + ('-gz"' if packed else '"'), delivery.GROWS)
    headers["Vary"] = f"{delivery.VARY}, Accept-Encoding"
    if answer := delivery.conditional(request, headers):
        return answer
    data = make()
    if packed:
        headers["Content-Encoding"] = "gzip"
    return HttpResponse(data if packed else gzip.decompress(data), content_type=JSON, headers=headers)


def instance_metadata(
    request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str
) -> HttpResponse | StreamingHttpResponse:
    """DICOM JSON or XML of one instance."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    kind, tag = metadata_kind(request), instance.sha256[:24]
    body = metadata.encode([metadata.public(instance.headers)])
    if kind == XML:
        return _as_xml(request, f'"{tag}-xml"', delivery.GROWS, lambda: body)
    headers = delivery.kept(f'"{tag}-json"', delivery.GROWS)
    return delivery.conditional(request, headers) or HttpResponse(body, content_type=JSON, headers=headers)


def metadata_kind(request: HttpRequest) -> str:
    """DICOM JSON or the Native DICOM Model in XML, whichever is wanted more (PS3.18 8.7.3.3). Raises Refused (406)."""
    for one in media.accepted(request):
        if one.media == XML:
            return XML
        if media.wants_json([one]):
            return JSON
    raise Refused("not_acceptable", f"Metadata is sent as {JSON} or {XML}.", status=406)


def _as_xml(
    request: HttpRequest, tag: str, control: str, make: Callable[[], bytes]
) -> HttpResponse | StreamingHttpResponse:
    """A document for each instance (PS3.19 A.1) as multipart/related, one after the other."""
    headers = delivery.kept(tag, control)
    if answer := delivery.conditional(request, headers):
        return answer
    kind, head, between, tail = delivery.framing(XML, XML, tag)
    items = xml_parts(make())

    def parts() -> Iterator[bytes]:
        mark = head
        for item in items:
            yield mark + item
            mark = between
        yield tail

    return StreamingHttpResponse(parts(), content_type=kind, headers=headers)


def frames(request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, numbers: str) -> HttpResponse:
    """Frames by number, stored bytes where they are accepted (PS3.18 10.4.1.1.6)."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    plan = delivery.plan_frames(Located.of(instance), numbers, media.accepted(request))
    if plan is None:
        raise Http404
    headers = delivery.kept(plan.tag)
    if answer := delivery.conditional(request, headers):
        return answer
    with local_copy(storage.archive(), instance.name) as path:
        if plan.decode:
            parts = frames_as(path, plan.frames, plan.offer.syntax)
        else:
            parts = [read_pieces(path, instance.frame_table[n - 1]) for n in plan.frames]
    if not plan.offer.multipart:
        return delivery.ranged(request, parts[0], plan.offer.part_type, headers)
    kind, head, between, tail = delivery.framing(plan.offer.media, plan.offer.part_type, plan.tag)
    return HttpResponse(head + between.join(parts) + tail, content_type=kind, headers=headers)


def bulkdata(request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, place: str) -> HttpResponse:
    """A binary value that the metadata left out; `place` is tags and item numbers from 1: 52009229/1/00420011."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    if re.fullmatch(r"7FE000(?:08|09|10)", place, re.IGNORECASE) and instance.rows:
        return frames(request, study_uid, series_uid, sop_uid, ",".join(map(str, range(1, instance.frames + 1))))
    steps = [step for step in place.split("/") if step]
    if not steps or not all(re.fullmatch(r"[0-9A-Fa-f]{8}|[1-9]\d{0,5}", step) for step in steps):
        raise Http404
    with local_copy(storage.archive(), instance.name) as path:
        here: Any = dcmread(path, force=True, stop_before_pixels=True)
        try:
            for step in steps:
                here = here[int(step, 16)].value if len(step) == 8 else here[int(step) - 1]
        except (KeyError, IndexError, TypeError):
            raise Http404 from None
    if not isinstance(here, bytes):
        raise Http404
    wanted = [one for one in media.accepted(request) if one.media in {"*/*", "application/*", media.OCTETS}]
    if not wanted:
        raise Refused("not_acceptable", "Bulk data is sent as application/octet-stream.", status=406)
    single = wanted[0].media == media.OCTETS and not wanted[0].multipart
    tag = f'"{instance.sha256[:24]}-{place.replace("/", ".")}-{int(single)}"'
    headers = delivery.kept(tag)
    if answer := delivery.conditional(request, headers):
        return answer
    if single:
        return delivery.ranged(request, here, media.OCTETS, headers)
    kind, head, _, tail = delivery.framing(
        media.OCTETS, f"{media.OCTETS}; transfer-syntax={ExplicitVRLittleEndian}", tag
    )
    return HttpResponse(head + here + tail, content_type=kind, headers=headers)
