"""Bounded work of this process: on the thread of a message, or on one of its own, for which no broker is needed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from django.db import connections

_running: Counter[str] = Counter()
_lock = threading.Condition()


def run(name: str, work: Callable[[], object], *, at_most: int) -> None:
    """Run `work` on this thread, unless work of that name runs `at_most` times already."""
    if _may_run(name, at_most):
        _run(name, work)


def start(name: str, work: Callable[[], object], *, at_most: int) -> None:
    """Do what `run` does on a new thread, whose database connections are closed at its end."""

    def work_and_close() -> None:
        try:
            work()
        finally:
            connections.close_all()

    if _may_run(name, at_most):
        threading.Thread(target=_run, args=(name, work_and_close), name=f"{name} (poller)", daemon=True).start()


def count_running(name: str) -> int:
    """How often work of that name runs."""
    with _lock:
        return _running[name]


def wait_until_idle(*, seconds: float) -> bool:
    """Wait until no work runs. False if some still does after `seconds`."""
    with _lock:
        return _lock.wait_for(lambda: not _running.total(), timeout=seconds)


def _may_run(name: str, at_most: int) -> bool:
    with _lock:
        if _running[name] >= at_most:
            return False
        _running[name] += 1
    return True


def _run(name: str, work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        with _lock:
            _running[name] -= 1
            _lock.notify_all()
