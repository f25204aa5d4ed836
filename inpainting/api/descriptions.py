"""Requests for words about an image, which a worker finds."""

from __future__ import annotations

from collections.abc import Callable

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.api.analyses import accept, answer_later
from inpainting.api.compat.base import Dialect
from inpainting.api.images import ImageRole, SentImage
from inpainting.api.recent_images import read_recent
from inpainting.captioning import Caption, Style
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

    Raises what `read_recent` and `submit_analysis` raise.
    """
    wanted = AnalysisRequest(
        request.user, Task.CAPTION, {"style": style}, service=dialect.name, ends_with_response=True
    )
    accepted = accept(wanted, read_recent(sent, request, role))
    return answer_later(accepted, request, dialect, lambda analysis: render(Caption(analysis.caption, analysis.model)))
