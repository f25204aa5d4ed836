"""What this process is painting, and the end of a process whose painting hangs.

No call stops a thread that hangs in a library or on a device. So a process that let a lease run out ends itself; its
parent starts another, and the generation is run again there.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from inpainting.engines.base import Queue

logger = logging.getLogger(__name__)

HUNG = 70
"""Exit status of a process that ended itself."""


class Watch:
    """One piece of work and its last sign of progress."""

    def __init__(self, what: str, queue: Queue) -> None:
        self.what = what
        self.queue = queue
        self.progressed()

    def progressed(self) -> None:
        self.last_progress = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self.last_progress


stopping = threading.Event()
"""Set when this process is told to stop: nothing is started any more, and who waits for a picture waits no longer."""

_watches: set[Watch] = set()
_lock = threading.Lock()


@contextmanager
def watched(what: str, queue: Queue = Queue.CPU) -> Iterator[Watch]:
    """Watch over a piece of work: it must call `progressed` more often than the lease lasts."""
    watch = Watch(what, queue)
    with _lock:
        _watches.add(watch)
    try:
        yield watch
    finally:
        with _lock:
            _watches.discard(watch)


def busy(queue: Queue) -> int:
    """How many pieces of work of a queue are under way."""
    with _lock:
        return sum(watch.queue is queue for watch in _watches)


def is_watched(what: str) -> bool:
    """Whether this process is at that piece of work."""
    with _lock:
        return any(watch.what == what for watch in _watches)


def end_if_hung() -> None:
    """End this process if any of its work has been silent for longer than the lease."""
    with _lock:
        hung = [watch for watch in _watches if watch.silent_seconds > settings.LEASE_SECONDS]
    if hung:
        end_process(f"{hung[0].what} made no progress for {hung[0].silent_seconds:.0f} s")


def end_process(why: str) -> None:
    """At once: its parent starts another, and what ran is run again there."""
    logger.critical("%s; ending this process", why)
    logging.shutdown()
    os._exit(HUNG)
