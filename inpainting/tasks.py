"""The switchboard: what Celery may be asked to do."""

from __future__ import annotations

from celery import shared_task

from inpainting.generations.run import run_waiting as run_all_waiting
from inpainting.webhooks import deliver_due


@shared_task(name="run_waiting")
def run_waiting() -> None:
    run_all_waiting()


# The lookout rings again every second: a bell that was not heard for a while is of no use any more.
@shared_task(name="deliver_webhooks", expires=10)
def deliver_webhooks() -> None:
    deliver_due()
