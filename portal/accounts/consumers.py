"""The live channel: one browser's connection."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from portal.accounts.queries import live_groups

LOOK_AGAIN_SECONDS = 30.0  # for what no message tells: sign-out, a new password, changes by hand
NOT_SIGNED_IN = 4401


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """Passes on its user's and its organisations' events, nobody else's, for as long as they are that.

    A change of a membership makes the connection look again at once, everything else within LOOK_AGAIN_SECONDS.
    """

    names: frozenset[str] = frozenset()
    watch: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self._look()
        if not self.names:
            await self.close(code=NOT_SIGNED_IN)
            return
        await self.accept()
        self.watch = asyncio.create_task(self._watch())

    async def disconnect(self, code: int) -> None:
        if self.watch:
            self.watch.cancel()
        await self._move(frozenset())

    async def _watch(self) -> None:
        while self.names:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            await self._look_again()

    async def _look(self) -> None:
        await self._move(await groups_of(self.scope))

    async def _look_again(self) -> None:
        await self._look()
        if not self.names:
            await self.close(code=NOT_SIGNED_IN)

    async def _move(self, wanted: frozenset[str]) -> None:
        before, self.names = self.names, wanted
        for name in before - wanted:
            await self.channel_layer.group_discard(name, self.channel_name)
        for name in wanted - before:
            await self.channel_layer.group_add(name, self.channel_name)

    async def live_event(self, message: dict[str, Any]) -> None:
        if message["kind"] == "membership.changed":
            await self._look_again()
            return
        await self.send_json({"type": message["kind"], "at": message["at"], "data": message["data"]})


@database_sync_to_async
def groups_of(scope: Any) -> frozenset[str]:
    """The groups of a connection's session as things stand now; none when it ended."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(scope["session"].session_key)
    return frozenset(live_groups(get_user(request)))
