"""WADO-RS (PS3.18 section 10.4): metadata, frames, bulk data, pictures."""

from __future__ import annotations

import gzip
import hashlib
import re
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from portal.archive import delivery, media, metadata, pictures, queries, render
from portal.archive.decode import decoded_frames
from portal.archive.delivery import Located
from portal.archive.files import local_copy, read_pieces
from portal.core import storage
from portal.core.errors import Refused

THUMBNAIL = 256


def kept(response: HttpResponse, tag: str, control: str = delivery.KEPT) -> HttpResponse:
    """Give an answer its entity tag and how long a browser (never a proxy) may keep it."""
    response["ETag"], response["Cache-Control"], response["Vary"] = tag, control, delivery.VARY
    return response


def _unchanged(request: HttpRequest, tag: str, control: str = delivery.KEPT) -> HttpResponse | None:
    if delivery.fresh(request.headers.get("If-None-Match", ""), tag):
        return kept(HttpResponse(status=304), tag, control)
    return None


def _accept(request: HttpRequest) -> list[media.Range]:
    return media.parse_accept(request.headers.get("Accept", ""))


def study_metadata(request: HttpRequest, study_uid: str, series_uid: str | None = None) -> HttpResponse:
    """DICOM JSON of a study's or a series' instances, compressed beforehand."""
    if series_uid:
        series = queries.access_series(request.user, study_uid, series_uid)
        tag, make = f'"e{series.pk}-{series.instance_count}', lambda: metadata.series_metadata(series)
    else:
        study = queries.access_study(request.user, study_uid)
        tag, make = f'"t{study.pk}-{study.revision}', lambda: metadata.study_metadata(study)
    if not media.wants_json(_accept(request)):
        raise Refused("not_acceptable", "Metadata is sent as application/dicom+json.", status=406)
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    tag, control = tag + ('-gz"' if packed else '"'), "private, no-cache"
    response = _unchanged(request, tag, control)
    if response is None:
        data = make()
        response = HttpResponse(data if packed else gzip.decompress(data), content_type="application/dicom+json")
        if packed:
            response["Content-Encoding"] = "gzip"
    kept(response, tag, control)["Vary"] = f"{delivery.VARY}, Accept-Encoding"
    return response


def instance_metadata(request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str) -> HttpResponse:
    """DICOM JSON of one instance."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    body = metadata.encode([metadata.public(instance.headers)])
    response = HttpResponse(body, content_type="application/dicom+json")
    return kept(response, f'"{instance.sha256[:24]}-json"', "private, no-cache")


def frames(request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, numbers: str) -> HttpResponse:
    """Frames by number, stored bytes where they are accepted (PS3.18 10.4.1.1.6)."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    plan = delivery.plan_frames(Located.of(instance), numbers, request.headers.get("Accept", ""))
    if plan is None:
        raise Http404
    if unchanged := _unchanged(request, plan.tag):
        return unchanged
    with local_copy(storage.archive(), instance.name) as path:
        if plan.decode:
            parts = decoded_frames(path, plan.frames)
        else:
            parts = [read_pieces(path, instance.frame_table[n - 1]) for n in plan.frames]
    if not plan.offer.multipart:
        return kept(HttpResponse(parts[0], content_type=plan.offer.part_type), plan.tag)
    kind, head, between, tail = delivery.framing(plan.offer.media, plan.offer.part_type)
    return kept(HttpResponse(head + between.join(parts) + tail, content_type=kind), plan.tag)


def rendered(
    request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, numbers: str = "1", thumbnail: bool = False
) -> HttpResponse:
    """One frame as JPEG or PNG; pictures are kept on disk."""
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    frame = int(numbers.split(",")[0])
    if not 1 <= frame <= instance.frames or not instance.rows:
        raise Http404
    kind = media.picture_type(_accept(request))
    if kind is None:
        raise Refused("not_acceptable", "Pictures are image/jpeg or image/png.", status=406)
    look = render.look_from(request.GET, kind, THUMBNAIL if thumbnail else 0)
    digest = hashlib.sha256(f"{render.VERSION}/{instance.sha256}/{frame}/{look}".encode()).hexdigest()
    tag = f'"{digest[:32]}"'
    if unchanged := _unchanged(request, tag):
        return unchanged
    data = pictures.find(digest)
    if data is None:
        with local_copy(storage.archive(), instance.name) as path:
            data = render.picture(path, frame, look)
        pictures.keep(digest, data)
    return kept(HttpResponse(data, content_type=look.kind), tag)


def picture_of(
    request: HttpRequest, study_uid: str, series_uid: str | None = None, thumbnail: bool = False
) -> HttpResponse:
    """The picture of a study or series: its middle image."""
    study = queries.access_study(request.user, study_uid)
    rows = study.instances.filter(rows__gt=0)
    if series_uid:
        rows = rows.filter(series__series_uid=series_uid)
    order = ("series__number", "series_id", "number", "pk")
    found = list(rows.order_by(*order).values_list("sop_uid", "series__series_uid"))
    if not found:
        raise Http404
    sop_uid, series = found[len(found) // 2]
    response = rendered(request, study_uid, series, sop_uid, thumbnail=thumbnail)
    response["Cache-Control"] = "private, max-age=60"  # another image may become the middle one
    return response


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
    accept = _accept(request)
    if not any(one.media in {"*/*", media.OCTETS} for one in accept):
        raise Refused("not_acceptable", "Bulk data is sent as application/octet-stream.", status=406)
    tag = f'"{instance.sha256[:24]}-{place}"'
    if accept[0].media == media.OCTETS and not accept[0].multipart:
        return kept(HttpResponse(here, content_type=media.OCTETS), tag)
    kind, head, _, tail = delivery.framing(media.OCTETS, f"{media.OCTETS}; transfer-syntax={ExplicitVRLittleEndian}")
    return kept(HttpResponse(head + here + tail, content_type=kind), tag)
