"""The order in which queued generations start: by their tags, see `inpainting.models.fair_tags`."""

from __future__ import annotations

import threading
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from inpainting.engines.base import Queue
from inpainting.leases import NOT_LEASED
from inpainting.models import Generation, Status
from inpainting.models.generation_request import INPUT_IMAGES
from inpainting.worker import watchdog

ORDER = ("attempts", "start_tag", "created_at", "id")
"""Attempts: only of those that must run alone, whose crashes count; the one with the fewest comes first."""

_claiming = threading.Lock()
_served: set[Queue] = set()
"""The queues from which this process has taken generations."""


def startable_in(queue: Queue) -> QuerySet[Generation]:
    return Generation.startable().filter(queue=queue)


def waiting_in(queue: str, *, alone: bool) -> QuerySet[Generation]:
    """The queued generations that must run alone, or the others, in the order in which they start.

    Also those whose earliest start is still to come.
    """
    queued = Generation.objects.filter(finished_at=None, status=Status.QUEUED, queue=queue)
    # `run_alone IN (1)` is found in an index of SQLite, `run_alone` is not.
    return queued.filter(run_alone__in=[alone]).order_by(*ORDER)


def worker_count(queue: Queue) -> int:
    """The number of generations of a queue that this process runs at once; on the GPU queue they share step batches."""
    return settings.WORKERS if queue is Queue.CPU else settings.DIFFUSION_AT_ONCE


def fair_order_in(queue: Queue = Queue.CPU, *, limit: int | None = None) -> list[tuple[UUID, float | None]]:
    """Waiting generations in the order in which they start, each with its likely seconds; the first `limit` of them."""
    order: list[tuple[UUID, float | None]] = []
    for alone in (True, False):
        order += waiting_in(queue, alone=alone).values_list("id", "likely_seconds")[:limit]
    return order[:limit]


def seconds_before(generation: Generation, limit: int) -> list[float | None]:
    """The likely seconds of the generations that start before a waiting one, in order; the first `limit` of them."""
    attempts, tag, created_at = generation.attempts, generation.start_tag, generation.created_at
    peers = waiting_in(generation.queue, alone=generation.run_alone)
    before = [] if generation.run_alone else [waiting_in(generation.queue, alone=True)]
    before += [peers.filter(attempts__lt=attempts)] if attempts else []
    # The range of the index, start_tag <= tag, and of those with the same tag the older ones.
    older = Q(start_tag__lt=tag) | Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=generation.pk)
    before.append(peers.filter(older, attempts=attempts, start_tag__lte=tag))
    return [second for some in before for second in some.values_list("likely_seconds", flat=True)[:limit]][:limit]


def start_next(queue: Queue = Queue.CPU) -> Generation | None:
    """Claim the next generation. None if none may start, other workers claimed them all, or this process stops."""
    with _claiming:
        _served.add(queue)
        must_run_alone = _must_run_alone()
        running = list(Generation.running_here().values_list("run_alone", flat=True))
        if any(running) or (running and must_run_alone):
            return None
        next_ones = waiting_in(queue, alone=must_run_alone).filter(NOT_LEASED, cancel_requested=False)
        while not watchdog.stopping.is_set():
            with transaction.atomic():
                # Those that other processes are starting are skipped. SQLite has one writing transaction at a time.
                locked = next_ones.select_for_update(skip_locked=True, of=("self",), no_key=True)
                generation = locked.select_related(*INPUT_IMAGES).first()
                if generation is None or generation.start():
                    return generation
    return None


def _must_run_alone() -> bool:
    """Whether a generation that must run alone waits in a queue of this process, which then starts no other."""
    waiting = (waiting_in(queue, alone=True).filter(NOT_LEASED).values_list("pk")[:1] for queue in _served)
    return any(list(first) for first in waiting)
