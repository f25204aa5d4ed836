"""Run one generation: claim it, paint, verify the stored results, commit; and one analysis."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import numpy as np
from django.conf import settings
from django.db import close_old_connections

from accounts.outages import DATABASE_ERRORS, is_outage
from inpainting import metrics, moderation
from inpainting.core.codecs import encode_png, generation_parameters, shrunk
from inpainting.core.codecs.formats import PNG, TOO_LARGE, LossyCopy, copy_for
from inpainting.core.codecs.png.strips import PngStrips
from inpainting.core.compositing import outside_mask_changed_pixels
from inpainting.core.errors import (
    OUT_OF_MEMORY,
    Cancelled,
    DeviceLost,
    EngineFailed,
    InvalidImage,
    InvalidRequest,
    PaintingError,
)
from inpainting.core.image import CanonicalImage
from inpainting.core.metadata import ImageMetadata
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.sentences import Sentence, sentence
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Plan, Queue
from inpainting.engines.painting import Painting, paint_each
from inpainting.engines.upscaling import enlarge_each, enlarge_source
from inpainting.keepalive import run_in_thread
from inpainting.log_context import working_for
from inpainting.models import Analysis, GeneratedImage, Generation
from inpainting.models.images import (
    SOURCE_CREDENTIALS,
    THUMBNAIL,
    ThumbnailedImage,
    delete_uncommitted_files,
    reduced_webp,
)
from inpainting.models.queued_work import QueuedWork
from inpainting.planning import planner
from inpainting.storage import StorageUnavailable, out_of_space
from inpainting.worker import own_threads
from inpainting.worker import watchdog as watching
from inpainting.worker.analyses import AnalysisResult, analyse, commit
from inpainting.worker.fleet import membership
from inpainting.worker.large_images import one_at_a_time
from inpainting.worker.progress import LeaseRenewal, Reporter
from inpainting.worker.queue.claim_gate import claim_gate
from inpainting.worker.queue.fair_queue import start_next, worker_count
from inpainting.worker.watchdog import Heartbeat, heartbeat

logger = logging.getLogger(__name__)

FULL_DISK_PAUSE_SECONDS = 30
STORAGE_PAUSE_SECONDS = 5
"""How long a generation waits after a bucket did not answer."""
DATABASE_PAUSE_SECONDS = 1.0


def run_waiting(queue: Queue = Queue.CPU) -> None:
    """Run what waits in the queue until nothing is left."""
    while (work := start_next(queue)) is not None:
        run(work, queue)


def count_idle(queue: Queue) -> int:
    """How many more workers of the queue this process may start."""
    if queue.served_with not in settings.QUEUES:
        return 0
    return max(0, worker_count(queue) - own_threads.count_running(queue))


def run_while_idle(queue: Queue) -> None:
    """Run what waits in the queue, unless as many workers as this process has for it are at work."""
    own_threads.run(queue, partial(run_waiting, queue), at_most=worker_count(queue))


def run(work: QueuedWork, queue: Queue = Queue.CPU) -> None:
    """Run what this process has claimed."""
    with working_for(str(work.pk), request=work.request_id):
        logger.info("%s starts, attempt %d", work, work.attempts)
        run_claimed(work, queue)
        logger.info("%s is %s", work, work.status)


def run_claimed(work: QueuedWork, queue: Queue) -> None:
    """Run the work, and end, release or fail it, unless it is deleted or another worker holds it."""
    with heartbeat(str(work)) as watch, ExitStack() as cleanup:
        try:
            if isinstance(work, Generation):
                paint(work, queue, watch, cleanup)
            elif isinstance(work, Analysis):
                find(work, watch, cleanup)
            claim_gate.record_success()
        except Cancelled:
            end_cancelled(work, watch)
        except DeviceLost as error:
            watching.end_process(f"{work} lost its device: {error}")
        except PaintingError as error:
            fail_or_leave(work, watch, error)
        except Exception as error:
            if out_of_space(error):
                logger.error("No space for the results of %s; it is requeued", work)
                claim_gate.record_failure()
                cleanup.close()  # first: the release needs space as well
                retry_until_committed(lambda: work.release(pause_seconds=FULL_DISK_PAUSE_SECONDS), watch)
            elif isinstance(error, StorageUnavailable):
                logger.error("%s is requeued: %s", work, error)
                claim_gate.record_failure()
                retry_until_committed(lambda: work.release(pause_seconds=STORAGE_PAUSE_SECONDS), watch)
            elif is_outage(error):
                logger.exception("The database became unreachable while %s ran", work)
                if not watching.stopping.is_set():  # otherwise the lease expires, and another worker runs it again
                    retry_until_committed(lambda: work.release(pause_seconds=DATABASE_PAUSE_SECONDS), watch)
            else:
                fail_unexpectedly(work, watch)


def paint(generation: Generation, queue: Queue, watch: Heartbeat, cleanup: ExitStack) -> None:
    """Paint a generation and end it. cleanup: deletes the files that were written, unless they are committed."""
    images: list[GeneratedImage] = []
    thumbnails: list[tuple[ThumbnailedImage, CanonicalImage]] = []
    cleanup.callback(delete_uncommitted_files, images)
    waiting = Reporter(generation, watch).renew_lease
    if queue is Queue.CPU:  # the GPU's generations share steps
        cleanup.enter_context(one_at_a_time(generation.result_size.area, waiting))
    generation.inputs  # noqa: B018 - loads their rows here: the thread below has no database connection
    request = run_in_thread(partial(read_request, generation), waiting)
    plan = planner().plan_stored(request, generation.engine, generation.planned_window)
    source = sent = plan.request.image
    moderate = moderation.moderator(plan.settings)
    report_step = Reporter(generation, watch, icc_profile=source.icc_profile, shows_previews=moderate is None)
    on_step: OnStep = report_step
    if plan.request.upscaler:
        plan, on_step = enlarge_source(plan, report_step)
        source = plan.request.image
    paintings = paint_or_step_down(generation, plan, on_step)
    for index, painting in enumerate(paintings):
        image = GeneratedImage(generation=generation, index=index)
        images.append(image)
        if moderate is not None:
            painting = moderate(painting, report_step.renew_lease)
        run_in_thread(partial(store, image, painting, source, plan.settings), report_step.renew_lease)
        thumbnails.append((image, shrunk(painting.image, THUMBNAIL.side)))
        report_step.renew_lease()
    if retry_until_committed(lambda: generation.succeed(images), watch, unless=out_of_space):
        images.clear()
        store_thumbnails([(generation.source, sent), *thumbnails])
    else:
        end_cancelled(generation, watch)


def find(analysis: Analysis, watch: Heartbeat, cleanup: ExitStack) -> None:
    """Find what the analysis is about and end it. cleanup: deletes the files that were written, unless committed."""
    findings = AnalysisResult()
    cleanup.callback(lambda: delete_uncommitted_files(findings.files))
    analyse(analysis, findings, LeaseRenewal(analysis, watch).renew_lease)
    if retry_until_committed(lambda: commit(analysis, findings), watch, unless=out_of_space):
        cleanup.pop_all()
    else:
        end_cancelled(analysis, watch)


def paint_or_step_down(generation: Generation, plan: Plan, on_step: OnStep) -> Iterator[Painting]:
    """Paint the plan; if device memory runs out and `step_down` allows it, paint it with a less demanding engine.

    Raises what `paint_each` raises; the first engine's error if no less demanding engine can paint the request.
    """
    if plan.request.enlarged_to is not None:
        return enlarge_each(plan, on_step)
    try:
        return paint_each(plan, registry.find(plan.engine.name), on_step)
    except EngineFailed as error:
        if error.code != OUT_OF_MEMORY or not plan.settings.step_down:
            raise
        smaller = planner().step_down(plan)
        if smaller is None:
            raise
        logger.warning("%s steps down to %s: %s", generation, smaller.engine.name, error.message)
        if not generation.step_down(smaller):
            raise Cancelled from error
        return paint_each(smaller, registry.find(smaller.engine.name), on_step)


def read_request(generation: Generation) -> InpaintRequest:
    """Read the request of a generation from storage. Raises InvalidImage (`image_gone`) if a file is missing."""
    try:
        return generation.to_request()
    except InvalidImage as error:
        logger.error("A file of %s is gone: %s", generation, error.__cause__)
        raise


def retry_until_committed(
    transition: Callable[[], bool], watch: Heartbeat, *, unless: Callable[[Exception], bool] = lambda error: False
) -> bool:
    """Retry a state change while the database does not answer, so that finished work is not lost.

    Returns False if another worker holds the generation by now. Raises the database error if `unless` returns True for
    it, and when this process stops.
    """
    while True:
        try:
            return transition()
        except DATABASE_ERRORS as error:
            if unless(error) or not is_outage(error) or watching.stopping.is_set():
                raise
            logger.warning("The database does not answer; trying again in a moment", exc_info=True)
        watch.beat()
        close_old_connections()
        watching.stopping.wait(DATABASE_PAUSE_SECONDS)


def end_cancelled(work: QueuedWork, watch: Heartbeat) -> None:
    """End the work, unless it was deleted, or its lease expired and another worker holds it."""

    def end() -> bool:
        return work.end_cancelled() or not type(work)._default_manager.filter(pk=work.pk).exists()

    if not retry_until_committed(end, watch) and not watching.stopping.is_set():
        metrics.LEASES_LOST.inc()


def fail_or_leave(work: QueuedWork, watch: Heartbeat, error: PaintingError) -> None:
    """End the work with the error; release it where another worker may load what this one cannot."""
    is_alone = settings.IS_ALONE or watching.stopping.is_set()
    if not is_alone and retry_until_committed(lambda: membership.leave_failed(work, error), watch):
        logger.warning("%s is left to other workers: %s", work, error.message)
        retry_until_committed(work.release, watch)
    elif isinstance(work, Analysis) and isinstance(error, InvalidRequest):
        retry_until_committed(lambda: work.refuse(error), watch)
    else:
        is_lacking = not is_alone and membership.missing_for(work, error)
        message = and_nobody_else(error.message) if is_lacking else error.message
        fail_or_release(work, watch, code=error.code, message=message)


def and_nobody_else(problem: str) -> Sentence:
    """Return the error of work that failed because of what this process, and every other that runs, cannot load."""
    if problem.endswith("."):
        return sentence("{problem} No other worker that runs can load it.", problem=problem)
    return sentence("{problem}. No other worker that runs can load it.", problem=problem)


def fail_unexpectedly(work: QueuedWork, watch: Heartbeat) -> None:
    """End the work after an unexpected error; the traceback goes to the log."""
    logger.exception("%s failed unexpectedly", work)
    fail_or_release(work, watch, code="internal_error", message=work.FAILED_UNEXPECTEDLY)


def fail_or_release(work: QueuedWork, watch: Heartbeat, *, code: str, message: str) -> None:
    """Fail the work; release it where this process stops, as that can be the cause: Python then starts no thread."""
    if watching.stopping.is_set():
        logger.warning("%s is released, because this process stops: %s", work, message)
        retry_until_committed(work.release, watch)
    else:
        retry_until_committed(lambda: work.fail(code=code, message=message), watch)


def store(image: GeneratedImage, painting: Painting, canonical: CanonicalImage, requested: PaintSettings) -> None:
    """Write the result to storage, decode it again and measure it; the row is saved when all succeed.

    A copy in the requested format is encoded and written meanwhile, from the same pixels.
    """
    kept = canonical.metadata.select(requested.keep_metadata)
    if requested.output_format == PNG:
        store_png(image, painting, canonical, kept)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="copy") as beside:
        copying = beside.submit(store_copy, image, painting.image, requested, kept)
        store_png(image, painting, canonical, kept)
    copy = copying.result()
    about = {"sha256": image.copy_sha256, "byte_count": image.copy_byte_count}
    image.report["copy"] = {"format": copy.format, "quality": copy.quality, "lossy": True, **about}
    if not copy.fits:
        image.report["notes"].append(TOO_LARGE)


def store_png(image: GeneratedImage, painting: Painting, canonical: CanonicalImage, metadata: ImageMetadata) -> None:
    texts = {}
    if settings.EMBED_SETTINGS:
        texts = generation_parameters(image.generation.engine, image.generation.settings, index=image.index)
    image.write(encode_png(painting.image, texts=texts, metadata=metadata), painting.image)
    if painting.unhidden is not None:
        image.write_hidden(encode_png(painting.unhidden, texts=texts))
    stored = PngStrips(image.read_bytes())
    if painting.image.size == canonical.size:
        image.outside_mask_changed_pixels = outside_mask_changed_pixels(canonical, stored, painting.mask)
    else:
        image.outside_mask_changed_pixels = check_stored(painting.image, stored)
    image.seam_score = painting.seam_score
    image.score = painting.score
    image.report = report(painting)
    if canonical.metadata.credentials is not None:
        image.report[SOURCE_CREDENTIALS] = canonical.metadata.credentials.is_valid


def check_stored(enlarged: CanonicalImage, stored: PngStrips) -> int:
    """Return 0, as no pixel of an enlarged image is one of the source's. Raises EngineFailed where the stored file is
    not the image."""
    nothing = np.zeros((enlarged.size.height, enlarged.size.width), np.uint8)
    if changed := outside_mask_changed_pixels(enlarged, stored, nothing):
        raise EngineFailed(sentence("{changed} pixels of the stored file are not those of the image.", changed=changed))
    return 0


def store_thumbnails(thumbnails: Iterable[tuple[ThumbnailedImage, CanonicalImage]]) -> None:
    """Write thumbnails to storage after the generation has ended. Those that are not are made when they are requested.

    thumbnails: stored image and its pixels, or those of a reduced copy.
    """
    for image, pixels in thumbnails:
        try:
            if not image.thumbnail:
                image.store_reduced("thumbnail", reduced_webp(pixels, "thumbnail"))
        except (OSError, *DATABASE_ERRORS):
            logger.warning("The thumbnail of %s cannot be stored", image, exc_info=True)


def store_copy(
    image: GeneratedImage, canonical: CanonicalImage, requested: PaintSettings, metadata: ImageMetadata
) -> LossyCopy:
    """Write a copy of the result in the requested format to storage."""
    copy = copy_for(canonical, requested, metadata)
    image.write_copy(copy)
    return copy


def report(painting: Painting) -> dict[str, object]:
    """The measurements of a painting for the metadata."""
    return {
        "window": painting.window.box.to_list(),
        "work_size": [painting.work.width, painting.work.height],
        "coverage": round(painting.coverage, 6),
        "seam_score_plain": painting.seam_score_plain,
        "colour_matched": painting.colour_matched,
        "seam_blended": painting.seam_blended,
        "notes": list(painting.notes),
        "nsfw_content_detected": painting.nsfw_content_detected,
        "hidden_by": painting.hidden_by,
        **({"computed_by": painting.computed_by} if painting.computed_by else {}),
    }
