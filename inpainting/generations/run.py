"""Run one generation: claim it, paint, check what was stored, keep it."""

from __future__ import annotations

import errno
import json
import logging
import time
from contextlib import ExitStack

from django.db import DatabaseError

from inpainting.core.codecs import encode_png
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import Cancelled, PaintingError
from inpainting.core.picture import Picture
from inpainting.engines import registry
from inpainting.engines.base import Step
from inpainting.engines.painting import Painting, paint
from inpainting.generations.line import start_next
from inpainting.generations.watch import Watch, watched
from inpainting.models import GeneratedImage, Generation

logger = logging.getLogger(__name__)

PROGRESS_EVERY_SECONDS = 0.2
"""How often a step is written down, and so how soon a cancel is seen."""
FULL_DISK_PAUSE_SECONDS = 30


def run_waiting() -> None:
    """Start and paint whose turn it is, until nobody waits."""
    while (generation := start_next()) is not None:
        run(generation)


def run(generation: Generation) -> None:
    """Paint a generation that we have started."""
    with watched(str(generation)) as watch, ExitStack() as unless_kept:
        try:
            request = generation.to_request()
            paintings = paint(request, registry.find(generation.engine), Reporter(generation, watch))
            images = []
            for index, painting in enumerate(paintings):
                image = GeneratedImage(generation=generation, index=index)
                unless_kept.callback(image.delete_files)
                store(image, painting, request.image)
                images.append(image)
            if generation.succeed(images):
                unless_kept.pop_all()
            else:
                generation.end_cancelled()
        except Cancelled:
            generation.end_cancelled()
        except PaintingError as error:
            generation.fail(code=error.code, message=error.message)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                give_up(generation)
                return
            logger.error("No space for the results of %s; it waits", generation)
            generation.hand_back(pause_seconds=FULL_DISK_PAUSE_SECONDS)
        except DatabaseError:
            # Nothing can be written down now: the lease runs out, and the generation is run again.
            logger.exception("The database went away under %s", generation)
        except Exception:
            give_up(generation)


def give_up(generation: Generation) -> None:
    """Whatever broke, its owner gets an answer and the log gets the trace."""
    logger.exception("%s broke", generation)
    generation.fail(code="internal_error", message="Painting broke off; the server's log says why.")


class Reporter:
    """Writes steps down, not more often than PROGRESS_EVERY_SECONDS, and stops the engine when it is no longer ours."""

    def __init__(self, generation: Generation, watch: Watch) -> None:
        self.generation = generation
        self.watch = watch
        self.last_written = 0.0

    def __call__(self, step: Step) -> None:
        self.watch.progressed()
        now = time.monotonic()
        if now - self.last_written < PROGRESS_EVERY_SECONDS and step.done < step.of:
            return
        self.last_written = now
        if not self.generation.advance(step.done, step.of):
            raise Cancelled


def store(image: GeneratedImage, painting: Painting, canonical: Picture) -> None:
    """Put the painting's file into storage, decode it again and count; the row is saved when all succeeds."""
    image.write(encode_png(painting.picture, recipe=recipe(image.generation, image.index)), painting.picture)
    image.write_thumbnail(painting.picture)
    image.outside_mask_changed_pixels = outside_mask_changed_pixels(canonical, image.read(), painting.mask)
    image.seam_score = painting.seam_score
    image.report = report(painting)


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
