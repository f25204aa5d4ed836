"""After a start: what waited is rung for again, what was running when the last process died waits again."""

from __future__ import annotations

from inpainting.generations.submit import ring
from inpainting.models import Generation, Status


def recover() -> int:
    """For the process that owns this database alone. Returns how many generations wait."""
    for generation in Generation.objects.filter(status=Status.RUNNING):
        generation.put_back()
    waiting = Generation.objects.filter(status=Status.QUEUED).order_by("created_at")
    for generation in waiting:
        ring(generation)
    return len(waiting)
