"""A generation -> what the native API says of it."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from rest_framework.request import Request

from inpainting.api.media.links import public_image_url
from inpainting.generations.description import NOT_EXAMINED, input_url, metadata
from inpainting.models import Generation
from inpainting.models.generation import REFERENCES
from inpainting.realtime.current_event import progress_event
from inpainting.worker.run_time_estimates import place_in_line


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
        **{name: input_url(generation, name) for name in REFERENCES},
        "images": [
            {
                "url": reverse("generation-image", args=[generation.pk, image.index]),
                "width": image.width,
                "height": image.height,
                "sha256": image.sha256,
                "outside_mask_changed_pixels": image.outside_mask_changed_pixels,
                "seam_score": image.seam_score,
                **{name: image.report.get(name) for name in NOT_EXAMINED},
            }
            for image in generation.images.all()
        ],
        "error": {"code": generation.error_code, "message": generation.error_message}
        if generation.error_code
        else None,
        "parent": str(generation.parent_id) if generation.parent_id else None,
        "metadata": metadata(generation),
    }
