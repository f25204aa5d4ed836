"""The content of results: a text with JSON, links to files, and small previews that an agent sees.

There is no `structuredContent`: several clients show an agent that alone, without the preview.
"""

from __future__ import annotations

from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from inpainting.api.compat.base64_images import base64_of
from inpainting.api.dialect import origin_of
from inpainting.api.media.links import dated_links, ending_key
from inpainting.core.codecs.formats import CONTENT_TYPES, FORMATS_BY_EXTENSION
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.media.files import ImageUnavailable
from inpainting.media.previews import thumbnail_of
from inpainting.models import GeneratedImage, Generation
from inpainting.models.images import reduced_webp
from inpainting.worker.run_time_estimates import queue_position

Content = dict[str, Any]


def text(values: Any) -> Content:
    return {"type": "text", "text": JSONRenderer().render(values).decode()}


def link(url: str, name: str) -> Content:
    content_type = CONTENT_TYPES[FORMATS_BY_EXTENSION[name.rpartition(".")[2]]]
    return {"type": "resource_link", "uri": url, "name": name, "mimeType": content_type}


def webp(data: bytes) -> Content:
    return {"type": "image", "data": base64_of(data), "mimeType": "image/webp"}


def mask_preview(mask: Mask) -> Content:
    return webp(reduced_webp(CanonicalImage.of_mask(mask), "thumbnail"))


def sides(size: Size) -> dict[str, int]:
    return {"width": size.width, "height": size.height}


def waiting(generation: Generation) -> list[Content]:
    """Return what is known of a generation that has not ended."""
    place = queue_position(generation)
    about = {
        "status": generation.status,
        "id": generation.pk,
        "position": place.position if place else None,
        "seconds_left": place.eta if place else None,
        "next": "Call the tool result with this id.",
    }
    return [text(about)]


def painted(generation: Generation, meta: dict[str, Any], request: Request) -> list[Content]:
    """Return the results of a generation that has succeeded. meta: of the dialect."""
    images = generation.images.all()
    links = dated_links(generation, origin=origin_of(request), key=ending_key(request))
    about = {
        "status": generation.status,
        "id": generation.pk,
        "images": list(links.values()),
        **sides(generation.result_size),
        "pixels_changed_outside_mask": max((image.outside_mask_changed_pixels for image in images), default=0),
        "engine_reason": generation.engine_reason,
        "seed": generation.settings.get("seed"),
        **meta,
        "seconds": generation.seconds,
    }
    previews = [shown for image in images for shown in preview(image)]
    return [text(about), *(link(url, name) for name, url in links.items()), *previews]


def preview(image: GeneratedImage) -> list[Content]:
    """Return the preview of a result; nothing where it cannot be made now, since the link is there."""
    try:
        with thumbnail_of(image).open("rb") as file:
            return [webp(file.read())]
    except (ImageUnavailable, FileNotFoundError):
        return []
