"""Wait until a generation or analysis has ended, without a thread or a connection for each request that waits."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError
from django.dispatch import receiver

from inpainting.database.fair_tags import queued_models
from inpainting.models.queued_work import ENDED, work_ended
from inpainting.worker import watchdog

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
QUERY_PARAMETERS = 500
"""SQLite before 3.32 takes at most 999."""

_lock = threading.Lock()
_waiting: dict[UUID, list[ThreadSafeEvent]] = {}
"""What requests of this process wait for -> the events that are set at its end."""


class ThreadSafeEvent(asyncio.Event):
    """An event of the running loop that other threads may set."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()

    def set(self) -> None:
        self.loop.call_soon_threadsafe(super().set)


@contextmanager
def waking(event: ThreadSafeEvent, pk: UUID) -> Iterator[None]:
    """Set the event when the end is committed in this process, and at `wake_all`."""
    with _lock:
        _waiting.setdefault(pk, []).append(event)
    try:
        yield
    finally:
        with _lock:
            _waiting[pk].remove(event)
            if not _waiting[pk]:
                del _waiting[pk]


def awaited() -> set[UUID]:
    """The generations and analyses whose end requests of this process wait for."""
    with _lock:
        return set(_waiting)


def wake(pk: UUID) -> None:
    """Let the requests go on that wait for this generation or analysis, because it has ended or was deleted."""
    with _lock:
        events = list(_waiting.get(pk, ()))
    for event in events:
        event.set()


def wake_all() -> None:
    """Let every request go on that waits, because this process is stopping."""
    for pk in awaited():
        wake(pk)


@receiver(work_ended)
def wake_at_end(pk: UUID, **kwargs: Any) -> None:
    wake(pk)


async def wait_until_ended(pk: UUID, *, patience_seconds: float | None = None) -> bool:
    """Return True once it has ended or was deleted; False after `patience_seconds` (None: no limit) or when this
    process stops.

    An end in this process is noticed at once, one in another process at the next poll.
    """
    event = ThreadSafeEvent()
    with waking(event, pk):  # before the first query, so that no later end is missed
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
    """Call `find_ended` in a thread. Returns none while the database does not answer."""
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
    while awaited():
        await asyncio.sleep(POLL_SECONDS)
        for pk in await read_ended(list(awaited())):
            wake(pk)
