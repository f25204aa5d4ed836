"""The unhidden results of the safety checker, for reviewers."""

from __future__ import annotations

import logging
from uuid import UUID

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from inpainting.media.files import OWNERS_ONLY, picture_or_text_response
from inpainting.models import GeneratedImage

logger = logging.getLogger(__name__)


@require_GET
def hidden_picture(request: HttpRequest, pk: UUID, index: int) -> HttpResponseBase:
    """The unhidden result. 404 for everyone but reviewers, including the owner. Each access is logged."""
    if not (request.user.is_staff and request.user.has_perm("inpainting.view_generation")):
        raise Http404
    image = get_object_or_404(GeneratedImage.objects.exclude(hidden_file=""), generation=pk, index=index)
    logger.info("%s opened the hidden result of generation %s, image %d", request.user, pk, index)
    headers = {**OWNERS_ONLY, "Cache-Control": "private, no-store"}
    return picture_or_text_response(request, image.hidden_file, headers)
