"""The Celery tasks."""

from __future__ import annotations

from celery import shared_task

from inpainting.engines.base import Queue
from inpainting.webhooks import deliver_due
from inpainting.worker.run import run_waiting as run_all_waiting

NOTIFICATION_SECONDS = 10
"""Lifetime of a wake-up message. The poller sends another every second, so an older one is of no use."""


@shared_task(name="run_waiting", expires=NOTIFICATION_SECONDS)
def run_waiting() -> None:
    run_all_waiting(Queue.CPU)


@shared_task(name="run_waiting_on_gpu", expires=NOTIFICATION_SECONDS)
def run_waiting_on_gpu() -> None:
    run_all_waiting(Queue.GPU)


@shared_task(name="deliver_webhooks", expires=NOTIFICATION_SECONDS)
def deliver_webhooks() -> None:
    deliver_due()
