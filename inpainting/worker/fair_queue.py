"""The order in which queued generations start: round robin between owners, oldest first for each, per queue."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Max, QuerySet
from django.db.models.functions import Now

from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.models import Generation
from inpainting.models.generation_request import INPUT_IMAGES
from inpainting.worker import watchdog

_claiming = threading.Lock()
_served: set[Queue] = set()
"""The queues from which this process has taken generations."""


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
    """Generations of the queue that may start now: those that must run alone, then the others, each in fair order.

    Of those of one owner that must run alone, the one with the fewest crashes comes first.
    """
    order = ("-run_alone", "attempts", "created_at", "id")
    waiting = list(startable_in(queue).order_by(*order).values_list("id", "owner_id", "run_alone"))
    served = Generation.objects.filter(
        owner__in={owner for _, owner, _ in waiting},
        engine__in=registry.in_queue(queue),
        started_at__lte=Now(),  # a later start would put its owner last until the clock, which was set back, is there
    ).order_by()
    last_served = dict(served.values_list("owner").annotate(Max("started_at")))
    for alone in (True, False):
        yield from fair_order([(pk, owner) for pk, owner, run_alone in waiting if run_alone is alone], last_served)


def start_next(queue: Queue = Queue.CPU) -> Generation | None:
    """Claim the next generation. None if none may start, other workers claimed them all, or this process stops."""
    with _claiming:
        _served.add(queue)
        must_run_alone = _must_run_alone()
        running = list(Generation.running_here().values_list("run_alone", flat=True))
        if any(running) or (running and must_run_alone):
            return None
        for pk in fair_order_in(queue):
            if watchdog.stopping.is_set():
                return None
            generation = Generation.objects.select_related(*INPUT_IMAGES).filter(pk=pk).first()
            if must_run_alone and generation is not None and not generation.run_alone:
                return None
            if generation is not None and generation.start():
                return generation
    return None


def _must_run_alone() -> bool:
    """Whether a generation that must run alone waits in a queue of this process, which then starts no other."""
    engines = [engine for queue in _served for engine in registry.in_queue(queue)]
    return Generation.startable().filter(run_alone=True, engine__in=engines).exists()
