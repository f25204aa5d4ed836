"""The live channel of one generation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from inpainting.generations import history
from inpainting.realtime import events

NOT_FOUND = 4404
"""Close code for a generation that is not there, or somebody else's."""


class GenerationConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """Sends the present state on connecting, then every event; the client's messages are not read."""

    group: str | None = None

    async def connect(self) -> None:
        pk: UUID = self.scope["url_route"]["kwargs"]["pk"]
        await self.accept()
        if await self.present_event(pk) is None:
            await self.close(NOT_FOUND)
            return
        self.group = events.group_of(pk)
        await self.channel_layer.group_add(self.group, self.channel_name)
        # Look again after joining: what happens in between is heard twice rather than never.
        present = await self.present_event(pk)
        if present is not None:
            await self.send_json(present)

    async def disconnect(self, code: int) -> None:
        if self.group is not None:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Nothing that a client says is read, be it JSON or not."""

    async def generation_event(self, message: dict[str, Any]) -> None:
        await self.send_json(message["event"])

    @database_sync_to_async
    def present_event(self, pk: UUID) -> events.Event | None:
        """None where there is nothing for this user to hear."""
        generation = history.find(self.scope["user"], pk)
        return generation.present_event if generation else None
