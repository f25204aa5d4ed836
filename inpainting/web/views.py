"""The pages: editor, history, one generation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from inpainting.api.answers import rendered
from inpainting.api.fields import PUBLIC_NAMES
from inpainting.api.pictures import MAX_MASK_BYTES
from inpainting.core.codecs import PictureLimits
from inpainting.engines import registry
from inpainting.generations import history
from inpainting.models import Generation

PAGE_LENGTH = 24


@require_GET
@login_required
@ensure_csrf_cookie
def editor(request: HttpRequest) -> HttpResponse:
    engines = [
        {
            "name": engine.name,
            "label": engine.name,
            "ignores": sorted(PUBLIC_NAMES.get(name, name) for name in engine.ignores),
        }
        for engine in registry.engines().values()
    ]
    context = {
        "engines": engines,
        "default_engine": registry.find(registry.AUTO).name,
        "max_image_bytes": PictureLimits().max_bytes,
        "max_mask_bytes": MAX_MASK_BYTES,
    }
    return render(request, "editor.html", context)


@require_GET
@login_required
def history_page(request: HttpRequest) -> HttpResponse:
    page = Paginator(history.of(request.user), PAGE_LENGTH).get_page(request.GET.get("page"))
    cards = [card(generation) for generation in page]
    return render(request, "history.html", {"page": page, "cards": cards})


@require_GET
@login_required
def generation_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    generation = history.find(request.user, pk)
    if generation is None:
        raise Http404
    return render(request, "generation.html", {"generation": generation, "details": rendered(generation)})


def card(generation: Generation) -> dict[str, Any]:
    """What the history shows of a generation."""
    first = next(iter(generation.images.all()), None)
    return {
        "generation": generation,
        "url": reverse("generation", args=[generation.pk]),
        "thumbnail": reverse("generation-image-thumbnail", args=[generation.pk, first.index])
        if first
        else reverse("generation-source-thumbnail", args=[generation.pk]),
    }
