"""WADO-URI (PS3.18 section 9) for clients that are older than WADO-RS: one instance, one address, all by parameters."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponseBase, QueryDict
from pydicom.uid import ExplicitVRLittleEndian

from portal.archive import media, queries, render, rendered, whole
from portal.archive.delivery import Located
from portal.archive.models import Instance
from portal.core.errors import Refused

UIDS = ("studyUID", "seriesUID", "objectUID")


def retrieve(request: HttpRequest) -> HttpResponseBase:
    """The instance as a file, or one of its frames as a picture.

    `anonymize` asks for nothing more: what is stored here has no identity. `charset` is that of the file.
    """
    query = request.GET
    if query.get("requestType") != "WADO":
        raise Refused("bad_query", "requestType=WADO is missing.", status=400)
    uids = [query.get(name, "").strip() for name in UIDS]
    if not all(uids):
        raise Refused("bad_query", f"{', '.join(UIDS)} are all needed.", status=400)
    if query.get("presentationUID"):
        raise Refused("bad_query", "Presentation states are not applied here.", status=400)
    instance = queries.access_instance(request.user, *uids)
    kind = _kind(query.get("contentType", ""), bool(instance.rows))
    return _file(request, instance) if kind == media.DICOM else _picture(request, instance, kind)


def _kind(wanted: str, image: bool) -> str:
    """The media type of the answer: pictures of images and files of everything else, unless asked otherwise."""
    if not wanted:
        return media.PICTURES[0] if image else media.DICOM
    for one in media.parse_accept(wanted):
        if one.media in {media.DICOM, "application/*"}:
            return media.DICOM
        if image and (kind := media.picture_type([one])):
            return kind
    words = f"contentType is {media.DICOM} or, for images, one of {', '.join(media.PICTURES)}."
    raise Refused("not_acceptable", words, status=406)


def _file(request: HttpRequest, instance: Instance) -> HttpResponseBase:
    syntax = request.GET.get("transferSyntax") or str(ExplicitVRLittleEndian)
    offer = media.instance_offer(
        [media.Range(media.DICOM, False, {"transfer-syntax": syntax})], instance.transfer_syntax
    )
    if offer is None:
        raise Refused("not_acceptable", "The file cannot be sent in this transfer syntax.", status=406)
    return whole.one(request, Located.of(instance), offer)


def _picture(request: HttpRequest, instance: Instance, kind: str) -> HttpResponseBase:
    query = request.GET
    try:
        frame = int(query.get("frameNumber") or 1)
        sides = [int(query.get(name) or 0) for name in ("columns", "rows")]
        region = [float(value) for value in query.get("region", "0,0,1,1").split(",")]
        left, top, right, bottom = (min(max(value, 0.0), 1.0) for value in region)
    except (ValueError, OverflowError):
        words = "rows, columns, frameNumber are whole numbers; region is left,top,right,bottom from 0 to 1."
        raise Refused("bad_query", words, status=400) from None
    if not 1 <= frame <= instance.frames or not instance.rows:
        raise Http404
    asked = QueryDict(mutable=True)
    for name, old in (("annotation", "annotation"), ("quality", "imageQuality")):
        asked[name] = query.get(old, "")
    if query.get("windowCenter") or query.get("windowWidth"):
        asked["window"] = f"{query.get('windowCenter', '')},{query.get('windowWidth', '')},linear"
    if any(sides) or "region" in query:
        width, height = (side or render.MAX_SIDE for side in sides) if any(sides) else (0, 0)
        x, y = round(left * instance.columns), round(top * instance.rows)
        right, bottom = round(right * instance.columns), round(bottom * instance.rows)
        asked["viewport"] = f"{width},{height},{x},{y},{right - x},{bottom - y}"
    return rendered.one(request, instance, [frame], render.look_from(asked, kind))
