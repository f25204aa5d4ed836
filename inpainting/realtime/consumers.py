"""Websocket consumers: the events of one generation, and of all generations of the user."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from accounts import websocket_auth
from inpainting.generations import history
from inpainting.models import Generation, Status
from inpainting.realtime import events
from inpainting.realtime.current_event import current_event, make_queued_event
from inpainting.realtime.queue_positions import broadcaster
from inpainting.worker.run_time_estimates import Positions

logger = logging.getLogger(__name__)

SIGNED_OUT = 4401
"""Close code: not signed in, or no longer: signed out, password changed, user deactivated, key revoked or expired."""
NOT_FOUND = 4404
"""Close code: the generation does not exist, was deleted or removed, or belongs to another user."""
TOO_MANY = 4429
"""Close code: the user has LIVE_SOCKETS_PER_USER sockets open."""
BROKEN = 1011
"""Close code: an unexpected error; the client may connect again."""

EXACT_POSITIONS = 10
"""Every change is sent up to this position; behind it, changes of a tenth or more."""


class GenerationEventsConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """Base class: sends the current state on connecting, then every event, and the queue positions as they change.

    Messages of the client are ignored.
    """

    open_sockets: ClassVar[Counter[int]] = Counter()
    """User id -> number of open sockets in this process."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.groups: tuple[str, ...] = ()
        self.authorized = False  # until `connect` has checked it, and after the socket is closed
        self.queued: dict[UUID, int | None] = {}  # waiting generations: the position that was sent last
        self.rechecks: asyncio.Task[None] | None = None
        with self.count_socket(scope["user"].pk) as within_limit:
            self.within_limit = within_limit
            try:
                await super().__call__(scope, receive, send)
            finally:
                broadcaster().unsubscribe(self)
                if self.rechecks is not None:
                    self.rechecks.cancel()
                await self.leave_groups()  # here, because `disconnect` is not called when the consumer raises

    @classmethod
    @contextmanager
    def count_socket(cls, user_id: int | None) -> Iterator[bool]:
        """Count the socket while it is open. Yields False if the user has the allowed number of sockets already."""
        within_limit = user_id is None or cls.open_sockets[user_id] < settings.LIVE_SOCKETS_PER_USER
        if user_id is None or not within_limit:
            yield within_limit
            return
        cls.open_sockets[user_id] += 1
        try:
            yield True
        finally:
            cls.open_sockets[user_id] -= 1
            if not cls.open_sockets[user_id]:
                del cls.open_sockets[user_id]

    async def connect(self) -> None:
        await self.accept()  # before closing: browsers cannot read the close code of a rejected handshake
        if not self.within_limit:
            await self.refuse(TOO_MANY)
            return
        if self.scope["user"].is_authenticated:
            self.groups = (self.channel_group(), websocket_auth.revocation_group(self.scope))
            await self.join_groups()
        # Authorization and state are read after joining: a change in between is sent twice rather than lost.
        code = await self.close_code_now()
        if code is not None:
            await self.refuse(code)
            return
        self.authorized = True
        for generation in await database_sync_to_async(self.initial_generations)():
            await self.send_current_event(generation)
        self.rechecks = asyncio.create_task(self.recheck_periodically())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Ignore every message, JSON or not."""

    # Messages from the channel layer

    async def generation_event(self, message: dict[str, Any]) -> None:
        if not self.authorized:
            return
        pk, event = UUID(message["id"]), message["event"]
        if event["type"] == "queued":
            await self.send_position(pk)
        else:
            self.forget_position(pk)
            await self.send_event(pk, event)

    async def access_revoked(self, message: dict[str, Any]) -> None:
        await self.refuse(SIGNED_OUT)

    # Queue positions

    async def positions_polled(self, positions: Positions) -> None:
        for pk, sent in list(self.queued.items()):
            place = positions.of(pk)
            if place is not None and place.is_minimum and sent is not None and sent < place.position:
                continue  # it was among those that are counted, and has started a moment ago
            if place is not None and is_worth_sending(sent, place.position):
                self.queued[pk] = place.position
                await self.send_event(pk, make_queued_event(place))

    async def send_position(self, pk: UUID) -> None:
        place = await broadcaster().position_of(pk)
        self.queued[pk] = place.position if place else None
        broadcaster().subscribe(self)
        await self.send_event(pk, make_queued_event(place))

    def forget_position(self, pk: UUID) -> None:
        self.queued.pop(pk, None)
        if not self.queued:
            broadcaster().unsubscribe(self)

    # Authorization

    async def recheck_periodically(self) -> None:
        while True:
            await asyncio.sleep(settings.LIVE_RECHECK_SECONDS)
            try:
                code = await self.close_code_now()
                if code is None:
                    await self.join_groups()  # channel layers expire group memberships after a day
            except (DatabaseError, InterfaceError):
                logger.warning("Checking a websocket's authorization failed; trying again", exc_info=True)
                continue
            except Exception:  # nothing awaits this task: it would end unnoticed and the socket stay open unchecked
                logger.exception("Checking a websocket's authorization failed; closing it")
                code = BROKEN
            if code is not None:
                await self.refuse(code)
                return

    async def close_code_now(self) -> int | None:
        """Return the close code if the client is not authorized (any more), else None. Queries the database."""
        return await self.refusal() if await websocket_auth.is_still_authorized(self.scope) else SIGNED_OUT

    async def refuse(self, code: int) -> None:
        """Close the socket. Events that are still in its channel are not sent."""
        self.authorized = False
        self.queued.clear()
        broadcaster().unsubscribe(self)
        await self.close(code)

    async def join_groups(self) -> None:
        for group in self.groups:
            await self.channel_layer.group_add(group, self.channel_name)

    async def leave_groups(self) -> None:
        for group in self.groups:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def send_current_event(self, generation: Generation) -> None:
        if generation.status == Status.QUEUED:
            await self.send_position(generation.pk)
        else:
            await self.send_event(generation.pk, await database_sync_to_async(current_event)(generation, None))

    # Implemented by subclasses

    async def refusal(self) -> int | None:
        """Return the close code if the user may not open this channel, else None."""
        raise NotImplementedError

    def channel_group(self) -> str:
        raise NotImplementedError

    def initial_generations(self) -> list[Generation]:
        """Return the generations whose current state is sent on connecting."""
        raise NotImplementedError

    async def send_event(self, pk: UUID, event: events.GenerationEvent) -> None:
        raise NotImplementedError


class GenerationConsumer(GenerationEventsConsumer):
    """The events of one generation, at `/ws/generations/<id>/`."""

    @property
    def pk(self) -> UUID:
        pk: UUID = self.scope["url_route"]["kwargs"]["pk"]
        return pk

    async def refusal(self) -> int | None:
        matching = history.for_user(self.scope["user"]).filter(pk=self.pk)
        return None if await database_sync_to_async(matching.exists)() else NOT_FOUND

    def channel_group(self) -> str:
        return events.generation_group(self.pk)

    def initial_generations(self) -> list[Generation]:
        return list(history.for_user(self.scope["user"]).filter(pk=self.pk))

    async def send_event(self, pk: UUID, event: events.GenerationEvent) -> None:
        await self.send_json(event)


class OwnGenerationsConsumer(GenerationEventsConsumer):
    """The events of all generations of the user, at `/ws/generations/`; each message also has the generation's `id`."""

    async def refusal(self) -> int | None:
        return None if self.scope["user"].is_authenticated else SIGNED_OUT

    def channel_group(self) -> str:
        return events.owner_group(self.scope["user"].pk)

    def initial_generations(self) -> list[Generation]:
        return list(history.unfinished(self.scope["user"]))

    async def send_event(self, pk: UUID, event: events.GenerationEvent) -> None:
        await self.send_json({"id": str(pk), **event})


def is_worth_sending(sent: int | None, position: int) -> bool:
    if sent is None or min(sent, position) <= EXACT_POSITIONS:
        return sent != position
    return abs(sent - position) >= sent / 10
