"""Result links and error bodies of Deep-Image's API."""

from __future__ import annotations

import re
from typing import Any

from inpainting.accounting.limits import RATE, WAITING, LimitReached
from inpainting.api.errors import ApiError
from inpainting.api.media.links import result_link
from inpainting.core.codecs.formats import EXTENSIONS, PNG
from inpainting.models import Generation

UNIDENTIFIED = re.compile("(image|mask)_(type_unsupported|damaged|base64_invalid)|image_empty")
"""The error codes of files that are no readable images."""


def result_url(generation: Generation, *, origin: str, key: int | None) -> str:
    """Return a link that needs no key and expires; clients take the file name from its end.

    key: see `ending_key`.
    """
    extension = EXTENSIONS[generation.settings.get("output_format", PNG)]
    folder = f"images/{generation.created_at:%Y-%m-%d}"
    return result_link(folder, f"{generation.pk}.{extension}", generation, origin=origin, key=key)


def error_body(error: ApiError) -> tuple[int, dict[str, Any]]:
    """Return status and body of an error, with the documented texts where there are any."""
    if error.generation_id is not None:
        return 500, {"message": error.message, "status": "failed", "job": str(error.generation_id)}
    if error.code == "key_missing":
        return 403, {"message": "No x-api-key header is provided"}
    if error.status == 401:
        return 404, {"message": "No user found for provided token"}
    if error.code == "source_missing":
        return 400, {"message": error.message}
    if isinstance(error.cause, LimitReached):
        return limit_body(error)
    code = "BAD_REQUEST" if error.status == 400 else error.code.upper()
    documented = ""
    if error.code.startswith("url_") and error.field in ("url", "ip_image2"):
        documented = "Make sure your source url/storage is correct."
    elif UNIDENTIFIED.fullmatch(error.code):
        documented = "Unidentified image"
    if documented:
        return error.status, {"message": documented, "code": code, "detail": error.message}
    return error.status, {"message": error.message, "code": code}


def limit_body(error: ApiError) -> tuple[int, dict[str, Any]]:
    """Return 429 for limits of a moment, 400 for those of a day and of storage."""
    if error.code == RATE or getattr(error.cause, "what", "") == WAITING:
        message = (
            f"Image cannot be processed right now. Your rate limit is {error.limit} and you are currently processing "
            f"{error.actual} images."
        )
        return 429, {"message": message, "code": "TOO_MANY_REQUESTS", "detail": error.message}
    message = "You dont have enough credits to perform those actions"
    return 400, {"message": message, "code": "NOT_ENOUGH_CREDITS", "detail": error.message}
