"""Accept a request: one transaction, then the bell."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from inpainting import moderation, tasks, webhooks
from inpainting.accounting.limits import Allowance, LimitReached
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.engines.painting import checked_mask
from inpainting.engines.references import checked_references
from inpainting.generations.idempotency import Idempotency
from inpainting.models import Generation
from inpainting.models.generation import RequestedSettings, SharedReferences
from inpainting.models.pictures import remove_unkept

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
    """The accepted generation, which waits for a worker; the earlier one where its Idempotency-Key made one before.

    parent: what it is run again from. Raises what `prepared` raises, InvalidRequest for a key that came with another
    request, and LimitReached where the owner may have no more.
    """
    try:
        with kept_or_removed() as made:
            generation = prepared(
                request,
                owner=owner,
                engine=engine,
                source_name=source_name,
                warnings=warnings,
                webhook_url=webhook_url,
                parent=parent,
            )
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


@contextmanager
def kept_or_removed() -> Iterator[list[Generation]]:
    """Holds what is prepared. In the end the files of whatever the database does not have are removed."""
    made: list[Generation] = []
    try:
        yield made
    finally:
        remove_unkept(picture for generation in made for picture in generation.pictures)


def prepared(
    request: InpaintRequest,
    *,
    owner: Any,
    engine: str = "auto",
    source_name: str = "",
    warnings: Sequence[str] = (),
    webhook_url: str = "",
    parent: Generation | None = None,
    seed: int | None = None,
    shared: SharedReferences | None = None,
) -> Generation:
    """A generation whose pictures are in storage; it belongs into `kept_or_removed`, its rows are for `keep`.

    seed: where none is asked for; None: a random one. shared: see `Generation.from_request`.
    Raises InvalidRequest for an unknown engine or model, a mask that leaves nothing to repaint or to paint from, a
    further picture that is missing, a webhook_url that may not be called, and a safety checker that is to look and
    cannot.
    """
    if webhook_url:
        webhooks.check_url(webhook_url, field="webhook_url")
    wanted = request.settings
    requested = RequestedSettings(engine, wanted.to_dict(exclude_defaults=True))
    choice = registry.choose(engine, wanted)
    painter = choice.engine
    settings, safety_warnings = moderation.settled(replace(wanted, seed=wanted.seed or seed or random_seed()))
    request = replace(request, settings=painter.settled(settings))
    _, mask_warnings = checked_mask(request, painter)
    _, unread = checked_references(request, painter)
    return Generation.from_request(
        request,
        owner=owner,
        engine=painter.name,
        engine_reason=choice.why,
        requested=requested,
        ignored=painter.ignored(request.settings),
        source_name=source_name,
        warnings=[*warnings, *safety_warnings, *mask_warnings, *unread],
        webhook_url=webhook_url,
        parent=parent,
        shared=shared,
    )


def random_seed() -> int:
    return 1 + secrets.randbelow(2**31 - 1)


def keep(generation: Generation, allowance: Allowance) -> None:
    """Save what is prepared, in the accepting transaction, and ring. Raises LimitReached, and then saves nothing.

    A parent that was deleted in between is none.
    """
    allowance.spend(generation)
    if generation.parent_id is not None:
        parents = Generation.objects.select_for_update(no_key=True)
        generation.parent = parents.filter(pk=generation.parent_id).first()
    generation.save_new()
    queue = registry.find(generation.engine).queue
    transaction.on_commit(lambda: ring(queue), robust=True)


def ring(queue: Queue = Queue.CPU) -> None:
    """Tell a worker to look. The rows are the truth; a bell that is lost costs time, not a generation."""
    bell = tasks.run_waiting if queue is Queue.CPU else tasks.run_waiting_on_gpu
    try:
        bell.delay()
    except OperationalError:
        logger.warning("The broker does not answer; the workers look by themselves", exc_info=True)
