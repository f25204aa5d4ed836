"""How long it will take, from how long the like of it took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from django.conf import settings

from inpainting.generations.line import in_line
from inpainting.models import Generation, Status

REMEMBERED, NEIGHBOURS = 200, 9


def likely_seconds(pixels: int, past: Sequence[tuple[int, float]]) -> float | None:
    """The median time of the past paintings nearest in size. past: (pixels painted, seconds). None without a past."""
    if not past:
        return None
    nearest = sorted(past, key=lambda one: abs(math.log1p(one[0]) - math.log1p(pixels)))[:NEIGHBOURS]
    return median(seconds for _, seconds in nearest)


def past_of(engine: str) -> list[tuple[int, float]]:
    """What the engine painted last: (pixels, seconds)."""
    done = Generation.objects.filter(engine=engine, status=Status.SUCCEEDED).order_by("-finished_at")[:REMEMBERED]
    times = done.values_list("painted_pixels", "started_at", "finished_at")
    return [(pixels, (ended - started).total_seconds()) for pixels, started, ended in times if started and ended]


def place_in_line(generation: Generation) -> tuple[int, float | None] | None:
    """(position, seconds until it is painted) of a waiting generation: 1 starts next. None for what does not wait."""
    if generation.status != Status.QUEUED:
        return None
    order = list(in_line())
    if generation.pk not in order:
        return None
    position = 1 + order.index(generation.pk)
    ahead = Generation.objects.filter(pk__in=order[: position - 1]) | Generation.objects.filter(status=Status.RUNNING)
    past = {}
    before = 0.0
    for engine, pixels in ahead.values_list("engine", "painted_pixels"):
        if engine not in past:
            past[engine] = past_of(engine)
        before += likely_seconds(pixels, past[engine]) or 0
    own = likely_seconds(generation.painted_pixels, past.get(generation.engine) or past_of(generation.engine))
    return position, None if own is None else round(before / settings.WORKERS + own, 1)
