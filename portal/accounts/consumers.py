"""The live channel: one browser's connection."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from portal.accounts.queries import live_groups


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """Passes on its user's and its organisations' events, nobody else's."""

    names: list[str]

    async def connect(self) -> None:
        self.names = await live_groups(self.scope.get("user"))
        if not self.names:
            await self.close(code=4401)
            return
        for name in self.names:
            await self.channel_layer.group_add(name, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for name in self.names:
            await self.channel_layer.group_discard(name, self.channel_name)

    async def live_event(self, message: dict[str, Any]) -> None:
        await self.send_json({"type": message["kind"], "at": message["at"], "data": message["data"]})
