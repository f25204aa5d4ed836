"""What the safety checker hid, for those who review the history."""

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
    """A result as it was painted. For everybody but reviewers, its owner among them, there is no such thing.

    Who has opened it stands in the log.
    """
    if not (request.user.is_staff and request.user.has_perm("inpainting.view_generation")):
        raise Http404
    image = get_object_or_404(GeneratedImage.objects.exclude(hidden_file=""), generation=pk, index=index)
    logger.info("%s opened what was hidden of generation %s, image %d", request.user, pk, index)
    headers = {**OWNERS_ONLY, "Cache-Control": "private, no-store"}
    return picture_or_text_response(request, image.hidden_file, headers)
