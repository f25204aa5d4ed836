"""Websocket consumers: the events of one generation, and of all generations of the user."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.utils import timezone

from accounts import websocket_auth
from accounts.outages import DATABASE_ERRORS
from inpainting.generations import history
from inpainting.models import Generation, Status
from inpainting.models.queued_work import ENDED
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

ASK_SECONDS = 2.0
"""The longest pause before the states are read again after messages were lost: not by all sockets at once."""
MAX_ASKED = 200
"""How many of the newest generations are sent again at most, beside those that had not ended."""
MARGIN = timedelta(minutes=1)
"""By how much the clocks of web processes may differ."""
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
        self.unfinished: set[UUID] = set()
        """Those that have not ended, as far as was sent."""
        self.heard_at = timezone.now()
        """The time of the last event, after which others may have been lost."""
        self.rechecks: asyncio.Task[None] | None = None
        self.asks: asyncio.Task[None] | None = None
        self.lost_since: datetime | None = None
        """Since when messages may have been lost, of which the states were not read again yet."""
        self.heard_meanwhile: set[UUID] = set()
        """Those of which events came while the states were read again."""
        with self.count_socket(scope["user"].pk) as within_limit:
            self.within_limit = within_limit
            try:
                await super().__call__(scope, receive, send)
            finally:
                broadcaster().unsubscribe(self)
                for task in (self.rechecks, self.asks):
                    if task is not None:
                        task.cancel()
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
            own_groups = (self.channel_group(), websocket_auth.revocation_group(self.scope))
            self.groups = (*own_groups, events.LOSS_GROUP)
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
        self.heard_at = timezone.now()
        pk, event = UUID(message["id"]), message["event"]
        if self.asks is not None:
            self.heard_meanwhile.add(pk)
        if event["type"] == "queued":
            await self.send_position(pk)
        else:
            self.forget_position(pk)
            await self.send_event(pk, event)

    async def events_lost(self, message: dict[str, Any]) -> None:
        """Read the states again, a moment later and once for all such messages until then."""
        since = min(self.heard_at, timezone.now() - timedelta(seconds=message["seconds"])) - MARGIN
        self.lost_since = min(since, self.lost_since or since)
        if self.authorized and self.asks is None:
            self.asks = asyncio.create_task(self.ask_again())

    async def access_revoked(self, message: dict[str, Any]) -> None:
        await self.refuse(SIGNED_OUT)

    # After messages were lost

    async def ask_again(self) -> None:
        """Send the states of what has not ended, or had not by the last event that was sent, or is newer than that."""
        try:
            while self.authorized and self.lost_since is not None:
                await asyncio.sleep(random.SystemRandom().uniform(0.1, 1) * ASK_SECONDS)
                await self.send_states(self.lost_since)
        except Exception:  # nothing awaits this task
            logger.exception("Reading the states of generations again failed; closing a websocket")
            await self.refuse(BROKEN)
        finally:
            self.asks = None

    async def send_states(self, since: datetime) -> None:
        """Send the states of the generations of which messages after `since` may have been lost, unless newer came."""
        self.lost_since = None
        self.heard_meanwhile.clear()
        try:
            generations = await database_sync_to_async(self.changed_generations)(since, frozenset(self.unfinished))
        except DATABASE_ERRORS:
            logger.warning("The database does not answer; reading the states again in a moment", exc_info=True)
            self.lost_since = since
            return
        for generation in generations:
            if self.authorized and generation.pk not in self.heard_meanwhile:
                self.forget_position(generation.pk)
                await self.send_current_event(generation)

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
            except DATABASE_ERRORS:
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

    async def send_event(self, pk: UUID, event: events.GenerationEvent) -> None:
        if event["type"] in ENDED:
            self.unfinished.discard(pk)
        else:
            self.unfinished.add(pk)
        await self.send_json(self.message(pk, event))

    # Implemented by subclasses

    async def refusal(self) -> int | None:
        """Return the close code if the user may not open this channel, else None."""
        raise NotImplementedError

    def channel_group(self) -> str:
        raise NotImplementedError

    def initial_generations(self) -> list[Generation]:
        """Return the generations whose current state is sent on connecting."""
        raise NotImplementedError

    def changed_generations(self, since: datetime, unfinished: Collection[UUID]) -> list[Generation]:
        """Return the generations of which messages may have been lost.

        since: before the first one. unfinished: those that had not ended then.
        """
        raise NotImplementedError

    def message(self, pk: UUID, event: events.GenerationEvent) -> dict[str, Any]:
        """Return the message to the client."""
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

    def changed_generations(self, since: datetime, unfinished: Collection[UUID]) -> list[Generation]:
        return self.initial_generations() if unfinished else []

    def message(self, pk: UUID, event: events.GenerationEvent) -> dict[str, Any]:
        return {**event}


class OwnGenerationsConsumer(GenerationEventsConsumer):
    """The events of all generations of the user, at `/ws/generations/`; each message also has the generation's `id`."""

    async def refusal(self) -> int | None:
        return None if self.scope["user"].is_authenticated else SIGNED_OUT

    def channel_group(self) -> str:
        return events.owner_group(self.scope["user"].pk)

    def initial_generations(self) -> list[Generation]:
        return list(history.unfinished(self.scope["user"]))

    def changed_generations(self, since: datetime, unfinished: Collection[UUID]) -> list[Generation]:
        own = history.for_user(self.scope["user"])
        found = [*history.unfinished(self.scope["user"]), *own.filter(pk__in=unfinished)]
        found += own.filter(created_at__gte=since)[:MAX_ASKED]
        return list({generation.pk: generation for generation in found}.values())

    def message(self, pk: UUID, event: events.GenerationEvent) -> dict[str, Any]:
        return {"id": str(pk), **event}


def is_worth_sending(sent: int | None, position: int) -> bool:
    if sent is None or min(sent, position) <= EXACT_POSITIONS:
        return sent != position
    return abs(sent - position) >= sent / 10
