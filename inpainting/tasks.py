"""The switchboard: what Celery may be asked to do."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from inpainting.generations.run import run


@shared_task(name="run_generation")
def run_generation(pk: str) -> None:
    run(UUID(pk))
