"""The pages of batches: a new one with the earlier ones, and the progress and results of one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from inpainting.generations import batches
from inpainting.generations.batches import shown_details
from inpainting.generations.description import message_of
from inpainting.models import BatchItem, Status
from inpainting.models.batch import REFUSED
from inpainting.web.editor.editor_choices import choices, editing_models, page_limits
from inpainting.web.state_labels import STATE_LABELS

PAGE_LENGTH = 20
CHOICES_OF_DETAIL = frozenset({"has_diffusion_model", "diffusion_installed", "engines"})
"""What `includes/detail_fields.html` reads of the choices of the editor's form."""


@require_GET
@login_required
@ensure_csrf_cookie
def batch_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(batches.for_user(request.user), PAGE_LENGTH).get_page(request.GET.get("page"))
    context = {
        "page": page,
        **{name: choice for name, choice in choices().items() if name in CHOICES_OF_DETAIL},
        "editing_models": editing_models(),
        "max_items": settings.BATCH_MAX_ITEMS,
        **page_limits(),
    }
    return render(request, "batches.html", context)


@require_GET
@login_required
@ensure_csrf_cookie
def batch_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    batch = batches.find(request.user, pk)
    if batch is None:
        raise Http404
    items = [row_of(item) for item in batch.items.all()]
    return render(request, "batch.html", {"batch": batch, "items": items, "state_labels": STATE_LABELS})


def row_of(item: BatchItem) -> dict[str, Any]:
    """Return the template's values of an item: before its end the thumbnail is that of the source image."""
    generation = item.generation
    is_shown = generation is not None and not generation.is_hidden
    image = next(iter(generation.images.all()), None) if generation is not None and is_shown else None
    thumbnail = None
    if generation is not None and is_shown:
        route = "generation-image-thumbnail" if image is not None else "generation-source-thumbnail"
        thumbnail = reverse(route, args=[generation.pk, *([] if image is None else [image.index])])
    error = (
        shown_details(item.refusal)["message"]
        if item.refusal
        else message_of(generation, generation.error_message)
        if generation
        else ""
    )
    return {
        "item": item,
        "name": item.name or gettext("Photo {number}").format(number=item.index + 1),
        "url": reverse("generation", args=[generation.pk]) if generation is not None and is_shown else None,
        "thumbnail": thumbnail,
        "error": error if item.state in (Status.FAILED, REFUSED) else "",
    }
