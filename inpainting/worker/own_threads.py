"""Threads on which the poller runs what waits, so that a worker needs no message from the broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from django.db import connections

_running: Counter[str] = Counter()
_lock = threading.Lock()


def start(name: str, work: Callable[[], None], *, at_most: int) -> None:
    """Run `work` on a new thread, unless `at_most` threads of that name are running."""
    with _lock:
        if _running[name] >= at_most:
            return
        _running[name] += 1
    threading.Thread(target=_run, args=(name, work), name=f"{name} (poller)", daemon=True).start()


def _run(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        connections.close_all()
        with _lock:
            _running[name] -= 1
