"""The live channel: of one generation, and of all of one's own."""

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
from inpainting.realtime.current_event import present_event, queued_event
from inpainting.realtime.places import Places, lookout

logger = logging.getLogger(__name__)

SIGNED_OUT = 4401
"""Close code: nobody is signed in, or no longer: signed out, another password, deactivated, key revoked or expired."""
NOT_FOUND = 4404
"""Close code for a generation that is not there (any more), or somebody else's."""
TOO_MANY = 4429
"""Close code for more sockets than LIVE_SOCKETS_PER_USER."""
BROKEN = 1011
"""Close code where we cannot go on: connecting again may help."""

EXACT_TO = 10
"""Positions up to which every change is told; further back, changes of a tenth: nobody counts those."""


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """What both channels have in common. The client's messages are not read.

    On connecting it sends the present state, then every event; of those that wait, their places as the line moves.
    """

    open_sockets: ClassVar[Counter[int]] = Counter()
    """By user, in this process."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.groups: tuple[str, ...] = ()
        self.may_listen = False  # not before it was asked, and never again once it is closed
        self.waiting: dict[UUID, int | None] = {}  # what waits, and the position that was told last
        self.rechecks: asyncio.Task[None] | None = None
        with self.counted(scope["user"].pk) as fits:
            self.fits = fits
            try:
                await super().__call__(scope, receive, send)
            finally:
                lookout().leave(self)
                if self.rechecks is not None:
                    self.rechecks.cancel()
                await self.leave_groups()  # here, for not every end is a disconnection

    @classmethod
    @contextmanager
    def counted(cls, user_id: int | None) -> Iterator[bool]:
        """False where the user has as many sockets as allowed."""
        fits = user_id is None or cls.open_sockets[user_id] < settings.LIVE_SOCKETS_PER_USER
        if user_id is None or not fits:
            yield fits
            return
        cls.open_sockets[user_id] += 1
        try:
            yield True
        finally:
            cls.open_sockets[user_id] -= 1
            if not cls.open_sockets[user_id]:
                del cls.open_sockets[user_id]

    async def connect(self) -> None:
        await self.accept()  # or a browser could not read the close code
        if not self.fits:
            await self.turn_away(TOO_MANY)
            return
        if self.scope["user"].is_authenticated:
            self.groups = (self.group_of_what(), websocket_auth.revocation_group(self.scope))
            await self.join_groups()
        # Ask and look after joining: what happens in between is heard twice rather than never.
        refusal = await self.present_refusal()
        if refusal is not None:
            await self.turn_away(refusal)
            return
        self.may_listen = True
        for generation in await database_sync_to_async(self.present)():
            await self.tell_present(generation)
        self.rechecks = asyncio.create_task(self.check_again_and_again())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Nothing that a client says is read, be it JSON or not."""

    # What the channel layer brings

    async def generation_event(self, message: dict[str, Any]) -> None:
        if not self.may_listen:
            return
        pk, event = UUID(message["id"]), message["event"]
        if event["type"] == "queued":
            await self.tell_waiting(pk)
        else:
            self.waits_no_longer(pk)
            await self.tell(pk, event)

    async def access_revoked(self, message: dict[str, Any]) -> None:
        await self.turn_away(SIGNED_OUT)

    # Places in line

    async def hear_places(self, places: Places) -> None:
        for pk, told in list(self.waiting.items()):
            place = places.get(pk)
            if place is not None and is_worth_telling(told, place.position):
                self.waiting[pk] = place.position
                await self.tell(pk, queued_event(place))

    async def tell_waiting(self, pk: UUID) -> None:
        place = await lookout().place_of(pk)
        self.waiting[pk] = place.position if place else None
        lookout().join(self)
        await self.tell(pk, queued_event(place))

    def waits_no_longer(self, pk: UUID) -> None:
        self.waiting.pop(pk, None)
        if not self.waiting:
            lookout().leave(self)

    # Who may listen

    async def check_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(settings.LIVE_RECHECK_SECONDS)
            try:
                refusal = await self.present_refusal()
                if refusal is None:
                    await self.join_groups()  # a layer forgets memberships after a day
            except (DatabaseError, InterfaceError):
                logger.warning("The database does not say who may listen; asking again", exc_info=True)
                continue
            except Exception:  # nobody waits for this task: it would end unseen, and the socket outlive its right
                logger.exception("Nobody can say whether this socket may stay")
                refusal = BROKEN
            if refusal is not None:
                await self.turn_away(refusal)
                return

    async def present_refusal(self) -> int | None:
        """The close code for who may not listen, or no longer; asked of the database."""
        return await self.refusal() if await websocket_auth.is_still_authorized(self.scope) else SIGNED_OUT

    async def turn_away(self, code: int) -> None:
        """Close it; what was sent to it and not yet read is not told any more."""
        self.may_listen = False
        self.waiting.clear()
        lookout().leave(self)
        await self.close(code)

    async def join_groups(self) -> None:
        for group in self.groups:
            await self.channel_layer.group_add(group, self.channel_name)

    async def leave_groups(self) -> None:
        for group in self.groups:
            await self.channel_layer.group_discard(group, self.channel_name)

    # What is listened to

    async def tell_present(self, generation: Generation) -> None:
        if generation.status == Status.QUEUED:
            await self.tell_waiting(generation.pk)
        else:
            await self.tell(generation.pk, await database_sync_to_async(present_event)(generation, None))

    async def refusal(self) -> int | None:
        """The close code for who may not listen."""
        raise NotImplementedError

    def group_of_what(self) -> str:
        raise NotImplementedError

    def present(self) -> list[Generation]:
        """Those whose state a new listener must know."""
        raise NotImplementedError

    async def tell(self, pk: UUID, event: events.Event) -> None:
        raise NotImplementedError


class GenerationConsumer(LiveConsumer):
    """`/ws/generations/<id>/`"""

    @property
    def pk(self) -> UUID:
        pk: UUID = self.scope["url_route"]["kwargs"]["pk"]
        return pk

    async def refusal(self) -> int | None:
        its = history.of(self.scope["user"]).filter(pk=self.pk)
        return None if await database_sync_to_async(its.exists)() else NOT_FOUND

    def group_of_what(self) -> str:
        return events.group_of(self.pk)

    def present(self) -> list[Generation]:
        generation = history.find(self.scope["user"], self.pk)
        return [generation] if generation else []

    async def tell(self, pk: UUID, event: events.Event) -> None:
        await self.send_json(event)


class AllMineConsumer(LiveConsumer):
    """`/ws/generations/`: every message names its generation."""

    async def refusal(self) -> int | None:
        return None if self.scope["user"].is_authenticated else SIGNED_OUT

    def group_of_what(self) -> str:
        return events.group_of_owner(self.scope["user"].pk)

    def present(self) -> list[Generation]:
        return list(history.under_way(self.scope["user"]))

    async def tell(self, pk: UUID, event: events.Event) -> None:
        await self.send_json({"id": str(pk), **event})


def is_worth_telling(told: int | None, position: int) -> bool:
    if told is None or min(told, position) <= EXACT_TO:
        return told != position
    return abs(told - position) >= told / 10
