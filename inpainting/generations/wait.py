"""Wait for a generation in the same call, without holding up anybody else."""

from __future__ import annotations

from inpainting.generations import watch
from inpainting.models import Generation

FIRST_LOOK_SECONDS, LONGEST_PAUSE_SECONDS = 0.03, 0.5


def wait_until_ended(generation: Generation, *, patience_seconds: float | None = None) -> bool:
    """True once it has ended; False when the patience (None: endless) ran out or this process stops before.

    Refreshes the generation.
    """
    waited, pause = 0.0, FIRST_LOOK_SECONDS
    while True:
        generation.refresh_from_db()
        if generation.has_ended:
            return True
        if patience_seconds is not None and waited >= patience_seconds:
            return False
        if watch.stopping.wait(pause):
            return False
        waited += pause
        pause = min(pause * 1.3, LONGEST_PAUSE_SECONDS)
