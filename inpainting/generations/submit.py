"""Accept a request: one transaction, then the bell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from inpainting import tasks, webhooks
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.engines.painting import checked_mask
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.limits import LimitReached, check_limits
from inpainting.models import Generation

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
) -> Generation:
    """The accepted generation, which waits for a worker; the earlier one where its Idempotency-Key made one before.

    Raises InvalidRequest for an unknown engine, a mask that leaves nothing to repaint or to paint from, a key that came
    with another request and a webhook_url that may not be called; LimitReached where the owner may have no more.
    """
    if webhook_url:
        webhooks.check_url(webhook_url, field="webhook_url")
    painter = registry.find(engine)
    _, mask_warnings = checked_mask(request, painter)
    generation = Generation.from_request(
        request,
        owner=owner,
        engine=painter.name,
        source_name=source_name,
        warnings=[*warnings, *mask_warnings],
        webhook_url=webhook_url,
    )
    try:
        with transaction.atomic(durable=True):
            check_limits(owner, request.image.size)
            generation.save_new()
            if idempotency is not None:
                idempotency.remember(generation)
            transaction.on_commit(ring, robust=True)
    except BaseException as error:
        generation.source.delete_files()
        generation.mask.delete_files()
        if isinstance(error, IntegrityError | LimitReached) and idempotency is not None:
            earlier = idempotency.earlier(owner)
            if earlier is not None:
                return earlier  # the same request, a moment sooner
        raise
    return generation


def ring() -> None:
    """Tell a worker to look. The rows are the truth; a bell that is lost costs time, not a generation."""
    try:
        tasks.run_waiting.delay()
    except OperationalError:
        logger.warning("The broker does not answer; the workers look by themselves", exc_info=True)
