"""Accept a request: plan it, store its pictures, save its rows in one transaction, then wake a worker."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from inpainting import planning, tasks, webhooks
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.base import Plan, Queue
from inpainting.generations.idempotency import Idempotency
from inpainting.models import Generation
from inpainting.models.generation import RequestedSettings, SharedImages
from inpainting.models.pictures import delete_uncommitted_files

logger = logging.getLogger(__name__)


def submit(
    request: InpaintRequest,
    *,
    owner: Any,
    engine: str = "auto",
    source_name: str = "",
    warnings: Sequence[str] = (),
    idempotency: Idempotency | None = None,
    webhook_url: str = "",
    parent: Generation | None = None,
) -> Generation:
    """The accepted generation, queued; the earlier one where its Idempotency-Key made one before.

    parent: the generation that this one runs again.
    Raises InvalidRequest for a request that cannot be planned (see `planning.plan`), for a webhook_url that may not be
    called and for a key that came with another request; LimitReached where the owner has reached a limit.
    """
    if webhook_url:
        webhooks.check_url(webhook_url, field="webhook_url")
    plan = planning.plan(request, engine, seed=random_seed())
    given = Given(owner, engine, source_name, tuple(warnings), webhook_url)
    try:
        with kept_or_removed() as made:
            generation = prepared(plan, given, parent=parent)
            made.append(generation)
            with transaction.atomic(durable=True):
                keep(generation, Allowance(owner))
                if idempotency is not None:
                    idempotency.remember(generation)
            made.clear()
    except (IntegrityError, LimitReached):
        earlier = idempotency.earlier(owner) if idempotency else None
        if earlier is None:
            raise
        return earlier  # the same request, a moment sooner
    return generation


@dataclass(frozen=True, slots=True)
class Given:
    """What a generation keeps of its request beside the plan.

    engine: as requested, its name or "auto". source_name: the file name of the source image. warnings: from reading the
    request; those of the plan follow.
    """

    owner: Any
    engine: str = "auto"
    source_name: str = ""
    warnings: tuple[str, ...] = ()
    webhook_url: str = ""


@contextmanager
def kept_or_removed() -> Iterator[list[Generation]]:
    """Collect prepared generations. On exit, remove the files of those that the database does not have."""
    made: list[Generation] = []
    try:
        yield made
    finally:
        delete_uncommitted_files(picture for generation in made for picture in generation.pictures)


def prepared(
    plan: Plan, given: Given, *, parent: Generation | None = None, shared: SharedImages | None = None
) -> Generation:
    """A generation whose pictures are in storage and whose rows `keep` saves; add it to `kept_or_removed`.

    shared: see `Generation.from_request`.
    """
    return Generation.from_request(
        plan.request,
        owner=given.owner,
        engine=plan.engine.name,
        engine_reason=plan.reason,
        requested=RequestedSettings(given.engine, plan.requested.to_dict(exclude_defaults=True)),
        ignored=plan.ignored,
        source_name=given.source_name,
        warnings=[*given.warnings, *plan.warnings],
        webhook_url=given.webhook_url,
        parent=parent,
        shared=shared,
    )


def random_seed() -> int:
    return 1 + secrets.randbelow(2**31 - 1)


def keep(generation: Generation, allowance: Allowance) -> None:
    """Save a prepared generation within the caller's transaction and wake a worker on commit.

    A parent that was deleted meanwhile is dropped. Raises LimitReached, and then saves nothing.
    """
    allowance.spend(generation)
    if generation.parent_id is not None:
        parents = Generation.objects.select_for_update(no_key=True)
        generation.parent = parents.filter(pk=generation.parent_id).first()
    generation.save_new()
    queue = registry.find(generation.engine).declaration.queue
    transaction.on_commit(lambda: notify_workers(queue), robust=True)


def notify_workers(queue: Queue = Queue.CPU) -> None:
    """Send the queue's workers a message. A lost one only delays: workers also poll the rows."""
    task = tasks.run_waiting if queue is Queue.CPU else tasks.run_waiting_on_gpu
    try:
        task.delay()
    except OperationalError:
        logger.warning("The broker does not answer; the workers poll the database", exc_info=True)
