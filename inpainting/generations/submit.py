"""Accept a request: plan it, store its images, save its rows in one transaction, then notify the workers."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from inpainting import metrics, tasks, webhooks
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.catalog.lookup import Catalog
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.base import Plan, Queue
from inpainting.generations.idempotency import Idempotency
from inpainting.log_context import request_id
from inpainting.models import Generation
from inpainting.models.fair_tags import cost_of
from inpainting.models.generation_request import NATIVE, RequestedSettings, SharedImages
from inpainting.models.images import delete_uncommitted_files
from inpainting.planning import planner
from inpainting.storage import check_free_space
from inpainting.worker.run_time_estimates import expected_seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """The parts of a submitted request that are not in its plan.

    engine: as requested, its name or "auto". source_name: the file name of the source image. warnings: from reading the
    request; those of the plan follow. service, ignored_fields, sent_fields, service_data, expires_at: see the columns
    of `Generation`.
    """

    owner: Any
    _: KW_ONLY
    engine: str = registry.AUTO
    source_name: str = ""
    warnings: Sequence[str] = ()
    webhook_url: str = ""
    service: str = NATIVE
    ignored_fields: Sequence[str] = ()
    sent_fields: Sequence[str] = ()
    service_data: Mapping[str, Any] | None = None
    expires_at: datetime | None = None


def submit(
    request: InpaintRequest,
    submission: Submission,
    *,
    idempotency: Idempotency | None = None,
    parent: Generation | None = None,
    catalog: Catalog | None = None,
) -> Generation:
    """Accept a request and return its queued generation; a repeated Idempotency-Key returns the earlier one.

    parent: the generation that this one continues or runs again.
    catalog: one that the caller has already read, else a new one.
    Raises InvalidRequest for a request that cannot be planned (see `Planner.plan`), for a webhook_url that is not
    allowed and for a key that was used with another request; LimitReached if the owner has reached a limit.
    """
    started = time.perf_counter()
    if submission.webhook_url:
        webhooks.check_url(submission.webhook_url, field="webhook_url")
    plan = planner(catalog).plan(request, submission.engine, seed=random_seed())
    try:
        with deleting_uncommitted_files() as prepared:
            generation = prepare_generation(plan, submission, parent=parent)
            prepared.append(generation)
            with transaction.atomic(durable=True):
                save_and_notify(generation, Allowance(submission.owner))
                if idempotency is not None:
                    idempotency.remember(generation)
            prepared.clear()
    except (IntegrityError, LimitReached):
        earlier = idempotency.earlier(submission.owner) if idempotency else None
        if earlier is None:
            raise
        return earlier  # a concurrent request with the same key was first
    metrics.ACCEPT_SECONDS.observe(time.perf_counter() - started)
    return generation


@contextmanager
def deleting_uncommitted_files() -> Iterator[list[Generation]]:
    """Yield a list for prepared generations. On exit, delete the files of those whose rows were not committed."""
    prepared: list[Generation] = []
    try:
        yield prepared
    finally:
        delete_uncommitted_files(image for generation in prepared for image in generation.inputs.values())


def prepare_generation(
    plan: Plan, submission: Submission, *, parent: Generation | None = None, shared: SharedImages | None = None
) -> Generation:
    """Write the images to storage and return the unsaved generation. Call within `deleting_uncommitted_files`.

    shared: see `Generation.from_request`. Raises OSError if a disk is full or nearly full.
    """
    check_free_space()
    generation = Generation.from_request(
        plan.request,
        owner=submission.owner,
        engine=plan.engine.name,
        engine_reason=plan.reason,
        requested=RequestedSettings(submission.engine, plan.requested.to_dict(exclude_defaults=True)),
        ignored=plan.ignored,
        source_name=submission.source_name,
        warnings=[*submission.warnings, *plan.warnings],
        webhook_url=submission.webhook_url,
        service=submission.service,
        ignored_fields=submission.ignored_fields,
        sent_fields=submission.sent_fields,
        service_data=submission.service_data,
        parent=parent,
        shared=shared,
        cost=cost_of(plan.window.work.area, images=plan.settings.num_images, steps=plan.settings.steps),
    )
    generation.expires_at = submission.expires_at
    generation.request_id = request_id.get()
    generation.likely_seconds = expected_seconds(generation)
    return generation


def random_seed() -> int:
    return 1 + secrets.randbelow(2**31 - 1)


def save_and_notify(generation: Generation, allowance: Allowance, *, in_batch: bool = False) -> None:
    """Save a prepared generation within the caller's transaction and notify the workers on commit.

    in_batch: see `Generation.save_new`. The parent becomes None if it was deleted meanwhile.
    Raises LimitReached, and then saves nothing.
    """
    allowance.spend(generation)
    if generation.parent_id is not None:
        parents = Generation.objects.select_for_update(no_key=True)
        generation.parent = parents.filter(pk=generation.parent_id).first()
    generation.save_new(weight=allowance.weight, in_batch=in_batch)
    transaction.on_commit(lambda: record_accepted(generation), robust=True)
    transaction.on_commit(lambda: notify_workers(Queue(generation.queue)), robust=True)


def record_accepted(generation: Generation) -> None:
    metrics.ACCEPTED.labels(generation.queue, generation.model).inc()
    logger.info("%s is accepted", generation, extra={"fields": {"generation_id": str(generation.pk)}})


def notify_workers(queue: Queue = Queue.CPU) -> None:
    """Send the queue's workers a message. If it is lost, a worker finds the row at its next poll."""
    try:
        tasks.BY_QUEUE[queue].delay()
    except OperationalError:
        logger.warning("The broker does not answer; the workers poll the database", exc_info=True)
