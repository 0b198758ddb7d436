"""Answers that need no decoding: which bytes of which files, under which headers. Nothing is read or opened here."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.http import QueryDict

from portal.archive import media, pictures, render
from portal.archive.delivery import GROWS, KEPT, VARY, Located, boundary_of, byte_range, digest_of, framing, plan_frames
from portal.archive.sending import Headers, Piece, Span, in_memory
from portal.core import storage
from portal.ingest.rules import EXPLICIT, IMPLICIT

QUICK, QUICK_SIDE = 1 << 20, 1024  # bytes of a file, pixels of its picture's side


@dataclass(frozen=True)
class Made:
    """An answer: entity tag, the headers that a 304 has as well, the others, and the body."""

    tag: str
    control: str
    headers: Headers
    pieces: list[Piece] = field(default_factory=list)
    status: int = 200

    @property
    def kept(self) -> Headers:
        """Headers of the answer and of its 304."""
        return [(b"etag", self.tag.encode()), (b"cache-control", self.control.encode()), (b"vary", VARY.encode())]


def make(match: re.Match[str], places: list[Located], headers: Mapping[bytes, str], query: bytes) -> Made | None:
    """The answer to a request for what lies in `places`; None when it is not ready. Raises Refused."""
    accept = headers.get(b"accept", "")
    if not places or b"if-match" in headers or b"accept=" in query:
        return None
    if match["picture"]:
        return picture(places[0], match["frames"] or "", accept, query, match["picture"] == "thumbnail")
    if match["frames"]:
        return frames(places[0], match["frames"], accept)
    return instances(places, accept, headers, GROWS if match["sop"] is None else KEPT)


def frames(place: Located, numbers: str, accept: str) -> Made | None:
    """Frames as they are stored."""
    plan = plan_frames(place, numbers, media.parse_accept(accept))
    path = _path(place)
    if plan is None or plan.decode or path is None:
        return None
    parts: list[list[Piece]] = []
    for table in (place.table[number - 1] for number in plan.frames):
        parts.append([Span(path, at, length) for at, length in zip(table[::2], table[1::2], strict=True)])
    if not plan.offer.multipart:
        return Made(plan.tag, KEPT, [_type(plan.offer.part_type)], parts[0])
    kind, head, between, tail = framing(plan.offer.media, plan.offer.part_type, plan.tag)
    pieces: list[Piece] = [head, *parts[0]]
    for part in parts[1:]:
        pieces += [between, *part]
    return Made(plan.tag, KEPT, [_type(kind)], [*pieces, tail])


def instances(places: list[Located], accept: str, headers: Mapping[bytes, str], control: str) -> Made | None:
    """Whole instances as they are stored; one alone in the range that the headers ask for."""
    ranges = media.parse_accept(accept)
    offers = {syntax: media.instance_offer(ranges, syntax) for syntax in {place.syntax for place in places}}
    chosen = [offers[place.syntax] for place in places]
    paths = [_path(place) for place in places]
    if any(offer is None or offer.decode for offer in chosen) or None in paths:
        return None
    digest = digest_of(places)
    spans = [Span(path, 0, place.size) for path, place in zip(paths, places, strict=True) if path]
    first = chosen[0]
    if first and not first.multipart:
        return _one(spans[0], digest, headers) if len(places) == 1 else None
    boundary, pieces = boundary_of(digest), list[Piece]()
    for span, offer in zip(spans, chosen, strict=True):
        kind = offer.part_type if offer else media.DICOM
        pieces += [f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode(), span, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    kind = f'multipart/related; type="{media.DICOM}"; boundary={boundary}'
    return Made(f'"{digest}-parts"', control, [_type(kind)], pieces)


def _one(span: Span, digest: str, asked: Mapping[bytes, str]) -> Made:
    headers = [_type(media.DICOM), (b"accept-ranges", b"bytes")]
    tag = f'"{digest}-0"'
    part = byte_range(asked.get(b"range", ""), span.length) if asked.get(b"if-range", tag) == tag else None
    if part is None:
        return Made(tag, KEPT, headers, [span])
    first, last = part
    headers.append((b"content-range", f"bytes {first}-{last}/{span.length}".encode()))
    return Made(tag, KEPT, headers, [Span(span.path, first, last - first + 1)], 206)


@dataclass(frozen=True)
class Wish:
    """A picture that is asked for: of which file and frames, how it is to look, and the digest that names it."""

    place: Located
    frames: list[int]
    look: render.Look
    digest: str

    def made(self, piece: Piece) -> Made:
        """The answer that carries it."""
        return Made(pictures.tag(self.digest), KEPT, [_type(self.look.kind)], [piece])


def picture(place: Located, numbers: str, accept: str, query: bytes, thumbnail: bool) -> Made | None:
    """A picture that was made before."""
    wish = wished(place, numbers, accept, query, thumbnail)
    found = wish and pictures.located(wish.digest)
    return wish.made(Span(found[0], 0, found[1])) if wish and found else None


def wished(place: Located, numbers: str, accept: str, query: bytes, thumbnail: bool) -> Wish | None:
    """What picture is asked for; None for several at once, and for what is not there. Raises Refused."""
    look = _look(accept, query, thumbnail)
    frames = [int(number) for number in numbers.split(",")] if numbers else [1]
    if look is None or len(frames) > 1 or not 1 <= frames[0] <= place.frames:
        return None
    if look.kind == "image/gif" and not numbers and not thumbnail:
        frames = list(range(1, place.frames + 1))
    return Wish(place, frames, look, render.digest(place.sha256, frames, look))


def wish_of(match: re.Match[str], places: list[Located], headers: Mapping[bytes, str], query: bytes) -> Wish | None:
    """The picture that a request asks for and that can be made without Django. Raises Refused."""
    if not match["picture"] or not match["sop"] or not places or b"if-match" in headers or b"accept=" in query:
        return None
    numbers, thumbnail = match["frames"] or "", match["picture"] == "thumbnail"
    wish = wished(places[0], numbers, headers.get(b"accept", ""), query, thumbnail)
    return wish if wish and len(wish.frames) == 1 and _path(places[0]) else None


def quick(wish: Wish) -> bool:
    """Whether drawing takes about a millisecond and waits for nothing: a small image, not compressed, in memory."""
    path = _path(wish.place)
    small = wish.place.size <= QUICK and max(wish.look.width, wish.look.height) <= QUICK_SIDE
    return small and wish.place.syntax in {IMPLICIT, EXPLICIT} and path is not None and in_memory(path, wish.place.size)


def draw(wish: Wish) -> bytes:
    """Make the picture. Raises Refused; OSError when the file is not there."""
    path = _path(wish.place)
    if path is None:
        raise FileNotFoundError(wish.place.name)
    return render.picture(path, wish.frames, wish.look)


@functools.lru_cache(512)
def _look(accept: str, query: bytes, thumbnail: bool) -> render.Look | None:
    ranges = media.parse_accept(accept)
    kind = None if any(one.multipart for one in ranges) else media.picture_type(ranges)
    return render.look_from(QueryDict(query), kind, render.THUMBNAIL if thumbnail else 0) if kind else None


def _path(place: Located) -> Path | None:
    return storage.local_path(storage.archive(), place.name)


def _type(kind: str) -> tuple[bytes, bytes]:
    return b"content-type", kind.encode()
