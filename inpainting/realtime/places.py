"""Where the waiting ones stand in line, for all sockets of this process together.

The line is looked at once a second, and only while somebody here listens to one that waits: it costs the same however
many generations start and end meanwhile, and however many listen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from inpainting.worker import run_time_estimates
from inpainting.worker.run_time_estimates import Place

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
Places = Mapping[UUID, Place]


class Listener(Protocol):
    async def hear_places(self, places: Places) -> None: ...


class Lookout:
    """Looks at the line while it has listeners. Of one event loop."""

    def __init__(self) -> None:
        self.latest: Places = {}
        self.listeners: set[Listener] = set()
        self._rounds: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    async def place_of(self, pk: UUID) -> Place | None:
        """Its place as of the last second. None for what does not wait, or waits since then: the next look tells."""
        if asyncio.get_running_loop().time() - self._looked_at > LOOK_EVERY_SECONDS:
            await self.look()
        return self.latest.get(pk)

    def join(self, listener: Listener) -> None:
        self.listeners.add(listener)
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.create_task(self._go_round())

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)

    async def look(self) -> None:
        """Look now; who comes while somebody looks waits for what that one sees."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        try:
            self.latest = await database_sync_to_async(run_time_estimates.places)()
        except (DatabaseError, InterfaceError):
            logger.warning("The database does not say who waits; looking again in a moment", exc_info=True)
        self._looked_at = asyncio.get_running_loop().time()

    async def _go_round(self) -> None:
        while self.listeners:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if self.listeners:
                await self.look()
            for listener in list(self.listeners):
                try:
                    await listener.hear_places(self.latest)
                except Exception:  # one broken socket must not silence the others
                    logger.exception("A socket does not take its place in line")
                    self.leave(listener)


_lookouts: WeakKeyDictionary[asyncio.AbstractEventLoop, Lookout] = WeakKeyDictionary()


def lookout() -> Lookout:
    """That of the running loop: a server has one."""
    return _lookouts.setdefault(asyncio.get_running_loop(), Lookout())
