"""Plain round robin between owners, oldest first for each: the order that start-time fair queueing is compared with."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import Max

from inpainting.engines.base import Queue
from inpainting.models import Generation, Status


def round_robin(waiting: Iterable[tuple[UUID, int]], last_served: Mapping[int, datetime]) -> Iterator[UUID]:
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


def round_robin_in(queue: Queue) -> Iterator[UUID]:
    """The order of all waiting generations of a queue, from all waiting rows and the history of their owners."""
    rows = Generation.objects.filter(status=Status.QUEUED, queue=queue).order_by("created_at", "id")
    waiting = list(rows.values_list("id", "owner_id"))
    served = Generation.objects.filter(owner__in={owner for _, owner in waiting}, queue=queue, started_at__isnull=False)
    return round_robin(waiting, dict(served.order_by().values_list("owner").annotate(Max("started_at"))))
