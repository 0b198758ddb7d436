"""The answer to a request for frames, worked out once for the plain and the fast way out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from pydicom.uid import ExplicitVRLittleEndian

from portal.archive.media import OCTETS, Offer, Range, frame_offer
from portal.archive.models import Instance
from portal.core.errors import Refused

KEPT = "private, max-age=31536000, immutable"
GROWS = "private, no-cache"  # for what another instance may change
VARY = "Accept, Authorization, Cookie"


@dataclass(frozen=True)
class Located:
    """What it takes to send frames of an instance."""

    name: str
    syntax: str
    frames: int
    sha256: str
    table: list[list[int]]
    size: int
    opinion: bool

    @classmethod
    def of(cls, instance: Instance) -> Located:
        """From a row; an instance without pixels has no frames."""
        frames = instance.frames if instance.rows else 0
        return cls(
            instance.name, instance.transfer_syntax, frames, instance.sha256, instance.frame_table, instance.size,
            instance.opinion,
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Which frames are sent, how, and under which entity tag."""

    frames: list[int]
    offer: Offer
    tag: str

    @property
    def decode(self) -> bool:
        """Whether the stored bytes do not do."""
        return self.offer.decode


def plan_frames(located: Located, numbers: str, accept: list[Range]) -> Plan | None:
    """Plan an answer; None when a frame is not there. Raises Refused (406)."""
    frames = [int(n) for n in numbers.split(",")]
    if any(not 1 <= n <= located.frames for n in frames):
        return None
    offer = frame_offer(accept, located.syntax)
    if offer is None:
        raise Refused("not_acceptable", "None of the accepted media types can be made of these frames.", 406)
    if not offer.multipart and len(frames) > 1:
        raise Refused("not_acceptable", "Several frames are sent as multipart/related only.", 406)
    if not offer.decode and len(located.table) < max(frames):
        offer = Offer(OCTETS, str(ExplicitVRLittleEndian), True, offer.multipart)
    # no commas in the tag: they part the tags of If-None-Match
    which = numbers.replace(",", ".") if len(numbers) <= 60 else hashlib.sha256(numbers.encode()).hexdigest()[:24]
    return Plan(frames, offer, f'"{located.sha256[:24]}-{which}-{offer.syntax}-{int(offer.multipart)}"')


def fresh(if_none_match: str, tag: str) -> bool:
    """Whether the client holds this version already (RFC 9110 13.1.2, weak comparison)."""
    return matches(if_none_match, tag)


def matches(header: str, tag: str) -> bool:
    """Whether a list of entity tags, or `*`, names this one."""
    given = {part.strip().removeprefix("W/") for part in header.split(",")}
    return tag in given or "*" in given


def framing(kind: str, part_type: str, tag: str) -> tuple[str, bytes, bytes, bytes]:
    """(Content-Type, before the first part, between parts, after the last) of a multipart/related answer."""
    boundary = boundary_of(tag)
    head = f"--{boundary}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    content_type = f'multipart/related; type="{kind}"; boundary={boundary}'
    return content_type, head, b"\r\n" + head, f"\r\n--{boundary}--\r\n".encode()


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(first, last) of a single `bytes=` range; None: none is asked for, and the whole is sent (RFC 9110 14.2).

    Raises Refused (416) for a range of which nothing is there.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if not found or not size or found.group(0) == "bytes=-":
        return None
    low, high = found.groups()
    if low and high and int(high) < int(low):
        return None  # no range at all (RFC 9110 14.1.1)
    first = int(low) if low else max(0, size - int(high))
    last = min(int(high), size - 1) if low and high else size - 1
    if first > last:
        raise Refused("range", f"There are {size} bytes, and none of them lies in this range.", status=416)
    return first, last


def wanted_range(request: HttpRequest, tag: str, size: int) -> tuple[int, int] | None:
    """The Range of a request, where If-Range does not name another version (RFC 9110 13.1.5)."""
    if request.headers.get("If-Range", tag) != tag:
        return None
    return byte_range(request.headers.get("Range", ""), size)


def kept(tag: str, control: str = KEPT) -> dict[str, str]:
    """Headers of an answer and of its 304: the entity tag and how long a browser (never a proxy) may keep it."""
    return {"ETag": tag, "Cache-Control": control, "Vary": VARY}


def conditional(request: HttpRequest, headers: dict[str, str]) -> HttpResponse | None:
    """304 when the client holds this version already. Raises Refused (412) when it asks for another."""
    asked = request.headers.get("If-Match", "")
    if asked and not matches(asked, headers["ETag"]):
        raise Refused("changed", "This is another version than the request's If-Match names.", status=412)
    if fresh(request.headers.get("If-None-Match", ""), headers["ETag"]):
        return HttpResponse(status=304, headers=headers)
    return None


def ranged(request: HttpRequest, content: bytes, kind: str, headers: dict[str, str]) -> HttpResponse:
    """Content in memory, or the range of it that is asked for."""
    part = wanted_range(request, headers["ETag"], len(content))
    if part is None:
        return HttpResponse(content, content_type=kind, headers={**headers, "Accept-Ranges": "bytes"})
    first, last = part
    headers = {**headers, "Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{len(content)}"}
    return HttpResponse(content[first : last + 1], status=206, content_type=kind, headers=headers)


def digest_of(places: Iterable[Located], more: str = "") -> str:
    """Names what is sent of several instances, in their order."""
    return hashlib.sha256(("".join(place.sha256 for place in places) + more).encode()).hexdigest()[:24]


def boundary_of(digest: str) -> str:
    """A boundary that follows from the content, so that the same tag always means the same bytes."""
    return hashlib.sha256(digest.encode()).hexdigest()[:32]
