"""Requests that a worker's segmenter or captioner answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.accounting.limits import QUOTA, RATE
from inpainting.api.dialect import Dialect
from inpainting.api.errors import ENDED_STATUSES, STOPPING, ApiError, Busy, api_error
from inpainting.api.images import NAMED_IMAGE, ImageRole, SentImage
from inpainting.api.later_response import LaterResponse, respond_later
from inpainting.api.recent_images import ReadImage, read_recent
from inpainting.api.views import drop_body
from inpainting.captioning import Caption, CaptionStyle
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.sentences import sentence
from inpainting.generations.analyses import AnalysedImage, AnalysisRequest, delete_analysis, submit_analysis
from inpainting.generations.idempotency import Idempotency
from inpainting.media.files import ImageGone
from inpainting.models import Analysis, Status
from inpainting.models.analysis import Task
from inpainting.models.images import StoredImage, grey_pixels
from inpainting.segmenters.base import Candidate
from inpainting.worker.waiters import wait_until_ended

DESCRIBE_SECONDS, LOAD_SECONDS = 2.5, 20.0
"""How long a request waits that needs a description at once: short, since it holds its turn meanwhile and others with
images wait behind it. LOAD_SECONDS where the workers are threads of this process: the first one loads the model."""
Render = Callable[[Analysis], HttpResponseBase]


def accept(request: AnalysisRequest, read: ReadImage, *, idempotency: Idempotency | None = None) -> Analysis:
    """Accept an analysis of an image of a request. Raises what `submit_analysis` raises."""
    image = AnalysedImage(read.data, read.sha256, read.image.size)
    return submit_analysis(request, image, idempotency=idempotency)


def answer_later(
    analysis: Analysis,
    request: Request,
    dialect: Dialect,
    render: Render,
    *,
    max_wait_seconds: float | None = None,
    keeps: bool = False,
    render_pending: Render | None = None,
) -> HttpResponseBase:
    """Respond when the analysis has ended, or `max_wait_seconds` later; an analysis that failed is an error.

    keeps: whether the analysis stays after its response, for later requests to name it.
    render_pending: the response for one that has not ended; without it that is an error.
    """
    drop_body(request)
    current = partial(_render_current, analysis.pk, dialect, render=render, keeps=keeps, render_pending=render_pending)
    abandon = None if keeps else analysis.cancel  # such as the outline of where the mouse was
    return respond_later(LaterResponse(analysis.pk, max_wait_seconds, current, abandon), request)


def _render_current(
    pk: UUID, dialect: Dialect, *, render: Render, keeps: bool, render_pending: Render | None
) -> HttpResponseBase:
    try:
        analysis = Analysis.objects.select_related("mask").filter(pk=pk).first()
        if analysis is None:
            analysis = Analysis(pk=pk, status=Status.CANCELLED)
        if not analysis.has_ended:
            return dialect.render_error(STOPPING) if render_pending is None else render_pending(analysis)
        try:
            succeeded = analysis.status == Status.SUCCEEDED
            return render(analysis) if succeeded else dialect.render_error(ending_error(analysis))
        finally:
            if not keeps:
                analysis.delete()
    except Exception as error:
        return dialect.render_error(api_error(error))


def respond_with_caption(
    sent: SentImage,
    style: CaptionStyle,
    request: Request,
    *,
    role: ImageRole = NAMED_IMAGE,
    dialect: Dialect,
    render: Callable[[Caption], HttpResponseBase],
) -> HttpResponseBase:
    """The response with the words for an image, by a model or without one by its colours.

    Raises what `read_recent` and `submit_analysis` raise.
    """
    wanted = AnalysisRequest(
        request.user, Task.CAPTION, {"style": style}, service=dialect.name, ends_with_response=True
    )
    accepted = accept(wanted, read_recent(sent, request, role))
    return answer_later(accepted, request, dialect, lambda analysis: render(Caption(analysis.caption, analysis.model)))


def describe_in_worker(image: CanonicalImage, user: Any, *, service: str) -> Caption:
    """The description of an image by a worker's captioner, for requests that need it at once: see DESCRIBE_SECONDS.

    Raises what `ended_in_worker` raises.
    """
    wanted = AnalysisRequest(
        user, Task.CAPTION, {"style": CaptionStyle.PHOTO}, service=service, ends_with_response=True
    )
    with ended_in_worker(wanted, AnalysedImage.of(image), seconds=DESCRIBE_SECONDS) as analysis:
        return Caption(analysis.caption, analysis.model)


@contextmanager
def ended_in_worker(wanted: AnalysisRequest, sent: AnalysedImage, *, seconds: float) -> Iterator[Analysis]:
    """Yield an analysis that a worker has finished meanwhile, and delete it afterwards.

    seconds: to wait for it in this thread; LOAD_SECONDS where the workers are threads of this process.
    Raises InvalidRequest where the worker refuses the request, EngineFailed where it fails, Busy where it has not
    finished by then, and what `submit_analysis` raises.
    """
    analysis = submit_analysis(wanted, sent)
    patience_seconds = seconds if settings.ROLE == "web" else LOAD_SECONDS
    async_to_sync(wait_until_ended)(analysis.pk, patience_seconds=patience_seconds)
    if wanted.task == Task.CAPTION:
        cancelled = sentence("The description was cancelled.")
        too_late = sentence("No worker has finished the description in time.")
    else:
        cancelled = sentence("The selection was cancelled.")
        too_late = sentence("No worker has finished the selection in time.")
    try:
        analysis.refresh_from_db()
    except Analysis.DoesNotExist as error:
        raise EngineFailed(cancelled) from error
    if analysis.cancel():
        delete_analysis(analysis)
        raise Busy(too_late)
    try:
        if analysis.is_refused:
            message, field = analysis.error_message, analysis.error_field or None
            raise InvalidRequest(message, code=analysis.error_code, field=field)
        if analysis.status != Status.SUCCEEDED:
            raise EngineFailed(analysis.error_message or cancelled)
        yield analysis
    finally:
        analysis.delete()


def candidates_found_by(analysis: Analysis) -> list[Candidate]:
    """Return the masks of an analysis, the best one first. Raises ImageGone where a file is gone."""
    return [Candidate(pixels_of(mask), mask.score) for mask in analysis.masks.all()]


def pixels_of(stored: StoredImage) -> Mask:
    """Return the pixels of a stored mask. Raises ImageGone where its file is gone."""
    try:
        return grey_pixels(stored.read())
    except FileNotFoundError as error:
        raise ImageGone from error


def ending_error(analysis: Analysis) -> ApiError:
    """Return the error of an analysis that failed or was cancelled."""
    status = ENDED_STATUSES[Status(analysis.status)]
    if analysis.is_refused:
        status = 429 if analysis.error_code in (RATE, QUOTA) else 400
    return ApiError(
        status=status,
        code=analysis.error_code or "cancelled",
        message=analysis.error_message or sentence("The analysis was cancelled."),
        field=analysis.error_field or None,
    )
