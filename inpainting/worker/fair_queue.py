"""Whose turn it is: round robin between users, oldest first within one; a line for each queue of engines."""

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
from inpainting.models.generation import GIVEN
from inpainting.worker import watchdog


def fair_order(waiting: Iterable[tuple[UUID, int]], last_served: Mapping[int, datetime]) -> Iterator[UUID]:
    """The generations in the order in which they start.

    waiting: (generation, owner), oldest first. last_served: when each owner's generation last started; whoever was
    served longest ago comes first, and who never was before all others.
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


def workers_of(queue: Queue) -> int:
    """How many generations of a queue this process runs at once; those on the GPU share its steps."""
    return settings.WORKERS if queue is Queue.CPU else settings.DIFFUSION_AT_ONCE


def in_line(queue: Queue = Queue.CPU) -> Iterator[UUID]:
    """The generations that may start now, in their order."""
    waiting = list(startable_in(queue).order_by("created_at", "id").values_list("id", "owner_id"))
    owners = {owner for _, owner in waiting}
    served = Generation.objects.filter(
        owner__in=owners, engine__in=registry.in_queue(queue), started_at__isnull=False
    ).order_by()
    return fair_order(waiting, dict(served.values_list("owner").annotate(Max("started_at"))))


def start_next(queue: Queue = Queue.CPU) -> Generation | None:
    """Start whose turn it is. None when nobody waits, others were faster with all who do, or we are stopping."""
    for pk in in_line(queue):
        if watchdog.stopping.is_set():
            return None
        generation = Generation.objects.select_related(*GIVEN).filter(pk=pk).first()
        if generation is not None and generation.start():
            return generation
    return None
