"""Requests for words about an image: described here, or where this process loads no models by a worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.api.analyses import accept, answer_later, runs_in_worker
from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.dialect import Dialect
from inpainting.api.images import ImageRole, SentImage
from inpainting.api.later_response import has_disconnected
from inpainting.api.recent_images import read_recent
from inpainting.captioning import Caption, Style, describe_colours, find_captioner
from inpainting.generations.analyses import AnalysisRequest
from inpainting.models.analysis import Task


def respond_with_caption(
    sent: SentImage,
    style: Style,
    request: Request,
    *,
    role: ImageRole,
    dialect: Dialect,
    render: Callable[[Caption], HttpResponseBase],
) -> HttpResponseBase:
    """The response with the words for an image, by a model or without one by its colours.

    Raises what `read_recent`, `submit_analysis` and the captioner raise.
    """
    captioner = find_captioner()
    if captioner is not None and runs_in_worker():
        wanted = AnalysisRequest(
            request.user, Task.CAPTION, {"style": style}, service=dialect.name, ends_with_response=True
        )
        accepted = accept(wanted, read_recent(sent, request, role))
        return answer_later(accepted, request, dialect, lambda one: render(Caption(one.caption, one.model)))
    has_left = partial(has_disconnected, request)
    with limit_segmentations(request.user, has_left):
        image = read_recent(sent, request, role).image
        if captioner is not None:
            captioner.loaded()
        with computing(has_left):
            describe = describe_colours if captioner is None else captioner.describe
            return render(describe(image, style))
