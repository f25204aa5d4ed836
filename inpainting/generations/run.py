"""Run one generation: claim it, paint, check what was stored, keep it."""

from __future__ import annotations

import json
import logging
import time
from uuid import UUID

from inpainting.core.codecs import encode_png
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import Cancelled, PaintingError
from inpainting.core.picture import Picture
from inpainting.engines import registry
from inpainting.engines.base import Step
from inpainting.engines.painting import Painting, paint
from inpainting.models import GeneratedImage, Generation

logger = logging.getLogger(__name__)

PROGRESS_EVERY_SECONDS = 0.2
"""How often a step is written down, and so how soon a cancel is seen."""


def run(pk: UUID) -> None:
    generation = Generation.objects.select_related("source", "mask").filter(pk=pk).first()
    if generation is None or not generation.start():
        return  # deleted, cancelled while it waited, or somebody else has it
    try:
        request = generation.to_request()
        paintings = paint(request, registry.find(generation.engine), Reporter(generation))
        images = [stored(generation, request.image, painting, index) for index, painting in enumerate(paintings)]
    except Cancelled:
        generation.end_cancelled()
        return
    except PaintingError as error:
        generation.fail(code=error.code, message=error.message)
        return
    except Exception:
        # The boundary of the work: whatever broke, its owner gets an answer and the log gets the trace.
        logger.exception("Generation %s broke", generation.pk)
        generation.fail(code="internal_error", message="Painting broke off; the server's log says why.")
        return
    if not generation.succeed(images):
        for image in images:
            image.delete_files()
        generation.end_cancelled()


class Reporter:
    """Writes steps down, not more often than PROGRESS_EVERY_SECONDS, and stops the engine when it was cancelled."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.last_written = 0.0

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if now - self.last_written < PROGRESS_EVERY_SECONDS and step.done < step.of:
            return
        self.last_written = now
        if not self.generation.advance(step.done, step.of):
            raise Cancelled


def stored(generation: Generation, canonical: Picture, painting: Painting, index: int) -> GeneratedImage:
    """The painting's file in storage, decoded again and counted; its row is saved when the generation succeeds."""
    image = GeneratedImage(generation=generation, index=index)
    image.write(encode_png(painting.picture, recipe=recipe(generation, index)), painting.picture)
    image.write_thumbnail(painting.picture)
    image.outside_mask_changed_pixels = outside_mask_changed_pixels(canonical, image.read(), painting.mask)
    image.seam_score = painting.seam_score
    image.report = report(painting)
    return image


def report(painting: Painting) -> dict[str, object]:
    """How the painting came about, for the metadata."""
    box = painting.window.box
    return {
        "window": [box.left, box.top, box.right, box.bottom],
        "work_size": [painting.work.width, painting.work.height],
        "coverage": round(painting.coverage, 6),
        "seam_score_plain": painting.seam_score_plain,
        "colour_matched": painting.colour_matched,
        "seam_blended": painting.seam_blended,
    }


def recipe(generation: Generation, index: int) -> dict[str, str]:
    """What travels inside the PNG, so that the picture can be made again."""
    return {"dreamlayer": json.dumps({"engine": generation.engine, **generation.settings, "index": index})}
