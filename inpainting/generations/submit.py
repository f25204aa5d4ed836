"""Accept a request: one transaction, then the bell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from inpainting import tasks
from inpainting.core import masks
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.limits import check_limits
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
) -> Generation:
    """The accepted generation, which waits for a worker; the earlier one where its Idempotency-Key made one before.

    Raises InvalidRequest for an unknown engine, for a mask that leaves nothing to repaint and for a key that came with
    another request, and LimitReached where the owner may have no more.
    """
    name = registry.find(engine).name
    mask_warnings = masks.check(masks.effective_mask(request.mask, request.settings))
    generation = Generation.from_request(
        request, owner=owner, engine=name, source_name=source_name, warnings=[*warnings, *mask_warnings]
    )
    try:
        with transaction.atomic(durable=True):
            check_limits(owner, request.image.size)
            generation.save_new()
            if idempotency is not None:
                idempotency.remember(generation)
            transaction.on_commit(ring)
    except BaseException as error:
        generation.source.delete_files()
        generation.mask.delete_files()
        if isinstance(error, IntegrityError) and idempotency is not None:
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
