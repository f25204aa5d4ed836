"""Events that threads of this process wait on until a generation has ended.

Only a shortcut: a generation that ends in another process sets no event here, so waiting code also polls its row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

_lock = threading.Lock()
_waiting: dict[UUID, set[threading.Event]] = {}


@contextmanager
def end_event(pk: UUID) -> Iterator[threading.Event]:
    """An event that is set when the end of the generation is committed in this process, or by `wake_all`."""
    event = threading.Event()
    with _lock:
        _waiting.setdefault(pk, set()).add(event)
    try:
        yield event
    finally:
        with _lock:
            _waiting[pk].discard(event)
            if not _waiting[pk]:
                del _waiting[pk]


def awaited() -> set[UUID]:
    """The generations whose end threads of this process wait for."""
    with _lock:
        return set(_waiting)


def wake(pk: UUID) -> None:
    with _lock:
        for event in _waiting.get(pk, ()):
            event.set()


def wake_all() -> None:
    """Set every event, because this process is stopping."""
    with _lock:
        for events in _waiting.values():
            for event in events:
                event.set()
