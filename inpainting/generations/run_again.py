"""Run a generation again, with other settings: a new one that names its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inpainting.core.errors import InvalidPicture
from inpainting.core.picture import Picture
from inpainting.core.request import InpaintRequest, PaintSettings
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
    """The new generation, which has pictures of its own, and tells nobody but this webhook_url that it has ended.

    references: further pictures, or None, in place of those of before, by their names in `InpaintRequest`.
    Raises what `submit` and `request_of` raise.
    """
    return submit(
        request_of(generation, settings, references or {}),
        owner=generation.owner,
        engine=engine,
        source_name=generation.source.name,
        warnings=warnings,
        idempotency=idempotency,
        webhook_url=webhook_url,
        parent=generation,
    )


def request_of(
    generation: Generation, settings: PaintSettings, references: Mapping[str, Picture | None]
) -> InpaintRequest:
    """What it was asked to paint, with these settings and further pictures; those that are not among them stay.

    Raises InvalidPicture (`image_gone`) where a file is gone.
    """
    former = generation.references
    try:
        every = {name: former[name].read() for name in former if name not in references} | dict(references)
        return InpaintRequest(generation.source.read(), generation.mask.read_pixels(), settings, **every)
    except FileNotFoundError as error:
        raise InvalidPicture("A picture of this generation is gone.", code="image_gone", field="image") from error
