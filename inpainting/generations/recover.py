"""Bring back what was lost: leases that ran out, bells that nobody heard."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import DatabaseError, close_old_connections

from inpainting.generations import watch
from inpainting.generations.submit import ring
from inpainting.models import Generation, Status
from inpainting.models.generation import WORKER

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
GRACE = 0.25
"""Of the lease: a hung process has that long to end itself before its work is given to another."""


def recover() -> int:
    """For a process that owns this database alone, at its start. Returns how many generations wait."""
    for generation in Generation.objects.filter(status=Status.RUNNING):
        generation.put_back()
    waiting = Generation.objects.filter(status=Status.QUEUED).count()
    for _ in range(min(waiting, settings.WORKERS)):
        ring()
    return waiting


def hand_back_ours() -> None:
    """This process is told to stop: what it still runs waits for the next one, uncounted."""
    for generation in Generation.objects.filter(status=Status.RUNNING, worker=WORKER):
        generation.hand_back()


def start_lookout() -> None:
    """A thread that looks once a second, for a process that paints: the bell may be lost, the row is not."""
    threading.Thread(target=_look_out, name="lookout", daemon=True).start()


def _look_out() -> None:
    never = threading.Event()
    while not never.wait(LOOK_EVERY_SECONDS):
        watch.end_if_hung()
        try:
            look()
        except DatabaseError:
            logger.warning("The database does not answer; looking again in a moment", exc_info=True)
        finally:
            close_old_connections()


def look() -> None:
    """Put back what was abandoned, and ring for what waits while a worker of ours is idle."""
    for generation in Generation.abandoned(grace_seconds=settings.LEASE_SECONDS * GRACE):
        generation.put_back()
    if watch.busy() < settings.WORKERS and Generation.startable().exists():
        ring()
