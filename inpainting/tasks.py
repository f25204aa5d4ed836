"""The Celery tasks."""

from __future__ import annotations

import time
from typing import Any

from celery import Task, shared_task
from kombu.exceptions import OperationalError

from inpainting.engines.base import Queue
from inpainting.worker.run import run_while_idle

NOTIFICATION_SECONDS = 10
"""Lifetime of a wake-up message. The poller sends another every second, so an older one is of no use."""

PAUSE_SECONDS = 5.0
"""How long no message is sent after the broker did not answer: each attempt takes seconds where it is unreachable."""

_paused_until = 0.0


class WakeUp(Task):  # type: ignore[misc]  # celery ships no types
    """A task whose message only wakes a worker, which otherwise looks into the database each second."""

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send the message, unless the broker did not answer a moment ago. Raises OperationalError if it does not."""
        global _paused_until
        if time.monotonic() < _paused_until:
            return None
        try:
            return super().apply_async(*args, **options)
        except OperationalError:
            _paused_until = time.monotonic() + PAUSE_SECONDS
            raise


@shared_task(base=WakeUp, name="run_waiting", expires=NOTIFICATION_SECONDS)
def run_waiting() -> None:
    run_while_idle(Queue.CPU)


@shared_task(base=WakeUp, name="run_waiting_on_gpu", expires=NOTIFICATION_SECONDS)
def run_waiting_on_gpu() -> None:
    run_while_idle(Queue.GPU)
