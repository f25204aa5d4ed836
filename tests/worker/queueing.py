"""Waiting generations for tests of the queue, and what starts and ends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accounts.models import User
from inpainting.engines.base import Queue
from inpainting.models import Flow, Generation, Mask, SourceImage, Status, VirtualTime
from inpainting.worker.queue.fair_queue import fair_order_in, start_next

UNIT = 840
"""Divisible by all weights of these tests, so that slots have no rounding."""


def add(owner: User, cost: int = UNIT, *, weight: int = 1, in_batch: bool = False, **fields: Any) -> Generation:
    facts = {"owner": owner, "byte_count": 1, "width": 1, "height": 1}
    generation = Generation(
        owner=owner, source=SourceImage(**facts), mask=Mask(**facts), engine="quick-fill", cost=cost,
        settings={"num_images": 1, "steps": None}, **fields,
    )  # fmt: skip
    generation.save_new(weight=weight, in_batch=in_batch)
    return generation


def start_all() -> Iterator[Generation]:
    while (generation := start_next()) is not None:
        yield generation


def finish_all() -> None:
    for generation in Generation.objects.filter(status=Status.RUNNING):
        generation.succeed([])


def order() -> list[Any]:
    return [pk for pk, _ in fair_order_in(Queue.CPU)]


def users(number: int) -> list[User]:
    """The same users in each example, with an empty queue that was never used."""
    for model in (Generation, Flow, VirtualTime):
        model._default_manager.all().delete()
    return [User.objects.get_or_create(email=f"user-{index}@example.com")[0] for index in range(number)]
