"""Watchdog: heartbeats of the tasks of this process, and the exit of a process with a hung task.

A thread that hangs in a library or on a device cannot be stopped. So a process that lets a lease expire exits; its
parent starts another, which runs the generation again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

logger = logging.getLogger(__name__)

HUNG = 70
"""Exit status of a process that the watchdog ended."""


class Heartbeat:
    """The time of the last progress of one task."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.beat()

    def beat(self) -> None:
        self.last_progress = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self.last_progress


draining = threading.Event()
"""Set when this process is to stop: no work is started any more."""
stopping = threading.Event()
"""Set when its time to finish work is over: running generations are released, and waiting requests return."""

_watches: set[Heartbeat] = set()
_lock = threading.Lock()


@contextmanager
def heartbeat(what: str) -> Iterator[Heartbeat]:
    """Watch a task: it must call `beat` at least once per lease."""
    watch = Heartbeat(what)
    with _lock:
        _watches.add(watch)
    try:
        yield watch
    finally:
        with _lock:
            _watches.discard(watch)


def is_running(what: str) -> bool:
    """Whether this process runs the task of that name."""
    with _lock:
        return any(watch.what == what for watch in _watches)


def end_if_hung() -> None:
    """Exit if any task has made no progress for longer than the lease."""
    with _lock:
        hung = [watch for watch in _watches if watch.silent_seconds > settings.LEASE_SECONDS]
    if hung:
        end_process(f"{hung[0].what} made no progress for {hung[0].silent_seconds:.0f} s")


def end_process(why: str) -> None:
    """Exit at once: the parent starts another process, which runs the interrupted work again."""
    logger.critical("%s; ending this process", why)
    logging.shutdown()
    os._exit(HUNG)
