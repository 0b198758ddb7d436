"""The event channel of a subscriber (PS3.18 8.10.4, 11.13): a web socket on which event reports are sent."""

from __future__ import annotations

import asyncio
import uuid
from importlib import import_module
from typing import Any

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import Http404, HttpRequest
from rest_framework.exceptions import AuthenticationFailed

from portal.accounts.models import User
from portal.accounts.queries import memberships
from portal.accounts.web import authenticate
from portal.core.changes import Watch
from portal.core.errors import Refused
from portal.read.models import CHANNEL
from portal.read.workitems import subscribing

log = structlog.get_logger(__name__)
LOOK_AGAIN_SECONDS = 30.0  # for what no word from the database tells: a sign-out, a panel that changed
NOT_SIGNED_IN, REFUSED, REPLACED, FAILED = 4401, 4400, 4409, 1011
IN_ORDER = {1000, 1001}  # closed by the client, and not because something broke


class _Bell:
    """Wakes the open channels of this process when the database says that a report was written."""

    def __init__(self) -> None:
        self.waiting: set[asyncio.Event] = set()
        self.watch = Watch(self.ring, CHANNEL)

    def ring(self) -> None:
        for event in self.waiting:
            event.set()


bell = _Bell()


class EventChannel(AsyncWebsocketConsumer):
    """Sends a subscriber what it is owed, for as long as its user may hear it; a newer channel takes its place."""

    work: asyncio.Task[None] | None = None
    subscriber = 0

    async def connect(self) -> None:
        self.number = uuid.uuid4()
        user = await who_of(self.scope)
        if user is None:
            await self.close(code=NOT_SIGNED_IN)
            return
        title = self.scope["url_route"]["kwargs"]["aet"]
        try:
            self.subscriber = await database_sync_to_async(subscribing.connect)(user, title, self.number)
        except (Refused, Http404):
            await self.close(code=REFUSED)
            return
        await self.accept()
        self.work = asyncio.create_task(self._work())

    async def disconnect(self, code: int) -> None:
        if self.work:
            self.work.cancel()
            if code in IN_ORDER:
                await database_sync_to_async(subscribing.disconnect)(self.subscriber, self.number)

    async def _work(self) -> None:
        wake = asyncio.Event()
        bell.waiting.add(wake)
        bell.watch.start()
        try:
            await self.close(code=await self._tell(wake))
        except Exception as error:  # the client comes again, and nothing is lost
            log.warning("workitems.channel_failed", error=repr(error))
            await self.close(code=FAILED)
        finally:
            bell.waiting.discard(wake)

    async def _tell(self, wake: asyncio.Event) -> int:
        """Send until the channel has to end; returns the code to close with."""
        while True:
            wake.clear()
            user = await who_of(self.scope)
            if user is None:
                return NOT_SIGNED_IN
            found = await database_sync_to_async(subscribing.next_reports)(user, self.subscriber, self.number)
            if found is None:
                return REPLACED
            for _, text in found:
                await self.send(text_data=text)
            await database_sync_to_async(subscribing.sent)(self.subscriber, [key for key, _ in found])
            if not found:
                try:
                    await asyncio.wait_for(wake.wait(), LOOK_AGAIN_SECONDS)
                except TimeoutError:
                    continue


@database_sync_to_async
def who_of(scope: Any) -> User | None:
    """Who a connection is as things stand now, by token if it came with one, else by session; None for strangers."""
    request = HttpRequest()
    given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(
        None if given else scope["session"].session_key
    )
    request.user = get_user(request)
    request.META["HTTP_AUTHORIZATION"] = given
    request.method = "GET"
    try:
        user = authenticate(request)
    except AuthenticationFailed:
        return None
    return user if isinstance(user, User) and memberships(user).exists() else None
