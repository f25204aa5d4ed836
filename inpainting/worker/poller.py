"""The poller: starts work that waits, requeues work with expired leases, beats, and does periodic jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections

from inpainting import metrics
from inpainting.database.fair_tags import queued_models
from inpainting.engines.base import Queue
from inpainting.models import Generation, Status, WebhookDelivery
from inpainting.networks import interrupted_loads
from inpainting.webhooks import deliver_due
from inpainting.worker import own_threads, waiters, watchdog
from inpainting.worker.fair_queue import startable_in, stop_claiming, worker_count
from inpainting.worker.fleet import membership
from inpainting.worker.run import count_idle, run_waiting
from inpainting.worker_name import worker_name

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
DRAIN_POLL_SECONDS = 0.1
HOOKS = "hooks"
"""The queue of webhooks."""
WEBHOOK_WORKERS = 4
"""More than one, because a slow receiver occupies a worker for up to 15 seconds."""
LOOKS = 0.2
"""Share of the lease: the interval between looks for expired ones."""
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


def start_poller(*periodic_jobs: Callable[[], None]) -> None:
    """Start a thread that polls once a second: a wake-up message may be lost, a row is not.

    periodic_jobs: called after each poll, such as `sweep_if_due`. Each starts what it has to do on another thread.
    """
    threading.Thread(target=poll_forever, args=periodic_jobs, name="poller", daemon=True).start()


def poll_forever(*periodic_jobs: Callable[[], None]) -> None:
    never, next_look = threading.Event(), 0.0
    while not never.wait(POLL_SECONDS):
        watchdog.end_if_hung()
        try:
            membership.beat_if_due()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + settings.LEASE_SECONDS * LOOKS
                return_abandoned()
            poll()
            if not watchdog.draining.is_set():
                for start_if_due in periodic_jobs:
                    start_if_due()
        except (DatabaseError, InterfaceError):
            logger.warning("The database does not answer; polling again in a moment", exc_info=True)
        finally:
            close_old_connections()


def return_abandoned() -> None:
    """Return to the queue what runs under leases that have expired.

    Being abandoned is no attempt: the machine of their worker ended, or its database was away. A process that crashed
    is followed by another of the same parent, which requeues what it ran before the leases expire.
    """
    for model in queued_models():
        for work in model.abandoned(grace_seconds=settings.LEASE_SECONDS * GRACE):
            # If this process runs it, it could not renew the lease.
            if not watchdog.is_running(str(work)) and work.release():
                metrics.LEASES_RECOVERED.inc()


def poll() -> None:
    """Start queued work and due webhooks, unless this process stops."""
    if not watchdog.draining.is_set():
        start_waiting_work()


def start_waiting_work() -> None:
    """Start what waits in the queues of this process, on threads of its own: no message is needed."""
    for queue in Queue:
        for _ in range(startable_in(queue)[: count_idle(queue)].count()):
            own_threads.start(queue, partial(run_waiting, queue), at_most=worker_count(queue))
    if HOOKS in settings.QUEUES and WebhookDelivery.due().exists():
        own_threads.start(HOOKS, deliver_due, at_most=WEBHOOK_WORKERS)
