"""Limits on what a user does at the same time in this process, since each of it occupies a thread."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from inpainting.accounting.limits import RATE, refuse_over
from inpainting.api.errors import Busy

RETRY_SECONDS = 2


class ConcurrencyLimit:
    """Counts what is in progress. what: in words, for the error. setting: the name of the setting with the limit."""

    def __init__(self, what: str, setting: str) -> None:
        self.what, self.setting = what, setting
        self.active: Counter[int] = Counter()
        """In progress, by the primary key of the user."""
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, user: Any) -> Iterator[None]:
        """Count one more of this user. Raises LimitReached at the limit."""
        key = int(user.pk or 0)
        with self._lock:
            refuse_over(getattr(settings, self.setting), self.active[key], self.what, RATE, RETRY_SECONDS)
            self.active[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self.active.subtract([key])
                if not self.active[key]:
                    del self.active[key]


limit_fetches = ConcurrencyLimit("pictures fetched at a time", "FETCHES_PER_USER")
limit_segmentations = ConcurrencyLimit("objects selected at a time", "SEGMENTATIONS_PER_USER")

WAIT_SECONDS = 30.0
_computations = threading.BoundedSemaphore(max(1, (os.cpu_count() or 2) // 2))
"""Each takes up to a few seconds, so that workers and other requests keep a processor."""


@contextmanager
def computing() -> Iterator[None]:
    """Held while an object is selected or a picture is described. Raises Busy if it is not its turn in WAIT_SECONDS."""
    if not _computations.acquire(timeout=WAIT_SECONDS):
        raise Busy
    try:
        yield
    finally:
        _computations.release()
