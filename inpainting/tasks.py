"""The switchboard: what Celery may be asked to do."""

from __future__ import annotations

from celery import shared_task

from inpainting.engines.base import Queue
from inpainting.webhooks import deliver_due
from inpainting.worker.run import run_waiting as run_all_waiting

BELL_SECONDS = 10
"""The lookout rings again every second: a bell that was not heard for so long is of no use any more."""


@shared_task(name="run_waiting", expires=BELL_SECONDS)
def run_waiting() -> None:
    run_all_waiting(Queue.CPU)


@shared_task(name="run_waiting_on_gpu", expires=BELL_SECONDS)
def run_waiting_on_gpu() -> None:
    run_all_waiting(Queue.GPU)


@shared_task(name="deliver_webhooks", expires=BELL_SECONDS)
def deliver_webhooks() -> None:
    deliver_due()
