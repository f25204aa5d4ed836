"""The order in which queued generations start: round robin between owners, oldest first for each, per queue."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Max, QuerySet

from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Generation
from inpainting.models.generation import INPUT_IMAGES
from inpainting.worker import watchdog


def fair_order(waiting: Iterable[tuple[UUID, int]], last_served: Mapping[int, datetime]) -> Iterator[UUID]:
    """Yield generations in the order in which they start.

    waiting: (generation, owner), oldest first. last_served: owner -> the last start of one of their generations. Owners
    without a start come first, then the owner whose last start is the longest ago.
    """
    queues: dict[int, deque[UUID]] = defaultdict(deque)
    for generation, owner in waiting:
        queues[owner].append(generation)
    never = [owner for owner in queues if owner not in last_served]
    served = sorted((owner for owner in queues if owner in last_served), key=lambda owner: last_served[owner])
    turn = deque(never + served)
    while turn:
        owner = turn.popleft()
        yield queues[owner].popleft()
        if queues[owner]:
            turn.append(owner)


def startable_in(queue: Queue) -> QuerySet[Generation]:
    return Generation.startable().filter(engine__in=registry.in_queue(queue))


def worker_count(queue: Queue) -> int:
    """The number of generations of a queue that this process runs at once; on the GPU queue they share step batches."""
    return settings.WORKERS if queue is Queue.CPU else settings.DIFFUSION_AT_ONCE


def fair_order_in(queue: Queue = Queue.CPU) -> Iterator[UUID]:
    """Generations of the queue that may start now, in fair order."""
    waiting = list(startable_in(queue).order_by("created_at", "id").values_list("id", "owner_id"))
    owners = {owner for _, owner in waiting}
    served = Generation.objects.filter(
        owner__in=owners, engine__in=registry.in_queue(queue), started_at__isnull=False
    ).order_by()
    return fair_order(waiting, dict(served.values_list("owner").annotate(Max("started_at"))))


def start_next(queue: Queue = Queue.CPU) -> Generation | None:
    """Claim the next generation. None if none is queued, other workers claimed them all, or this process stops."""
    for pk in fair_order_in(queue):
        if watchdog.stopping.is_set():
            return None
        generation = Generation.objects.select_related(*INPUT_IMAGES).filter(pk=pk).first()
        if generation is not None and generation.start():
            return generation
    return None
