"""Whether the thread that owns the device is alive: within the time that what it does may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

LOADING_SECONDS = 600.0
"""For what reads weights or compiles: several GB from a slow disk."""
FIRST_STEP_SECONDS, LEAST_STEP_SECONDS, TIMES_THE_USUAL = 600.0, 60.0, 10.0


class DeviceWatchdog:
    """Written by the device's thread, read by those who wait for it."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self.is_broken = False
        """The device answers no more: only another process can use it."""

    @property
    def is_alive(self) -> bool:
        deadline = self._deadline  # read once: the other thread may forget it meanwhile
        return not self.is_broken and (deadline is None or time.monotonic() < deadline)

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """What is done inside may take so long."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def step_deadline(self, usual_seconds: float | None) -> AbstractContextManager[None]:
        if usual_seconds is None:
            return self.deadline(FIRST_STEP_SECONDS)
        return self.deadline(max(LEAST_STEP_SECONDS, TIMES_THE_USUAL * usual_seconds))
