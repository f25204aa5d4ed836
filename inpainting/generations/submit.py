"""Accept a request: one transaction, then the bell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from inpainting import tasks
from inpainting.core import masks
from inpainting.core.request import InpaintRequest
from inpainting.engines import registry
from inpainting.models import Generation


def submit(
    request: InpaintRequest, *, owner: Any, engine: str = "auto", source_name: str = "", warnings: Sequence[str] = ()
) -> Generation:
    """The accepted generation, which waits for a worker.

    Raises InvalidRequest for an unknown engine and for a mask that leaves nothing to repaint.
    """
    name = registry.find(engine).name
    mask_warnings = masks.check(masks.effective_mask(request.mask, request.settings))
    generation = Generation.from_request(
        request, owner=owner, engine=name, source_name=source_name, warnings=[*warnings, *mask_warnings]
    )
    try:
        with transaction.atomic(durable=True):
            generation.save_new()
            transaction.on_commit(lambda: ring(generation))
    except BaseException:
        generation.source.delete_files()
        generation.mask.delete_files()
        raise
    return generation


def ring(generation: Generation) -> None:
    """Tell the workers to look. The row is the truth; a bell that is lost costs time, not the generation."""
    tasks.run_generation.delay(str(generation.pk))
