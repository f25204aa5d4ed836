"""Segmenters and captioners that run in a worker: a web process of its own (role `web`) loads no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.accounting.limits import QUOTA, RATE
from inpainting.api.dialect import Dialect
from inpainting.api.errors import ENDED_STATUSES, STOPPING, ApiError, api_error
from inpainting.api.later_response import LaterResponse, respond_later
from inpainting.api.recent_images import ReadImage
from inpainting.api.views import drop_body
from inpainting.captioning import Caption, Style
from inpainting.core.codecs import encode_png
from inpainting.core.errors import EngineFailed
from inpainting.core.image import CanonicalImage, Mask
from inpainting.generations.analyses import AnalysedImage, AnalysisRequest, delete_analysis, submit_analysis
from inpainting.generations.idempotency import Idempotency
from inpainting.media.files import ImageGone
from inpainting.models import Analysis, Status
from inpainting.models.analysis import Task
from inpainting.models.images import StoredImage, grey_pixels
from inpainting.worker.waiting import wait_until_ended

DESCRIBE_SECONDS = 2.5
"""Short: the request holds its turn meanwhile, and others with images wait behind it."""
Render = Callable[[Analysis], HttpResponseBase]


def runs_in_worker() -> bool:
    """Whether models that select and describe are loaded by the workers alone, and not by this process."""
    return settings.ROLE == "web"


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
    """The response when the analysis has ended, or `max_wait_seconds` later; an analysis that failed is an error.

    keeps: whether the analysis stays after its response, for later requests to name it. render_pending: the response
    for one that has not ended; without it that is an error.
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
        succeeded = analysis.status == Status.SUCCEEDED
        response = render(analysis) if succeeded else dialect.render_error(ended_without_result(analysis))
        if not keeps:
            analysis.delete()
        return response
    except Exception as error:
        return dialect.render_error(api_error(error))


def describe_in_worker(image: CanonicalImage, user: Any, *, service: str) -> Caption:
    """The description of an image by a worker's captioner, within DESCRIBE_SECONDS, for requests that need it at once.

    Raises EngineFailed where there is none by then, and what `submit_analysis` raises.
    """
    data = encode_png(image)
    sent = AnalysedImage(data, hashlib.sha256(data).hexdigest(), image.size)
    wanted = AnalysisRequest(user, Task.CAPTION, {"style": Style.PHOTO}, service=service, ends_with_response=True)
    analysis = submit_analysis(wanted, sent)
    async_to_sync(wait_until_ended)(analysis.pk, patience_seconds=DESCRIBE_SECONDS)
    try:
        analysis.refresh_from_db()
    except Analysis.DoesNotExist as error:
        raise EngineFailed("The description was cancelled.") from error
    if analysis.cancel():
        delete_analysis(analysis)
        raise EngineFailed("No worker has described it in time.")
    analysis.delete()
    if analysis.status != Status.SUCCEEDED:
        raise EngineFailed(analysis.error_message or "The description was cancelled.")
    return Caption(analysis.caption, analysis.model)


def best_mask_of(analysis: Analysis) -> Mask:
    """Raises ImageGone where its file is gone."""
    return pixels_of(analysis.masks.get(index=0))


def pixels_of(stored: StoredImage) -> Mask:
    """The pixels of a stored mask. Raises ImageGone where its file is gone."""
    try:
        return grey_pixels(stored.read())
    except FileNotFoundError as error:
        raise ImageGone from error


def ended_without_result(analysis: Analysis) -> ApiError:
    """The error of an analysis that failed or was cancelled."""
    status = ENDED_STATUSES[Status(analysis.status)]
    if analysis.is_refused:
        status = 429 if analysis.error_code in (RATE, QUOTA) else 400
    return ApiError(
        status=status,
        code=analysis.error_code or "cancelled",
        message=analysis.error_message or "The analysis was cancelled.",
        field=analysis.error_field or None,
    )
