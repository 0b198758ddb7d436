"""Whole instances (PS3.18 10.4.1.1.1 to .3) by way of Django: what the short way does not send.

That is: transcoded instances, storages that are no folder, and whatever the server must refuse. Files are streamed,
never all in memory; an instance is transcoded when its turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from portal.archive import delivery, media, queries, transcode
from portal.archive.delivery import Located
from portal.archive.files import local_copy
from portal.core import storage
from portal.core.errors import Refused

CHUNK = 1 << 20


def instances(request: HttpRequest, study_uid: str, series_uid: str = "", sop_uid: str = "") -> HttpResponseBase:
    """Instances as multipart/related, one after the other; one alone as a file with ranges, where asked for."""
    places = queries.located(request.user, study_uid, series_uid, sop_uid)
    if not places:
        raise Http404
    accept = media.accepted(request)
    offers = [media.instance_offer(accept, place.syntax) for place in places]
    chosen = [offer for offer in offers if offer]
    if len(chosen) < len(offers):
        words = f"Instances are sent as {media.DICOM}, as stored, or in one of {', '.join(sorted(media.TARGETS))}."
        raise Refused("not_acceptable", words, status=406)
    if any(not storage.archive().exists(place.name) for place in places):
        raise FileNotFoundError
    if not chosen[0].multipart:
        if len(places) > 1:
            raise Refused("not_acceptable", "Several instances are sent as multipart/related only.", status=406)
        return one(request, places[0], chosen[0])
    digest = delivery.digest_of(places, "" if not any(o.decode for o in chosen) else "".join(o.syntax for o in chosen))
    headers = delivery.kept(f'"{digest}-parts"', delivery.KEPT if sop_uid else delivery.GROWS)
    if answer := delivery.conditional(request, headers):
        return answer
    boundary = delivery.boundary_of(digest)
    kind = f'multipart/related; type="{media.DICOM}"; boundary={boundary}'
    parts = _pieces(list(zip(places, chosen, strict=True)), boundary)
    return StreamingHttpResponse(parts, content_type=kind, headers=headers)


def _pieces(parts: list[tuple[Located, media.Offer]], boundary: str) -> Iterator[bytes]:
    for place, offer in parts:
        yield f"--{boundary}\r\nContent-Type: {offer.part_type}\r\n\r\n".encode()
        yield from _file(place, offer)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _file(place: Located, offer: media.Offer) -> Iterator[bytes]:
    with local_copy(storage.archive(), place.name) as path:
        if offer.decode:
            yield transcode.instance_as(path, offer.syntax)
            return
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece


def one(request: HttpRequest, place: Located, offer: media.Offer) -> HttpResponseBase:
    headers = delivery.kept(f'"{delivery.digest_of([place])}-{offer.syntax if offer.decode else 0}"')
    headers["Accept-Ranges"] = "bytes"
    if answer := delivery.conditional(request, headers):
        return answer
    if offer.decode:
        return delivery.ranged(request, b"".join(_file(place, offer)), media.DICOM, headers)
    part = delivery.wanted_range(request, headers["ETag"], place.size)
    if part is None:
        headers["Content-Length"] = str(place.size)
        return StreamingHttpResponse(_file(place, offer), content_type=media.DICOM, headers=headers)
    first, last = part
    with local_copy(storage.archive(), place.name) as path, path.open("rb") as file:
        file.seek(first)
        content = file.read(last - first + 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{place.size}"
    return HttpResponse(content, status=206, content_type=media.DICOM, headers=headers)
