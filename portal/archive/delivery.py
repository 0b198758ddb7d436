"""The answer to a request for frames, worked out once for the plain and the fast way out."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass

from portal.archive.media import Offer, frame_offer, parse_accept
from portal.archive.models import Instance
from portal.core.errors import Refused

KEPT = "private, max-age=31536000, immutable"
VARY = "Accept, Authorization, Cookie"


@dataclass(frozen=True)
class Located:
    """What it takes to send frames of an instance."""

    name: str
    syntax: str
    frames: int
    sha256: str
    table: list[list[int]]

    @classmethod
    def of(cls, instance: Instance) -> Located:
        """From a row; an instance without pixels has no frames."""
        frames = instance.frames if instance.rows else 0
        return cls(instance.name, instance.transfer_syntax, frames, instance.sha256, instance.frame_table)


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


def plan_frames(located: Located, numbers: str, accept: str) -> Plan | None:
    """Plan an answer; None when a frame is not there. Raises Refused (406)."""
    frames = [int(n) for n in numbers.split(",")]
    if any(not 1 <= n <= located.frames for n in frames):
        return None
    offer = frame_offer(parse_accept(accept), located.syntax)
    if offer is None:
        raise Refused("not_acceptable", "None of the accepted media types can be made of these frames.", 406)
    if not offer.multipart and len(frames) > 1:
        raise Refused("not_acceptable", "Several frames are sent as multipart/related only.", 406)
    if len(located.table) < max(frames):
        offer = Offer(offer.media, offer.syntax, True, offer.multipart)
    # no commas in the tag: they part the tags of If-None-Match
    which = numbers.replace(",", ".") if len(numbers) <= 60 else hashlib.sha256(numbers.encode()).hexdigest()[:24]
    return Plan(frames, offer, f'"{located.sha256[:24]}-{which}-{offer.syntax}-{int(offer.multipart)}"')


def fresh(if_none_match: str, tag: str) -> bool:
    """Whether the client holds this version already (RFC 9110 13.1.2, weak comparison)."""
    given = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return tag in given or "*" in given


def framing(kind: str, part_type: str) -> tuple[str, bytes, bytes, bytes]:
    """(Content-Type, before the first part, between parts, after the last) of a multipart/related answer."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    content_type = f'multipart/related; type="{kind}"; boundary={boundary}'
    return content_type, head, b"\r\n" + head, f"\r\n--{boundary}--\r\n".encode()


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(first, last) of a single `bytes=` range that fits, else None and the whole is sent (RFC 9110 14.2)."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if not found or not size or found.group(0) == "bytes=-":
        return None
    low, high = found.groups()
    first = int(low) if low else max(0, size - int(high))
    last = min(int(high), size - 1) if low and high else size - 1
    return (first, last) if first <= last else None
