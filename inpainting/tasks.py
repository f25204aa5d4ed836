"""The switchboard: what Celery may be asked to do."""

from __future__ import annotations

from celery import shared_task

from inpainting.generations.run import run_waiting as run_all_waiting


@shared_task(name="run_waiting")
def run_waiting() -> None:
    run_all_waiting()
