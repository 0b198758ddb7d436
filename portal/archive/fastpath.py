"""The short way for what lies ready: stored bytes from the disk's cache to the socket, past Django's middleware.

Cornerstone asks for hundreds of frames in a row, and the way through sessions, middleware and views costs more
than the frame. This door stands before Django in `portal/asgi.py` and answers only GET of frames and whole instances
that lie on the disk as they are wanted and of single pictures, made where they do not lie ready, for a known user;
everything else, every refusal and every error goes on to Django, which decides.

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
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any, Generic, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections, connections
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from portal.accounts.web import authenticate
from portal.archive import accel, pictures, plain, sending
from portal.archive.delivery import Located, fresh
from portal.archive.queries import located, organisations
from portal.core.changes import Watch
from portal.core.errors import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")
Known = tuple[Any, tuple[int, ...]]  # who, and the organisations whose scans this person may see

IDENTITY_SECONDS, PLACE_SECONDS = 3.0, 60.0
# pictures are made beside each other, but never so many that frames wait for them
_drawing = ThreadPoolExecutor(max(2, os.cpu_count() or 2), "drawing")
U = r"[0-9.]{1,64}"
RESOURCE = re.compile(
    rf"/dicomweb/studies/(?P<study>{U})(?:/series/(?P<series>{U})(?:/instances/(?P<sop>{U})"
    r"(?:/frames/(?P<frames>\d{1,7}(?:,\d{1,7}){0,63}))?(?:/(?P<picture>rendered|thumbnail))?)?)?/?"
)


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
        self.users: Remembered[Known] = Remembered(IDENTITY_SECONDS, 2048)
        self.places: Remembered[Located] = Remembered(PLACE_SECONDS, 4096)
        self.watch = Watch(self.users.entries.clear)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            match = RESOURCE.fullmatch(scope["path"])
            if match and await self._answer(scope, match, send):
                return
        await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, match: re.Match[str], send: Send) -> bool:
        """Send what is asked for; False, before anything was sent, when Django is to answer."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, _ = split_domain_port(headers.get(b"host", ""))
        credential = (headers.get(b"authorization", ""), _session(headers.get(b"cookie", "")))
        if not any(credential) or not host or not validate_host(host, settings.ALLOWED_HOSTS):
            return False
        places = await self._located(credential, tuple(uid for uid in match.group("study", "series", "sop") if uid))
        try:
            made = plain.make(match, places, headers, scope["query_string"]) if places else None
            wish = plain.wish_of(match, places or [], headers, scope["query_string"]) if made is None else None
        except Refused:
            return False
        if wish:
            return await self._draw(wish, headers.get(b"if-none-match", ""), send)
        if made is None:
            return False
        if fresh(headers.get(b"if-none-match", ""), made.tag):
            return await _not_changed(made, send)
        if accel.wanted(headers) and (given := accel.redirect(made)):
            await send({"type": "http.response.start", "status": 200, "headers": given})
            await send({"type": "http.response.body"})
            return True
        return await sending.answer(scope, send, made.status, [*made.kept, *made.headers], made.pieces)

    async def _draw(self, wish: plain.Wish, held: str, send: Send) -> bool:
        """Make a picture, send it, and keep it; False when Django is to say why it cannot be made."""
        made = wish.made(b"")
        if fresh(held, made.tag):
            return await _not_changed(made, send)
        loop = asyncio.get_running_loop()
        try:
            # handing over a millisecond's work to a thread and waiting for it costs more than the work
            data = plain.draw(wish) if plain.quick(wish) else await loop.run_in_executor(_drawing, plain.draw, wish)
        except (Refused, OSError):
            return False
        length = (b"content-length", str(len(data)).encode())
        headers = [*made.kept, *made.headers, length, *sending.GUARDS]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})
        pictures.keep_soon(wish.digest, data)
        return True

    async def _located(self, credential: tuple[str, str], uids: tuple[str, ...]) -> list[Located] | None:
        """Where the instances lie that an address names; None for strangers and when there are none."""
        self.watch.start()
        known = self.users.get(credential)
        if known and _expired(known[0]):
            known = None
        mark = self.watch.mark()
        if known and (found := self.places.get((known[1], uids))):
            return [found]
        looked_up = await sync_to_async(_look_up, thread_sensitive=False)(credential, uids, known)
        if looked_up is None:
            return None
        user, orgs, places = looked_up
        if known is None and self.watch.holds(mark):
            self.users.put(credential, (user, orgs))
        # studies and series grow, and not everybody may see an opinion all the time
        if len(uids) == 3 and places and not places[0].opinion:
            self.places.put((orgs, uids), places[0])
        return places


async def _not_changed(made: plain.Made, send: Send) -> bool:
    await send({"type": "http.response.start", "status": 304, "headers": made.kept})
    await send({"type": "http.response.body"})
    return True


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
    credential: tuple[str, str], uids: tuple[str, ...], known: Known | None
) -> tuple[Any, tuple[int, ...], list[Located]] | None:
    """(user, organisations, places) by the same doors that Django's views use; None for strangers."""
    close_old_connections()
    try:
        user = known[0] if known else _user(*credential)
        if user is None:
            return None
        orgs = known[1] if known else tuple(sorted(organisations(user)))
        return user, orgs, located(user, *uids)
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
