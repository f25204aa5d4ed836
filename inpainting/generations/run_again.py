"""Run a generation again with other settings, as a child generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inpainting.core.picture import Picture
from inpainting.core.request import PaintSettings
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import submit
from inpainting.models import Generation


def run_again(
    generation: Generation,
    settings: PaintSettings,
    *,
    engine: str,
    references: Mapping[str, Picture | None] | None = None,
    warnings: Sequence[str] = (),
    idempotency: Idempotency | None = None,
    webhook_url: str = "",
) -> Generation:
    """Submit the child, which has its own copies of the images. Only this webhook_url is called when it ends.

    references: see `Generation.to_request`. Raises what `submit` and `Generation.to_request` raise.
    """
    return submit(
        generation.to_request(settings, references),
        owner=generation.owner,
        engine=engine,
        source_name=generation.source.name,
        warnings=warnings,
        idempotency=idempotency,
        webhook_url=webhook_url,
        parent=generation,
    )
