"""Block the thread of an HTTP request until a generation has ended."""

from __future__ import annotations

import time

from inpainting.models import Generation, Status, completion_waiters
from inpainting.worker import watchdog

FIRST_POLL_SECONDS, LONGEST_PAUSE_SECONDS = 0.03, 0.5


def wait_until_ended(generation: Generation, *, patience_seconds: float | None = None) -> bool:
    """Return True once it has ended; False after `patience_seconds` (None: no limit) or when this process stops.

    Refreshes the generation. An end in this process is noticed at once, one in another process at the next poll.
    A generation that is deleted meanwhile counts as cancelled.
    """
    started, pause = time.monotonic(), FIRST_POLL_SECONDS
    with completion_waiters.end_event(generation.pk) as ended:  # before the first poll, so that no later end is missed
        while True:
            try:
                generation.refresh_from_db()
            except Generation.DoesNotExist:
                generation.status = Status.CANCELLED  # deleted while queued or running; there is no row any more
            if generation.has_ended:
                return True
            if watchdog.stopping.is_set():
                return False
            left = pause
            if patience_seconds is not None:
                left = min(pause, started + patience_seconds - time.monotonic())
                if left <= 0:
                    return False
            if ended.wait(left):
                ended.clear()
            pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)
