"""Wait until a generation or analysis has ended, without a thread or a connection for each request that waits."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from inpainting.models import completion_waiters
from inpainting.models.fair_tags import queued_models
from inpainting.models.queued_work import ENDED
from inpainting.worker import watchdog

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
QUERY_PARAMETERS = 500
"""SQLite before 3.32 takes at most 999."""


class ThreadSafeEvent(asyncio.Event):
    """An event of the running loop that other threads may set."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()

    def set(self) -> None:
        self.loop.call_soon_threadsafe(super().set)


async def wait_until_ended(pk: UUID, *, patience_seconds: float | None = None) -> bool:
    """Return True once it has ended or was deleted; False after `patience_seconds` (None: no limit) or when this
    process stops.

    An end in this process is noticed at once, one in another process at the next poll.
    """
    event = ThreadSafeEvent()
    with completion_waiters.waking(event, pk):  # before the first query, so that no later end is missed
        if await read_ended([pk]):
            return True
        if watchdog.stopping.is_set():
            return False
        poll_while_waiting()
        try:
            await asyncio.wait_for(event.wait(), patience_seconds)
        except TimeoutError:
            return False
    return not watchdog.stopping.is_set()


def find_ended(pks: Sequence[UUID]) -> set[UUID]:
    """Those of the generations and analyses that have ended or were deleted."""
    ended = set(pks)
    for model in queued_models():
        live = model.objects.exclude(status__in=ENDED).values_list("pk", flat=True)
        for start in range(0, len(pks), QUERY_PARAMETERS):
            ended.difference_update(live.filter(pk__in=pks[start : start + QUERY_PARAMETERS]))
    return ended


async def read_ended(pks: Sequence[UUID]) -> set[UUID]:
    """As `find_ended`, in a thread; none while the database does not answer."""
    try:
        return await database_sync_to_async(find_ended)(pks)
    except (DatabaseError, InterfaceError):
        logger.warning("The database does not answer; polling again in a moment", exc_info=True)
        return set()


_polling: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


def poll_while_waiting() -> None:
    """Start the one task of this event loop that polls for all requests that wait, unless it runs."""
    loop = asyncio.get_running_loop()
    if loop not in _polling or _polling[loop].done():
        # An empty context: in that of a request, asgiref runs the queries on a thread that ends with the request.
        _polling[loop] = loop.create_task(_poll(), context=contextvars.Context())


async def _poll() -> None:
    while completion_waiters.awaited():
        await asyncio.sleep(POLL_SECONDS)
        for pk in await read_ended(list(completion_waiters.awaited())):
            completion_waiters.wake(pk)
