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
) -> Generation:
    """The new generation, which has pictures of its own. Raises what `submit` raises, and InvalidPicture (`image_gone`)
    where a file of the old one is not there any more."""
    earlier = idempotency.earlier(generation.owner) if idempotency else None
    if earlier is not None:
        return earlier
    try:
        request = InpaintRequest(generation.source.read(), generation.mask.read_pixels(), settings)
    except FileNotFoundError as error:
        raise InvalidPicture("A picture of this generation is gone.", code="image_gone", field="image") from error
    again = submit(
        request,
        owner=generation.owner,
        engine=engine,
        source_name=generation.source.name,
        warnings=warnings,
        idempotency=idempotency,
    )
    Generation.objects.filter(pk=again.pk).update(parent=generation)
    return again
