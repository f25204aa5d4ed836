"""Error bodies, links and times in the responses of ModelsLab's API."""

from __future__ import annotations

import math
from typing import Any

from inpainting.api.compat.base64_images import base64_of
from inpainting.api.errors import ApiError
from inpainting.api.media.links import result_link
from inpainting.models import GeneratedImage, Generation
from inpainting.worker.run_time_estimates import queue_position, remaining_seconds

UNKNOWN_ETA_SECONDS = 10
MESSAGES = {
    "key_missing": "API key required",
    "key_invalid": "Invalid API key",
    "key_revoked": "Invalid API key",
    "key_expired": "Invalid API key",
    "body_invalid": "Invalid API Request",
}
"""Error code -> the service's message for it."""


def error_body(error: ApiError) -> dict[str, Any]:
    """Return the body of an error; `messege` is the spelling of earlier versions, which clients are advised to read as
    well."""
    message = MESSAGES.get(error.code, error.message)
    field = error.field or ""
    if error.code == "field_missing":
        message = f"{field} is required"
    elif error.code.startswith("url_") and field != "webhook":
        message = "Unable to fetch image from provided URL"
    return {"status": "error", "message": message, "messege": message, "code": error.code}


def eta(generation: Generation) -> int:
    place = queue_position(generation)
    seconds = remaining_seconds(generation) if place is None else place.eta
    return UNKNOWN_ETA_SECONDS if seconds is None else max(1, math.ceil(seconds))


def links_of(generation: Generation) -> list[str]:
    """Return a link for each result, also before there is one."""
    data = generation.service_data
    names = [f"{index}-{generation.number:x}.png" for index in range(generation.settings["num_images"])]
    return [
        result_link("generations", name, generation, index, origin=data["origin"], key=data["ending_key"])
        for index, name in enumerate(names)
    ]


def inline_image(image: GeneratedImage) -> str:
    with image.file.open("rb") as file:
        return base64_of(file.read())


def yes_or_no(value: bool | None) -> str:
    return "yes" if value else "no"
