"""Who in this process waits for a generation to end, and is woken when it has.

A shortcut beside the row, which alone is the truth: what ends in another process wakes nobody here, so whoever waits
looks at the row from time to time as well.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

_lock = threading.Lock()
_waiting: dict[UUID, set[threading.Event]] = {}


@contextmanager
def awaited(pk: UUID) -> Iterator[threading.Event]:
    """An event that is set when the generation's end is committed in this process, or when everybody is woken."""
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


def wake(pk: UUID) -> None:
    with _lock:
        for event in _waiting.get(pk, ()):
            event.set()


def wake_all() -> None:
    """This process stops: nobody waits any longer."""
    with _lock:
        for events in _waiting.values():
            for event in events:
                event.set()
