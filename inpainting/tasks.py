"""The Celery tasks."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from kombu.exceptions import OperationalError

from inpainting.engines.base import Queue
from inpainting.worker.run import run_while_idle

NOTIFICATION_SECONDS = 10
"""Lifetime of a wake-up message. The poller sends another every second, so an older one is of no use."""

PAUSE_SECONDS = 5.0
"""How long no message is sent after the broker did not answer: each attempt takes seconds where it is unreachable."""

UNREAD_MESSAGES = 16
"""Unread messages of a task in the embedded broker, at most: each wakes one worker for all rows there are by then."""

_paused_until = 0.0
_unread: defaultdict[str, deque[float]] = defaultdict(deque)
"""Task -> when its messages were sent that no worker of this process has read yet."""
_lock = threading.Lock()


class WakeUp(Task):  # type: ignore[misc]  # celery ships no types
    """A task whose message only wakes a worker, which otherwise looks into the database each second."""

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send the message, unless the broker did not answer a moment ago. Raises OperationalError if it does not.

        In the embedded broker there are no more than UNREAD_MESSAGES: sending and reading one takes a millisecond each.
        """
        global _paused_until
        if time.monotonic() < _paused_until or (settings.IS_ALONE and not self._count_unread()):
            return None
        try:
            return super().apply_async(*args, **options)
        except OperationalError:
            _paused_until = time.monotonic() + PAUSE_SECONDS
            raise

    def _count_unread(self) -> bool:
        """Count one more unread message. False if there are enough."""
        now = time.monotonic()
        with _lock:
            unread = _unread[self.name]
            while unread and unread[0] < now - NOTIFICATION_SECONDS:
                unread.popleft()  # it has expired
            if len(unread) >= UNREAD_MESSAGES:
                return False
            unread.append(now)
            return True

    def before_start(self, *args: Any) -> None:
        """A worker has read a message, and has not looked into the database yet."""
        with _lock:
            if unread := _unread[self.name]:
                unread.popleft()


@shared_task(base=WakeUp, name="run_waiting", expires=NOTIFICATION_SECONDS)
def run_waiting() -> None:
    run_while_idle(Queue.CPU)


@shared_task(base=WakeUp, name="run_waiting_on_gpu", expires=NOTIFICATION_SECONDS)
def run_waiting_on_gpu() -> None:
    run_while_idle(Queue.GPU)


@shared_task(base=WakeUp, name="run_waiting_analyses", expires=NOTIFICATION_SECONDS)
def run_waiting_analyses() -> None:
    run_while_idle(Queue.ANALYSIS)


BY_QUEUE = {Queue.CPU: run_waiting, Queue.GPU: run_waiting_on_gpu, Queue.ANALYSIS: run_waiting_analyses}
