"""The pages: editor, history, one generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from inpainting.core.codecs import IntakeLimits
from inpainting.core.masks import MAX_MASK_BYTES
from inpainting.engines import registry
from inpainting.generations import history
from inpainting.generations.description import image_url, input_url, measurements, metadata
from inpainting.generations.setting_rows import LABELS, setting_rows
from inpainting.models import Generation, InferenceModel
from inpainting.models.generation_request import INPUT_IMAGES
from inpainting.web import sample_page
from inpainting.web.editor_choices import HIDDEN_SENTENCE, choices

PAGE_LENGTH = 24
MAX_REMOVED = 24
"""Removed generations that the history lists."""


@require_GET
def first_page(request: HttpRequest) -> HttpResponse:
    """The editor; the sample photo for visitors, who sign in first where they follow a link into the editor."""
    if request.user.is_authenticated or request.GET or not settings.SAMPLE:
        return editor(request)
    return sample_page.first_page(request)


@login_required
@ensure_csrf_cookie
def editor(request: HttpRequest) -> HttpResponse:
    context = {
        **choices(),
        "max_image_bytes": IntakeLimits().max_bytes,
        "max_mask_bytes": MAX_MASK_BYTES,
    }
    return render(request, "editor.html", context)


@require_GET
@login_required
def history_page(request: HttpRequest) -> HttpResponse:
    page = Paginator(history.for_user(request.user), PAGE_LENGTH).get_page(request.GET.get("page"))
    models = model_labels()
    cards = [card(generation, models) for generation in page]
    removed = history.removed_of(request.user) if page.number == 1 else history.removed_of(request.user).none()
    return render(request, "history.html", {"page": page, "cards": cards, "removed": removed[:MAX_REMOVED]})


@require_GET
@login_required
def generation_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    try:
        generation = history.find(request.user, pk)
    except history.GenerationRemoved as removed:
        return render(request, "generation_removed.html", {"generation": removed.generation}, status=410)
    if generation is None:
        raise Http404
    details, labels = page_details(generation), model_labels()
    context = {
        "generation": generation,
        "details": details,
        "rows": setting_rows(details["metadata"], labels),
        "labels": LABELS,
        "engine_label": registry.label(generation.engine),
        "hidden_sentence": HIDDEN_SENTENCE,
        "model_label": labels.get(generation.settings.get("model") or ""),
    }
    return render(request, "generation.html", context)


def page_details(generation: Generation) -> dict[str, Any]:
    """Values for the template that are not fields of the row."""
    return {
        "id": generation.pk,
        "error": {"message": generation.error_message} if generation.error_code else None,
        "seconds": generation.seconds,
        **{name: input_url(generation, name) for name in INPUT_IMAGES},
        "images": [
            {"url": image_url(image), "width": image.width, "height": image.height, **measurements(image)}
            for image in generation.images.all()
        ],
        "metadata": metadata(generation),
    }


def card(generation: Generation, models: Mapping[str, str]) -> dict[str, Any]:
    """The context of a generation's card in the history."""
    first = next(iter(generation.images.all()), None)
    return {
        "generation": generation,
        "painted_with": painted_with(generation, models),
        "url": reverse("generation", args=[generation.pk]),
        "thumbnail": reverse("generation-image-thumbnail", args=[generation.pk, first.index])
        if first
        else reverse("generation-source-thumbnail", args=[generation.pk]),
    }


def painted_with(generation: Generation, models: Mapping[str, str]) -> str:
    """The label of the model, its slug if it is no longer in the catalog; the engine's label if it uses no model."""
    model = generation.settings.get("model")
    if not model or "model" in registry.find(generation.engine).declaration.ignored_settings:
        return registry.label(generation.engine)
    return models.get(model, model)


def model_labels() -> dict[str, str]:
    return dict(InferenceModel.objects.values_list("slug", "label"))
