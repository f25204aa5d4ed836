"""Wait for a generation in the same call, without holding up anybody else."""

from __future__ import annotations

import time

from inpainting.models import Generation, Status, completion_waiters
from inpainting.worker import watchdog

FIRST_LOOK_SECONDS, LONGEST_PAUSE_SECONDS = 0.03, 0.5


def wait_until_ended(generation: Generation, *, patience_seconds: float | None = None) -> bool:
    """True once it has ended; False when the patience (None: endless) ran out or this process stops before.

    Refreshes the generation. An end in this process is heard of at once, one in another at the next look.
    What is deleted meanwhile was cancelled.
    """
    started, pause = time.monotonic(), FIRST_LOOK_SECONDS
    with completion_waiters.awaited(generation.pk) as ended:  # before the first look: an end after it is heard
        while True:
            try:
                generation.refresh_from_db()
            except Generation.DoesNotExist:
                generation.status = Status.CANCELLED  # deleted while it waited or ran; there is no row to say so
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
