"""A generation -> what the native API says of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.urls import reverse
from rest_framework.request import Request

from inpainting.api.fields import PUBLIC_NAMES, public_names
from inpainting.api.media.links import public_image_url
from inpainting.models import Generation
from inpainting.models.generation import REFERENCES
from inpainting.realtime.current_event import progress_event
from inpainting.worker.run_time_estimates import place_in_line

UNEXAMINED = {"nsfw_content_detected": None, "hidden_by": None}
"""What is said of a result that no safety checker has looked at."""


def pending(generation: Generation) -> dict[str, Any]:
    return {
        "status": "processing",
        "id": str(generation.pk),
        "url": reverse("generation-detail", args=[generation.pk]),
        **place(generation),
    }


def place(generation: Generation) -> dict[str, Any]:
    """Where it stands in line: 1 starts next; null once it does not wait. eta: seconds until it is painted, or null."""
    its = place_in_line(generation)
    return {"position": its.position if its else None, "eta": its.eta if its else None}


def unsuccessful(generation: Generation) -> dict[str, Any]:
    message = generation.error_message or "The generation was cancelled."
    code = generation.error_code or "cancelled"
    return {"status": "error", "message": message, "code": code, "id": str(generation.pk)}


def success(generation: Generation, request: Request) -> dict[str, Any]:
    """The union of what the published document and its front end read."""
    urls = [public_image_url(image, request) for image in generation.images.all()]
    generated = [{"filename": url.rpartition("/")[2], "url": url, "type": "output", "subfolder": ""} for url in urls]
    return {
        "status": "success",
        "message": "Image generated" if len(urls) == 1 else f"{len(urls)} images generated",
        "id": str(generation.pk),
        "images": urls,
        "metadata": metadata(generation),
        "comfy_response": {
            "prompt_id": str(generation.pk),
            "generated_images": generated,
            "all_images": generated,
        },
        "workflow": {},
        "run_id": None,
    }


def metadata(generation: Generation) -> dict[str, Any]:
    """The settings that were made, under their public names, and what was measured on the results."""
    settings = {name: value for name, value in generation.settings.items() if value is not None}
    return {
        **{PUBLIC_NAMES.get(name, name): value for name, value in settings.items()},
        **{f"work_{side}": settings[side] for side in ("width", "height") if side in settings},
        "width": generation.source.width,
        "height": generation.source.height,
        "engine": generation.engine,
        "engine_reason": generation.engine_reason,
        "requested": requested(generation),
        **{f"{name}_sha256": picture.sha256 for name, picture in generation.references.items()},
        "ignored": ignored(generation.ignored, settings),
        "warnings": [*generation.warnings, *notes_of(generation)],
        "seconds": generation.seconds,
        "nsfw_content_detected": nsfw_content_detected(generation),
        "results": [
            {
                "sha256": image.sha256,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
                "seam_score": image.seam_score,
                **UNEXAMINED,
                **image.report,
            }
            for image in generation.images.all()
        ],
    }


def requested(generation: Generation) -> dict[str, Any]:
    """The engine and settings as sent, under their public names, without defaults."""
    former = generation.requested_settings
    sent = {PUBLIC_NAMES.get(name, name): value for name, value in former.settings.items() if value is not None}
    return {**sent, "engine": former.engine}


def nsfw_content_detected(generation: Generation) -> list[bool] | None:
    """Of each result whether the safety checker found something; None where it has not looked."""
    found = [image.report.get("nsfw_content_detected") for image in generation.images.all()]
    return None if not found or None in found else found


def reference_url(generation: Generation, name: str) -> str | None:
    """Of a further picture, by its name in `InpaintRequest`; None where it has none."""
    if name not in generation.references:
        return None
    return reverse(f"generation-{name.replace('_', '-')}", args=[generation.pk])


def notes_of(generation: Generation) -> list[str]:
    """What ran otherwise than asked; several results mostly say the same."""
    return list(dict.fromkeys(note for image in generation.images.all() for note in image.report.get("notes", [])))


def ignored(names: Collection[str], settings: dict[str, Any]) -> list[str]:
    """Public names of the settings that were made, of those that the engine does not read."""
    made = {name for name, value in settings.items() if value not in (None, "", [], ())}
    return public_names(made.intersection(names))


def rendered_whole(generation: Generation) -> dict[str, Any]:
    """The generation as its owner sees it alone: also its place in line and what was made from it."""
    children = generation.children.order_by("created_at").values_list("pk", flat=True)
    return {**rendered(generation), **place(generation), "children": [str(pk) for pk in children]}


def rendered(generation: Generation) -> dict[str, Any]:
    """The generation as its owner sees it in a list."""
    return {
        "id": str(generation.pk),
        "status": generation.status,
        "engine": generation.engine,
        "prompt": generation.prompt,
        "created_at": generation.created_at,
        "started_at": generation.started_at,
        "finished_at": generation.finished_at,
        "seconds": generation.seconds,
        "progress": progress_event(generation),
        "source": reverse("generation-source", args=[generation.pk]),
        "mask": reverse("generation-mask", args=[generation.pk]),
        **{name: reference_url(generation, name) for name in REFERENCES},
        "images": [
            {
                "url": reverse("generation-image", args=[generation.pk, image.index]),
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
                "seam_score": image.seam_score,
                **{name: image.report.get(name) for name in UNEXAMINED},
            }
            for image in generation.images.all()
        ],
        "error": {"code": generation.error_code, "message": generation.error_message}
        if generation.error_code
        else None,
        "parent": str(generation.parent_id) if generation.parent_id else None,
        "metadata": metadata(generation),
    }
