"""The short way for frames: stored bytes from the disk's cache to the socket, past Django's middleware.

Cornerstone asks for hundreds of frames in a row, and the way through sessions, middleware and views costs more
than the frame. This door stands before Django in `portal/asgi.py` and answers only `GET …/frames/N` of stored
bytes for a known user; everything else, every refusal and every error goes on to Django, which decides.

What is remembered: who a token or session is, for IDENTITY_SECONDS and only while the database tells this process
when somebody's access changes (`core.changes`): then all of it is forgotten at once. And where an instance lies
(stored files never change), for PLACE_SECONDS.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections, connections
from django.http import Http404, HttpRequest
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from portal.accounts.web import authenticate
from portal.archive.delivery import KEPT, VARY, Located, framing, fresh, plan_frames
from portal.archive.queries import access_instance, organisations
from portal.core import storage
from portal.core.changes import AccessWatch
from portal.core.errors import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")

IDENTITY_SECONDS, PLACE_SECONDS = 3.0, 60.0
U = r"([0-9.]{1,64})"
FRAMES = re.compile(rf"/dicomweb/studies/{U}/series/{U}/instances/{U}/frames/(\d{{1,7}}(?:,\d{{1,7}}){{0,63}})/?")


class Remembered(Generic[T]):
    """A small mapping whose entries end after `seconds`; the oldest go first."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self.most = seconds, most
        self.entries: OrderedDict[Any, tuple[float, T]] = OrderedDict()

    def get(self, key: Any) -> T | None:
        found = self.entries.get(key)
        if found is None or found[0] < time.monotonic():
            return None
        return found[1]

    def put(self, key: Any, value: T) -> T:
        self.entries[key] = (time.monotonic() + self.seconds, value)
        self.entries.move_to_end(key)
        while len(self.entries) > self.most:
            self.entries.popitem(last=False)
        return value


class FastFrames:
    """ASGI middleware; `app` answers whatever this does not."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.users: Remembered[tuple[Any, tuple[int, ...]]] = Remembered(IDENTITY_SECONDS, 2048)
        self.places: Remembered[Located] = Remembered(PLACE_SECONDS, 4096)
        self.watch = AccessWatch(self.users.entries.clear)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            match = FRAMES.fullmatch(scope["path"])
            if match and await self._answer(scope, match, send):
                return
        await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, match: re.Match[str], send: Send) -> bool:
        """Send the frames; False, before anything was sent, when Django is to answer."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, _ = split_domain_port(headers.get(b"host", ""))
        credential = (headers.get(b"authorization", ""), _session(headers.get(b"cookie", "")))
        if not any(credential) or not host or not validate_host(host, settings.ALLOWED_HOSTS):
            return False
        try:
            located = await self._located(credential, match.groups()[:3])
            plan = plan_frames(located, match[4], headers.get(b"accept", "")) if located else None
        except Refused:
            return False
        if located is None or plan is None or plan.decode or not plan.offer.multipart:
            return False
        kept = [(b"etag", plan.tag.encode()), (b"cache-control", KEPT.encode()), (b"vary", VARY.encode())]
        if fresh(headers.get(b"if-none-match", ""), plan.tag):
            await send({"type": "http.response.start", "status": 304, "headers": kept})
            await send({"type": "http.response.body"})
            return True
        path = storage.local_path(storage.archive(), located.name)
        pieces = await read_frames(path, [located.table[n - 1] for n in plan.frames]) if path else None
        if pieces is None:
            return False
        kind, head, between, tail = framing(plan.offer.media, plan.offer.part_type)
        parts: list[bytes | bytearray] = [head]
        for number, frame in enumerate(pieces):
            parts += [between, *frame] if number else frame
        size = sum(map(len, parts)) + len(tail)
        kept += [
            (b"content-type", kind.encode()),
            (b"content-length", str(size).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": kept})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": tail})
        return True

    async def _located(self, credential: tuple[str, str], uids: tuple[str, ...]) -> Located | None:
        self.watch.start()
        known = self.users.get(credential)
        if known and _expired(known[0]):
            known = None
        mark = self.watch.mark()
        if known and (found := self.places.get((known[1], uids))):
            return found
        looked_up = await sync_to_async(_look_up, thread_sensitive=False)(credential, uids, known)
        if looked_up is None:
            return None
        user, orgs, located = looked_up
        if known is None and self.watch.holds(mark):
            self.users.put(credential, (user, orgs))
        return self.places.put((orgs, uids), located) if located else None


def _expired(user: Any) -> bool:
    """Whether the token with which the user came has ended by itself."""
    ends = user.token.expires_at if user.token else None
    return ends is not None and ends <= timezone.now()


def _session(cookies: str) -> str:
    if settings.SESSION_COOKIE_NAME not in cookies:
        return ""
    try:
        found = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return found.value if found else ""


def _look_up(
    credential: tuple[str, str], uids: tuple[str, ...], known: tuple[Any, tuple[int, ...]] | None
) -> tuple[Any, tuple[int, ...], Located | None] | None:
    """(user, organisations, place) by the same doors that Django's views use; None for strangers."""
    close_old_connections()
    try:
        user = known[0] if known else _user(*credential)
        if user is None:
            return None
        orgs = known[1] if known else tuple(sorted(organisations(user)))
        try:
            return user, orgs, Located.of(access_instance(user, *uids))
        except Http404:
            return user, orgs, None
    finally:
        connections.close_all()  # back to the pool: these threads have no request that would do it


def _user(authorization: str, session: str) -> Any:
    request = HttpRequest()
    request.method = "GET"
    if authorization:
        request.META["HTTP_AUTHORIZATION"] = authorization
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session or None)
    request.user = get_user(request)
    try:
        return authenticate(request)
    except AuthenticationFailed:
        return None


async def read_frames(path: Path, tables: list[list[int]]) -> list[list[bytearray]] | None:
    """The pieces of each frame, [[offset, length, …], …]; None when the file is not there or too short.

    What the page cache holds is read at once; only what has to come from the disk waits in a thread.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        pieces: list[list[bytearray]] = []
        for table in tables:
            spans = list(zip(table[::2], table[1::2], strict=True))
            frame = [bytearray(length) for _, length in spans]
            for buffer, (offset, _) in zip(frame, spans, strict=True):
                done = _cached(handle, buffer, offset)
                if done < len(buffer) and not await asyncio.to_thread(_rest, handle, buffer, offset, done):
                    return None
            pieces.append(frame)
        return pieces
    finally:
        os.close(handle)


def _cached(handle: int, buffer: bytearray, offset: int) -> int:
    try:
        return os.preadv(handle, [buffer], offset, os.RWF_NOWAIT)
    except (OSError, AttributeError):  # not in the cache, or a system without RWF_NOWAIT
        return 0


def _rest(handle: int, buffer: bytearray, offset: int, done: int) -> bool:
    view = memoryview(buffer)
    while done < len(buffer):
        got = os.preadv(handle, [view[done:]], offset + done)
        if got == 0:
            return False
        done += got
    return True
