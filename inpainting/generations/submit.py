"""Accept a request: plan it, store its images, save its rows in one transaction, then notify the workers."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from inpainting import metrics, webhooks
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.catalog.lookup import Catalog
from inpainting.core.request import InpaintRequest
from inpainting.database.fair_tags import cost_of
from inpainting.engines import registry
from inpainting.engines.base import Plan, Queue
from inpainting.generations.idempotency import Idempotency
from inpainting.log_context import request_id
from inpainting.models import Generation
from inpainting.models.generation_request import NATIVE, RequestedSettings, SharedImages, plan_columns
from inpainting.models.images import delete_uncommitted_files
from inpainting.planning import planner
from inpainting.storage import check_free_space
from inpainting.tasks import notify_workers
from inpainting.worker.run_time_estimates import expected_seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SubmissionColumns:
    """The attributes of a submission that are columns of `Generation`, each by the column's name."""

    owner: Any = None
    """None until the view knows the user."""
    _: KW_ONLY
    webhook_url: str = ""
    service: str = NATIVE
    """Name of the dialect."""
    sent_fields: tuple[str, ...] = ()
    """Names of the service's fields that the request had, as the caller sent them."""
    ignored_fields: tuple[str, ...] = ()
    """Names of the service's fields that were sent and have no effect."""
    service_data: Mapping[str, Any] = field(default_factory=dict)
    """JSON that `Dialect.render` finds on the generation, such as an identifier of the caller. Never a key."""
    expires_at: datetime | None = None
    """When the generation is deleted with its results; None: as the owner's retention says."""
    parent: Generation | None = None
    """The generation that this one continues or runs again."""

    def columns(self) -> dict[str, Any]:
        """The values by column, as a row has them after it was read: tuples are lists."""
        values = {column.name: getattr(self, column.name) for column in fields(SubmissionColumns)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Submission(SubmissionColumns):
    """The parts of a submitted request that are not in its `InpaintRequest`."""

    _: KW_ONLY
    engine: str = registry.AUTO
    """As requested: the name of an engine, or `auto`."""
    source_name: str = ""
    """File name of the source image."""
    warnings: Sequence[str] = ()
    """Sentences about values that were changed while reading the request; those of the plan follow."""
    webhook_field: str = "webhook_url"
    """The name of the field that held the webhook_url, for errors."""
    idempotency: Idempotency | None = None
    catalog: Catalog | None = None
    """The catalog, where reading the request has searched it."""


def submit(request: InpaintRequest, submission: Submission) -> Generation:
    """Accept a request and return its queued generation; a repeated Idempotency-Key returns the earlier one.

    Raises InvalidRequest and ModelRequired for a request that cannot be planned (see `Planner.plan`), InvalidRequest
    for a webhook_url that is not allowed and for a key that was used with another request; LimitReached if the owner
    has reached a limit.
    """
    started, idempotency = time.perf_counter(), submission.idempotency
    plan = plan_submission(request, submission, seed=random_seed())
    try:
        with deleting_uncommitted_files() as prepared:
            generation = prepare_generation(plan, submission)
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


def plan_submission(request: InpaintRequest, submission: Submission, *, seed: int = 0) -> Plan:
    """Plan a request as `submit` does, without storing anything. seed: used where the settings have none.

    Raises InvalidRequest and ModelRequired, see `submit`.
    """
    if submission.webhook_url:
        webhooks.check_url(submission.webhook_url, field=submission.webhook_field)
    site = planner(submission.catalog)
    plan = site.plan if submission.service == NATIVE else site.plan_of_service
    return plan(request, submission.engine, seed=seed)


@contextmanager
def deleting_uncommitted_files() -> Iterator[list[Generation]]:
    """Yield a list for prepared generations. On exit, delete the files of those whose rows were not committed."""
    prepared: list[Generation] = []
    try:
        yield prepared
    finally:
        delete_uncommitted_files(image for generation in prepared for image in generation.inputs.values())


def prepare_generation(plan: Plan, submission: Submission, *, shared: SharedImages | None = None) -> Generation:
    """Write the images to storage and return the unsaved generation. Call within `deleting_uncommitted_files`.

    shared: see `Generation.from_request`. Raises OSError if a disk is full or nearly full.
    """
    check_free_space()
    generation = Generation.from_request(
        plan.request,
        requested=RequestedSettings(submission.engine, plan.requested.to_dict(exclude_defaults=True)),
        source_name=submission.source_name,
        warnings=[*submission.warnings, *plan.warnings],
        shared=shared,
        cost=cost_of(plan.window.work.area, images=plan.settings.num_images, steps=plan.network_calls),
        **plan_columns(plan),
        **submission.columns(),
    )
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
