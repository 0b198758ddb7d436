"""Rendered resources and thumbnails (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.4); pictures are kept on disk."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from portal.archive import delivery, media, pictures, queries, render
from portal.archive.files import local_copy
from portal.archive.models import Instance
from portal.core import storage
from portal.core.errors import Refused

ORDER = ("series__number", "series_id", "number", "pk")
MOST_TOGETHER = 1000  # pictures in one answer


def rendered(
    request: HttpRequest, study_uid: str, series_uid: str, sop_uid: str, numbers: str = "", thumbnail: bool = False
) -> HttpResponseBase:
    """Frames as one JPEG, PNG or GIF; several of them, or where asked for, as multipart/related.

    Without frame numbers a GIF moves through all frames, and the other kinds show the first.
    """
    instance = queries.access_instance(request.user, study_uid, series_uid, sop_uid)
    kind, multipart = wanted_kind(request)
    look = render.look_from(request.GET, kind, render.THUMBNAIL if thumbnail else 0)
    frames = [int(number) for number in numbers.split(",")] if numbers else [1]
    if kind == "image/gif" and not thumbnail and not numbers:
        frames = list(range(1, instance.frames + 1))
    if not instance.rows or any(not 1 <= frame <= instance.frames for frame in frames):
        raise Http404
    if multipart or (len(frames) > 1 and kind != "image/gif"):
        return _together(((instance, frame) for frame in frames), look)
    return one(request, instance, frames, look)


def one(request: HttpRequest, instance: Instance, frames: list[int], look: render.Look) -> HttpResponse:
    """One picture, from the disk where it was made before."""
    digest = render.digest(instance.sha256, frames, look)
    headers = delivery.kept(pictures.tag(digest))
    if answer := delivery.conditional(request, headers):
        return answer
    return HttpResponse(_picture(instance, frames, look), content_type=look.kind, headers=headers)


def picture_of(
    request: HttpRequest, study_uid: str, series_uid: str | None = None, thumbnail: bool = False
) -> HttpResponseBase:
    """The picture of a study or series: its middle image; as multipart/related all of its images."""
    rows = queries.shown(request.user, queries.access_study(request.user, study_uid)).filter(rows__gt=0)
    if series_uid:
        rows = rows.filter(series__series_uid=series_uid)
    rows = rows.select_related("series").defer("headers", "frame_table").order_by(*ORDER)
    count = rows.count()
    if not count:
        raise Http404
    kind, multipart = wanted_kind(request)
    if multipart and not thumbnail:
        if count > MOST_TOGETHER:
            raise Refused("too_many", f"At most {MOST_TOGETHER} pictures are sent at once; ask by series.", status=413)
        return _together(((row, 1) for row in list(rows)), render.look_from(request.GET, kind))
    middle = rows[count // 2]
    response = rendered(request, study_uid, middle.series.series_uid, middle.sop_uid, "1", thumbnail)
    response["Cache-Control"] = "private, max-age=60"  # another image may become the middle one
    return response


def wanted_kind(request: HttpRequest) -> tuple[str, bool]:
    """(media type, whether as multipart/related). Raises Refused (406)."""
    accept = media.accepted(request)
    kind = media.picture_type(accept)
    if kind is None:
        raise Refused("not_acceptable", f"Pictures are sent as {', '.join(media.PICTURES)}.", status=406)
    return kind, any(one.multipart for one in accept if one.media in {kind, "image/*"})


def _picture(instance: Instance, frames: list[int], look: render.Look) -> bytes:
    digest = render.digest(instance.sha256, frames, look)
    data = pictures.find(digest)
    if data is None:
        with local_copy(storage.archive(), instance.name) as path:
            data = render.picture(path, frames, look)
        pictures.keep(digest, data)
    return data


def _together(images: Iterator[tuple[Instance, int]], look: render.Look) -> HttpResponseBase:
    """Pictures one after the other, each made when its turn comes; what cannot be shown is left out."""
    kind, head, between, tail = delivery.framing(look.kind, look.kind, f"{look}")

    def parts() -> Iterator[bytes]:
        mark = head
        for instance, frame in images:
            try:
                data = _picture(instance, [frame], look)
            except (Refused, FileNotFoundError):
                continue
            yield mark + data
            mark = between
        yield tail

    return StreamingHttpResponse(parts(), content_type=kind, headers={"Cache-Control": delivery.GROWS})
