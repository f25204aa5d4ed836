"""The unhidden results of the safety checker, for reviewers."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from inpainting.generations.review import record_hidden_result
from inpainting.media.files import OWNERS_ONLY, errors_as_text, image_response
from inpainting.models import GeneratedImage


@require_GET
@errors_as_text
def hidden_image(request: HttpRequest, pk: UUID, index: int) -> HttpResponseBase:
    """Return the unhidden result. 404 for everyone but reviewers, including the owner. Each access is recorded."""
    if not (request.user.is_staff and request.user.has_perm("inpainting.view_generation")):
        raise Http404
    hidden = GeneratedImage.objects.select_related("generation").exclude(hidden_file="")
    image = get_object_or_404(hidden, generation=pk, index=index)
    record_hidden_result(image, by=request.user)
    return image_response(request, image.hidden_file, {**OWNERS_ONLY, "Cache-Control": "private, no-store"})
