"""The description of a generation for the API and the pages: settings under their public names, warnings, links."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.urls import reverse

from inpainting.core.sentences import restored
from inpainting.core.setting import UPSCALE
from inpainting.core.settings_table import DEFAULT_STRENGTH, PUBLIC_NAMES, public_names
from inpainting.models import GeneratedImage, Generation
from inpainting.translation import translated

NOT_EXAMINED = {"nsfw_content_detected": None, "hidden_by": None}
"""The safety report of a result that no safety checker has examined."""
NO_COPY = {"copy": None}
"""The report of a result in PNG."""


def metadata(generation: Generation) -> dict[str, Any]:
    """The resolved settings under their public names, the reasons for them, and the measurements on the results."""
    settings = {name: value for name, value in generation.settings.items() if value is not None}
    settings.setdefault("strength", DEFAULT_STRENGTH)  # clients read it from every answer
    return {
        **with_public_names(settings),
        **{f"work_{side}": settings[side] for side in ("width", "height") if side in settings},
        "width": generation.result_size.width,
        "height": generation.result_size.height,
        **generation.placement,
        **enlarged_from(generation),
        "verb": generation.verb,
        "parent": generation.parent_id,
        "service": generation.service,
        "engine": generation.engine,
        "engine_reason": message_of(generation, generation.engine_reason),
        "requested": requested_settings(generation),
        **{f"{name}_sha256": stored.sha256 for name, stored in generation.references.items()},
        "ignored": ignored_setting_names(generation.ignored, settings),
        "ignored_fields": generation.ignored_fields,
        "warnings": all_warnings(generation),
        "seconds": generation.seconds,
        "nsfw_content_detected": nsfw_content_detected(generation),
        "results": [measurements(image) for image in generation.images.all()],
    }


def enlarged_from(generation: Generation) -> dict[str, Any]:
    """The upscaler and the size of the source of an upscaling; {} of a painting, whose result has the size of its
    source."""
    if generation.enlarged_to is None:
        return {}
    source = generation.source
    return {"upscaler": generation.upscaler, "source_width": source.width, "source_height": source.height}


def requested_settings(generation: Generation) -> dict[str, Any]:
    """The engine and settings as sent, under their public names, without defaults."""
    sent = generation.requested_settings
    settings = {name: value for name, value in sent.settings.items() if value is not None}
    if generation.enlargement:  # as `POST /api/upscale` takes it
        about = {"detail": settings.pop("strength", None), "detail_model": settings.pop("model", None)}
        settings.pop("tiled", None)
        settings |= {**about, "model": generation.upscaler}
        return {**with_public_names(settings), "engine": UPSCALE}
    return {**with_public_names(settings), "engine": sent.engine}


def with_public_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {PUBLIC_NAMES.get(name, name): value for name, value in settings.items()}


def ignored_setting_names(names: Collection[str], settings: Mapping[str, Any]) -> list[str]:
    """Public names of the settings among these names that have a value, or are switched on."""
    return public_names(
        name for name in names if (value := settings.get(name)) is not False and value not in (None, "", [], ())
    )


def all_warnings(generation: Generation) -> list[str]:
    """Warnings from the request, then the notes of the results, each once."""
    notes = [note for image in generation.images.all() for note in image.report.get("notes", [])]
    return [message_of(generation, text) for text in (*generation.warnings, *dict.fromkeys(notes))]


def message_of(generation: Generation, text: str) -> str:
    """Return a message of the generation, which is stored in English, in the language of the response."""
    return translated(restored(text, generation.sentences)) if text else text


def nsfw_content_detected(generation: Generation) -> list[bool] | None:
    """For each result, whether the safety checker flagged it; None if any result was not examined."""
    found = [image.report.get("nsfw_content_detected") for image in generation.images.all()]
    return None if not found or None in found else found


def measurements(image: GeneratedImage) -> dict[str, Any]:
    return {
        "sha256": image.sha256,
        "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
        "seam_score": image.seam_score,
        "score": image.score,
        **NOT_EXAMINED,
        **NO_COPY,
        **image.report,
    }


def input_url(generation: Generation, name: str) -> str | None:
    """The owner's link to an input: `source`, `mask`, or a conditioning image; None where it was not sent."""
    if name not in generation.inputs:
        return None
    if name in generation.references:
        return reverse("generation-conditioning-image", args=[generation.pk, name])
    return reverse(f"generation-{name}", args=[generation.pk])


def preview_url(generation: Generation, name: str) -> str | None:
    """The owner's link to the preview of an input; None where it was not sent."""
    link = input_url(generation, name)
    return None if link is None else f"{link}preview/"


def image_url(image: GeneratedImage) -> str:
    """The owner's link to a result."""
    return reverse("generation-image", args=[image.generation_id, image.index])
