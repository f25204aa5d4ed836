"""Tell a working device from a hung one: the device's thread sets a deadline before each piece of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

LOADING_SECONDS = 600.0
"""For reading weights or compiling: several GB from a slow disk."""
FIRST_STEP_SECONDS, MIN_STEP_SECONDS, STEP_TIME_FACTOR = 600.0, 60.0, 10.0
"""A step whose duration is known may take STEP_TIME_FACTOR times as long, and at least MIN_STEP_SECONDS."""


class DeviceWatchdog:
    """Written by the device's thread, read by the threads that wait for it."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self.is_broken = False
        """The device no longer answers; only another process can use it."""

    @property
    def is_alive(self) -> bool:
        deadline = self._deadline  # read once: the other thread may reset it in between
        return not self.is_broken and (deadline is None or time.monotonic() < deadline)

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Allow so many seconds for the work inside the context."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def step_deadline(self, expected_seconds: float | None) -> AbstractContextManager[None]:
        """The deadline of a step. expected_seconds: None before any was measured."""
        if expected_seconds is None:
            return self.deadline(FIRST_STEP_SECONDS)
        return self.deadline(max(MIN_STEP_SECONDS, STEP_TIME_FACTOR * expected_seconds))
