"""The Celery task. Its message only wakes a worker, which otherwise looks into the database each second."""

from __future__ import annotations

import logging
import time

from celery import shared_task
from django.conf import settings
from kombu.exceptions import OperationalError

from inpainting.engines.base import Queue
from inpainting.worker.run import count_idle, run_while_idle

logger = logging.getLogger(__name__)

NOTIFICATION_SECONDS = 10
"""Lifetime of a message. The poller looks every second, so an older one is of no use."""

PAUSE_SECONDS = 5.0
"""How long no message is sent after the broker did not answer: each attempt takes seconds where it is unreachable."""

_paused_until = 0.0


@shared_task(name="run_waiting", expires=NOTIFICATION_SECONDS)
def run_waiting(queue: str) -> None:
    run_while_idle(Queue(queue))


def notify_workers(queue: Queue) -> None:
    """Send the queue's workers a message. If it is lost or not sent, a worker finds the row at its next poll."""
    global _paused_until
    if time.monotonic() < _paused_until:
        return
    if settings.IS_ALONE and not count_idle(queue):
        return  # a worker takes all that waits; a message costs a millisecond and, unread, stays in the embedded broker
    try:
        run_waiting.apply_async([queue.value], queue=queue.value)
    except OperationalError:
        _paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("The broker does not answer; the workers poll the database", exc_info=True)
