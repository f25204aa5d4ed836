"""Run a generation again, with other settings: a new one that names its parent."""

from __future__ import annotations

from collections.abc import Sequence

from inpainting.core.errors import InvalidPicture
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.submit import submit
from inpainting.models import Generation


def run_again(
    generation: Generation,
    settings: PaintSettings,
    *,
    engine: str,
    warnings: Sequence[str] = (),
    idempotency: Idempotency | None = None,
    webhook_url: str = "",
) -> Generation:
    """The new generation, which has pictures of its own, and tells nobody but this webhook_url that it has ended.

    Raises what `submit` and `request_of` raise.
    """
    earlier = idempotency.earlier(generation.owner) if idempotency else None
    if earlier is not None:
        return earlier
    return submit(
        request_of(generation, settings),
        owner=generation.owner,
        engine=engine,
        source_name=generation.source.name,
        warnings=warnings,
        idempotency=idempotency,
        webhook_url=webhook_url,
        parent=generation,
    )


def request_of(generation: Generation, settings: PaintSettings) -> InpaintRequest:
    """What it was asked to paint, with these settings. Raises InvalidPicture (`image_gone`) where a file is gone."""
    try:
        return InpaintRequest(generation.source.read(), generation.mask.read_pixels(), settings)
    except FileNotFoundError as error:
        raise InvalidPicture("A picture of this generation is gone.", code="image_gone", field="image") from error
