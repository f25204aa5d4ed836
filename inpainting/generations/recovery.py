"""Look by ourselves: for leases that ran out, for bells that nobody heard, and hourly for what was kept long enough."""

from __future__ import annotations

import logging
import threading
import time

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from kombu.exceptions import OperationalError

from inpainting import tasks
from inpainting.engines.base import Queue
from inpainting.generations.retention import SWEEP_EVERY_SECONDS, sweep
from inpainting.generations.submit import notify_workers
from inpainting.models import Generation, Status, WebhookDelivery, completion_waiters
from inpainting.models.generation import WORKER
from inpainting.worker import watchdog
from inpainting.worker.fair_queue import startable_in, workers_of

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
GRACE = 0.25
"""Of the lease: a hung process has that long to end itself before its work is given to another."""


def recover() -> int:
    """For a process that owns this database alone, at its start. Returns how many generations wait."""
    for generation in Generation.objects.filter(status=Status.RUNNING):
        generation.put_back()
    WebhookDelivery.release_leases()
    waiting = Generation.objects.filter(status=Status.QUEUED).count()
    for queue in Queue:
        for _ in range(min(startable_in(queue).count(), workers_of(queue))):
            notify_workers(queue)
    return waiting


def hand_back_ours() -> None:
    """This process is told to stop: what it still runs waits for the next one, uncounted."""
    watchdog.stopping.set()
    completion_waiters.wake_all()
    for generation in Generation.objects.filter(status=Status.RUNNING, worker=WORKER):
        generation.hand_back()


def start_lookout() -> None:
    """A thread that looks once a second, for a process that paints: the bell may be lost, the row is not."""
    threading.Thread(target=_look_out, name="lookout", daemon=True).start()


def _look_out() -> None:
    never, sweep_at = threading.Event(), 0.0
    while not never.wait(LOOK_EVERY_SECONDS):
        watchdog.end_if_hung()
        try:
            look()
            if time.monotonic() >= sweep_at and sweep(timezone.now()):
                sweep_at = time.monotonic() + SWEEP_EVERY_SECONDS
        except (DatabaseError, InterfaceError):
            logger.warning("The database does not answer; looking again in a moment", exc_info=True)
        finally:
            close_old_connections()


def look() -> None:
    """Put back what was abandoned, and ring for what waits while a worker of ours is idle, and for webhooks."""
    for generation in Generation.abandoned(grace_seconds=settings.LEASE_SECONDS * GRACE):
        if not watchdog.is_watched(str(generation)):  # or we hold it ourselves, and could not write that down
            generation.put_back()
    for queue in Queue:
        if watchdog.busy(queue) < workers_of(queue) and startable_in(queue).exists():
            notify_workers(queue)
    if WebhookDelivery.due().exists():
        ring_for_webhooks()


def ring_for_webhooks() -> None:
    try:
        tasks.deliver_webhooks.delay()
    except OperationalError:
        logger.warning("The broker does not answer; what webhooks are due waits for it", exc_info=True)
