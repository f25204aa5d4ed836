"""The pages: editor, history, one generation."""

from __future__ import annotations

from collections.abc import Mapping
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
from inpainting.api.pictures import MAX_MASK_BYTES
from inpainting.core.codecs import IntakeLimits
from inpainting.core.settings_table import MAX_PROMPT_CHARACTERS
from inpainting.engines import registry
from inpainting.engines.diffusion.engine import PARTS
from inpainting.generations import history
from inpainting.models import Generation, InferenceModel
from inpainting.web.editor_choices import HIDDEN_SENTENCE, choices

PAGE_LENGTH = 24
ROWS = {
    "preset": "Preset",
    "steps": "Steps",
    "guidance_scale": "Guidance scale",
    "guidance_start": "Guided from, share of the steps",
    "guidance_end": "Guided until, share of the steps",
    "scheduler": "Scheduler",
    "use_karras_sigmas": "Karras sigmas",
    "algorithm_type": "Algorithm type",
    "clip_skip": "Clip skip",
    "work_width": "Work width, px",
    "work_height": "Work height, px",
    "vae": "VAE",
    "step_down": "A smaller engine, where memory is short",
    "num_images": "Number of images",
    "mask_grow": "Mask grown by, px",
    "mask_blur": "Mask faded over, px",
    "only_masked_padding": "Seen around the mask, px",
    "safety_checker_type": "Safety checker",
    "control": "Guide",
    "control_strength": "Guide strength",
    "control_start": "Guide start",
    "control_end": "Guide end",
    "ip_adapter": "Looks at a picture by",
    "ip_adapter_scale": "Scale of the look",
}
"""Settings that a recipe lists where they were made, and what people call them."""
UNSAID = {"num_images": 1, "mask_grow": 0, "mask_blur": 0, "control_start": 0, "control_end": 1}
"""What goes without saying."""


@require_GET
@login_required
@ensure_csrf_cookie
def editor(request: HttpRequest) -> HttpResponse:
    context = {
        **choices(),
        "max_image_bytes": IntakeLimits().max_bytes,
        "max_mask_bytes": MAX_MASK_BYTES,
        "max_prompt_characters": MAX_PROMPT_CHARACTERS,
    }
    return render(request, "editor.html", context)


@require_GET
@login_required
def history_page(request: HttpRequest) -> HttpResponse:
    page = Paginator(history.of(request.user), PAGE_LENGTH).get_page(request.GET.get("page"))
    models = model_labels()
    cards = [card(generation, models) for generation in page]
    return render(request, "history.html", {"page": page, "cards": cards})


@require_GET
@login_required
def generation_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    generation = history.find(request.user, pk)
    if generation is None:
        raise Http404
    details, labels = rendered(generation), model_labels()
    context = {
        "generation": generation,
        "details": details,
        "rows": rows(details["metadata"], labels),
        "engine_label": registry.label(generation.engine),
        "hidden_sentence": HIDDEN_SENTENCE,
        "model_label": labels.get(generation.settings.get("model") or ""),
    }
    return render(request, "generation.html", context)


def card(generation: Generation, models: Mapping[str, str]) -> dict[str, Any]:
    """What the history shows of a generation."""
    first = next(iter(generation.images.all()), None)
    return {
        "generation": generation,
        "painter": painter(generation, models),
        "url": reverse("generation", args=[generation.pk]),
        "thumbnail": reverse("generation-image-thumbnail", args=[generation.pk, first.index])
        if first
        else reverse("generation-source-thumbnail", args=[generation.pk]),
    }


def rows(metadata: Mapping[str, Any], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The settings of a recipe that it takes words to tell. labels: of models and their parts, by their slugs."""
    made = [(name, metadata[name]) for name in ROWS if name in metadata and metadata[name] != UNSAID.get(name)]
    return [
        {
            "label": ROWS[name],
            "value": ("on" if value else "off") if isinstance(value, bool) else told(name, value, labels),
            "name": name.removeprefix("work_"),
        }
        for name, value in made
    ]


def told(name: str, value: Any, labels: Mapping[str, str]) -> Any:
    return labels.get(value, value) if name in PARTS else value


def painter(generation: Generation, models: Mapping[str, str]) -> str:
    """Who paints it, as people call it: the model, by its slug once it has left the catalog, or else the engine."""
    model = generation.settings.get("model")
    if not model or "model" in registry.find(generation.engine).ignores:
        return registry.label(generation.engine)
    return models.get(model, model)


def model_labels() -> dict[str, str]:
    return dict(InferenceModel.objects.values_list("slug", "label"))
