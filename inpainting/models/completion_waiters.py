"""Events that are set when a generation has ended, for requests of this process that wait for it.

Only a shortcut: a generation that ends in another process sets no event here, so waiting code also polls its row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID


class WaiterEvent(Protocol):
    def set(self) -> None:
        """Called from any thread."""


_lock = threading.Lock()
_waiting: dict[UUID, list[WaiterEvent]] = {}


@contextmanager
def waking(event: WaiterEvent, pk: UUID) -> Iterator[None]:
    """Set the event when the end of the generation is committed in this process, and at `wake_all`."""
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
    """The generations whose end requests of this process wait for."""
    with _lock:
        return set(_waiting)


def wake(pk: UUID) -> None:
    with _lock:
        events = list(_waiting.get(pk, ()))
    for event in events:
        event.set()


def wake_all() -> None:
    """Set every event, because this process is stopping."""
    for pk in awaited():
        wake(pk)
