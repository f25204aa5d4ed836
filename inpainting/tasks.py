"""The Celery tasks. Their messages only wake a worker, which otherwise looks into the database every few seconds."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from kombu.exceptions import OperationalError

from inpainting.engines.base import Queue
from inpainting.webhooks import HOOKS, deliver_while_idle
from inpainting.worker.run import count_idle, run_while_idle

logger = logging.getLogger(__name__)

NOTIFICATION_SECONDS = 10
"""Lifetime of a message. The poller looks every five seconds, so an older one is of no use."""

PAUSE_SECONDS = 5.0
"""How long no message is sent after the broker did not answer: each attempt takes seconds where it is unreachable."""

_paused_until = 0.0


@shared_task(name="run_waiting", expires=NOTIFICATION_SECONDS)
def run_waiting(queue: str) -> None:
    run_while_idle(Queue(queue))


@shared_task(name="deliver_webhooks", expires=NOTIFICATION_SECONDS)
def deliver_webhooks() -> None:
    deliver_while_idle()


def notify_workers(queue: Queue) -> None:
    """Send the queue's workers a message. If it is lost or not sent, a worker finds the row at its next poll."""
    if settings.IS_ALONE and not count_idle(queue):
        return  # a worker takes all that waits; a message costs a millisecond and, unread, stays in the embedded broker
    send(run_waiting, [queue.value], queue.value)


@receiver(post_save, sender="inpainting.WebhookDelivery")
def notify_of_webhook(*, created: bool, **_kwargs: Any) -> None:
    """Send the workers of webhooks a message of one that was stored; a process that is alone polls each second."""
    if created and not settings.IS_ALONE:
        transaction.on_commit(lambda: send(deliver_webhooks, [], HOOKS), robust=True)


def send(task: Any, arguments: list[str], queue: str) -> None:
    """Send the message, unless the broker did not answer a moment ago."""
    global _paused_until
    if time.monotonic() < _paused_until:
        return
    try:
        task.apply_async(arguments, queue=queue)
    except OperationalError:
        _paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("The broker does not answer; the workers poll the database", exc_info=True)
