"""Queue positions of waiting generations, polled once for all websockets of this process.

The queue is read once a second, and only while a connected client has a generation in it. The cost depends neither on
the number of clients nor on how many generations start and end meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from inpainting.worker import run_time_estimates
from inpainting.worker.run_time_estimates import Positions, QueuePosition

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class Subscriber(Protocol):
    async def positions_polled(self, positions: Positions) -> None: ...


class PositionBroadcaster:
    """Polls the queue while it has subscribers and passes the positions to them. Belongs to one event loop."""

    def __init__(self) -> None:
        self.latest = Positions()
        self.subscribers: set[Subscriber] = set()
        self._polling: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read_at = float("-inf")

    async def position_of(self, pk: UUID) -> QueuePosition | None:
        """Return the position, at most POLL_SECONDS old. None if not queued, or queued after the last poll."""
        if asyncio.get_running_loop().time() - self._read_at > POLL_SECONDS:
            await self.read()
        return self.latest.of(pk)

    def subscribe(self, subscriber: Subscriber) -> None:
        self.subscribers.add(subscriber)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)

    async def read(self) -> None:
        """Read the queue now. Concurrent calls share one query."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            self.latest = await database_sync_to_async(run_time_estimates.positions)()
        except (DatabaseError, InterfaceError):
            logger.warning("Reading queue positions from the database failed; trying again", exc_info=True)
        self._read_at = asyncio.get_running_loop().time()

    async def _poll(self) -> None:
        while self.subscribers:
            await asyncio.sleep(POLL_SECONDS)
            if self.subscribers:
                await self.read()
            for subscriber in list(self.subscribers):
                try:
                    await subscriber.positions_polled(self.latest)
                except Exception:  # one broken socket must not stop the updates of the others
                    logger.exception("Sending a queue position failed; unsubscribing the socket")
                    self.unsubscribe(subscriber)


_broadcasters: WeakKeyDictionary[asyncio.AbstractEventLoop, PositionBroadcaster] = WeakKeyDictionary()


def broadcaster() -> PositionBroadcaster:
    """Return the running event loop's broadcaster. A server has one loop."""
    return _broadcasters.setdefault(asyncio.get_running_loop(), PositionBroadcaster())
