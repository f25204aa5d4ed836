"""The poller: beats, starts work that waits, requeues work with expired leases, and starts periodic jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import QuerySet

from inpainting import metrics
from inpainting.database.fair_tags import queued_models
from inpainting.database.row_counts import count_each
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status, WebhookDelivery
from inpainting.networks import interrupted_loads
from inpainting.webhooks import HOOKS, WEBHOOK_WORKERS, deliver_due
from inpainting.worker import own_threads, waiters, watchdog
from inpainting.worker.fleet import membership
from inpainting.worker.queue.fair_queue import startable_here, startable_in, stop_claiming, worker_count
from inpainting.worker.run import count_idle, run_waiting
from inpainting.worker_name import worker_name

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
IDLE_POLL_SECONDS = 5.0
"""While nothing waits and the broker answers, whose messages tell what comes. A thousand idle workers that poll each
second are as much work for the database as those that paint."""
DRAIN_POLL_SECONDS = 0.1
GRACE = 0.25
"""Share of the lease: the time in which a hung process may exit before its work is requeued."""


def recover(crashed: Sequence[int] = (), *, is_alone: bool = True) -> int:
    """Return what former processes ran to the queue, at the start of a process.

    Returns the number of generations that are queued then; 0 where other processes may work on them.

    crashed: the process IDs of the former children of this process's parent that crashed.
    is_alone: whether no other process works on this database.
    """
    return_lost_work(crashed, is_alone=is_alone)
    if not is_alone:
        return 0
    WebhookDelivery.release_leases()
    waiting = Generation.objects.filter(status=Status.QUEUED).count()
    start_waiting_work()
    return waiting


def return_lost_work(crashed: Sequence[int], *, is_alone: bool) -> None:
    """Return what former processes ran to the queue.

    Only what a crashed process ran can be the cause of its end. What ran in one that was killed, or that ended with its
    parent and the machine, is released.
    """
    names = [worker_name(pid) for pid in crashed]
    were_loading = interrupted_loads.count_crashes(names)
    for model in queued_models():
        running = model.objects.filter(status=Status.RUNNING)
        for work in running if is_alone else running.filter(worker__in=names):
            if work.worker in names:
                work.requeue(was_loading=work.worker in were_loading)
            else:
                work.release()


def stop_working(*, drain_seconds: float) -> None:
    """Start nothing any more, let what runs and the requests that wait for results end, and release what is left."""
    watchdog.draining.set()
    deadline = time.monotonic() + drain_seconds
    if settings.QUEUES:  # otherwise other processes work for the requests that wait here
        own_threads.wait_until_idle(seconds=drain_seconds)
    else:
        while waiters.awaited() and time.monotonic() < deadline:
            time.sleep(DRAIN_POLL_SECONDS)
    release_own()


def release_own() -> None:
    """Release the generations of this process, which stops, without counting the attempt."""
    stop_claiming()
    watchdog.stopping.set()
    waiters.wake_all()
    for model in queued_models():
        for work in model.running_here():
            if work.release():
                metrics.RELEASED.inc()
    membership.sign_off()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work beside that of the queues.

    rows: those of the work, limited where they may be many; each poll looks whether there are any.
    start: starts it, on another thread where it takes long, and returns whether there was any for this process.
    """

    rows: QuerySet[Any, Any]
    start: Callable[[], bool]


def start_poller(*others: Waiting, is_woken: Callable[[], bool]) -> None:
    """Start a thread that polls: a message may be lost, a row is not. is_woken: whether messages reach this process."""
    options = {"is_woken": is_woken}
    threading.Thread(target=poll_forever, args=others, kwargs=options, name="poller", daemon=True).start()


def poll_forever(*others: Waiting, is_woken: Callable[[], bool]) -> None:
    never, last_poll, found = threading.Event(), 0.0, True
    while not never.wait(POLL_SECONDS):
        watchdog.end_if_hung()
        now = time.monotonic()
        try:
            membership.beat_if_due()
            if found or not is_woken() or now >= last_poll + IDLE_POLL_SECONDS:
                last_poll = now
                found = poll(*others)
        except (DatabaseError, InterfaceError):
            logger.warning("The database does not answer; polling again in a moment", exc_info=True)
        finally:
            close_old_connections()


def return_abandoned() -> bool:
    """Return to the queue what runs under leases that have expired. Whether there was any.

    Being abandoned is no attempt: the machine of their worker ended, or its database was away. A process that crashed
    is followed by another of the same parent, which requeues what it ran before the leases expire.
    """
    returned = False
    for work in chain.from_iterable(abandoned()):
        # If this process runs it, it could not renew the lease.
        if not watchdog.is_running(str(work)) and work.release():
            metrics.LEASES_RECOVERED.inc()
            returned = True
    return returned


def abandoned() -> list[QuerySet[Any]]:
    """What runs under leases that have expired, a query set for each model."""
    return [model.abandoned(grace_seconds=settings.LEASE_SECONDS * GRACE) for model in queued_models()]


def poll(*others: Waiting) -> bool:
    """Requeue work with expired leases, and start what is queued, due webhooks and the other work; nothing while this
    process stops. Returns whether there was any."""
    return not watchdog.draining.is_set() and start_waiting_work(*others)


def start_waiting_work(*others: Waiting) -> bool:
    """Start all that `poll` does on threads of this process: no message is needed. One query where nothing waits."""
    idle = {queue: idle for queue in Queue if (idle := count_idle(queue))}
    waiting = [*others, *(Waiting(rows[:1], return_abandoned) for rows in abandoned())]
    if HOOKS in settings.QUEUES:
        waiting.append(Waiting(WebhookDelivery.due().order_by()[:1], start_webhooks))
    queued = [startable_in(queue)[:most] for queue, most in idle.items()]
    counts = count_each([*queued, *(work.rows for work in waiting)])
    started = [start_queued(queue, count) for queue, count in zip(idle, counts, strict=False) if count]
    started += [work.start() for work, count in zip(waiting, counts[len(idle) :], strict=True) if count]
    return any(started)


def start_queued(queue: Queue, count: int) -> bool:
    if membership.leaves_some:
        count = startable_here(queue)[:count].count()
    for _ in range(count):
        own_threads.start(queue, partial(run_waiting, queue), at_most=worker_count(queue))
    return count > 0


def start_webhooks() -> bool:
    own_threads.start(HOOKS, deliver_due, at_most=WEBHOOK_WORKERS)
    return True
