"""Keep a caller's lease alive while work that reports no progress runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

KEEPALIVE_SECONDS = 0.5
"""How often `keepalive` is called while the work runs."""
TIMEOUT_SECONDS = 120.0
"""The time after which work counts as hung."""

Result = TypeVar("Result")


def run_in_thread(
    work: Callable[[], Result], keepalive: Callable[[], None], *, seconds: float = TIMEOUT_SECONDS
) -> Result:
    """Run `work` on another thread and call `keepalive` meanwhile, for at most so many seconds.

    Raises what `work` raises, and what `keepalive` raises once `work` has ended.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="keepalive") as thread:
        started, running = time.monotonic(), thread.submit(copy_context().run, work)
        while wait([running], timeout=KEEPALIVE_SECONDS).not_done:
            if time.monotonic() - started < seconds:
                keepalive()
        return running.result()
