"""Images, errors and server-sent events in the responses of OpenAI's image API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from PIL import Image
from rest_framework.request import Request

from inpainting.api.compat.base64_images import base64_of, preview_image
from inpainting.api.compat.openai.translation import NAME
from inpainting.api.dialect import origin_of
from inpainting.api.errors import NOT_FOUND, STOPPING, ApiError, ending_error
from inpainting.api.media.links import dated_links, ending_key
from inpainting.core.codecs import to_rgb8
from inpainting.media.results import result_bytes
from inpainting.models import Generation, Status
from inpainting.realtime.events import StepPreview
from inpainting.realtime.following import follow

PING = b": ping\n\n"
NO_USAGE = {
    **dict.fromkeys(("total_tokens", "input_tokens", "output_tokens"), 0),
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}
"""Nothing is charged here, so no tokens are counted."""
CODES: dict[str, str | None] = {
    **dict.fromkeys(("key_missing", "not_found"), None),
    **dict.fromkeys(("key_invalid", "key_revoked", "key_expired"), "invalid_api_key"),
    "field_missing": "missing_required_parameter",
    **dict.fromkeys(("field_invalid", "field_out_of_range"), "invalid_value"),
    "rate_limited": "rate_limit_exceeded",
    "quota_exceeded": "insufficient_quota",
    "method_not_allowed": "method_not_supported",
    "body_type_unsupported": "unsupported_content_type",
}
"""Code of an error -> the service's code for it. Others stay as they are."""
TYPES = {429: "rate_limit_error", 403: "permission_error"}


def error_body(error: ApiError) -> dict[str, Any]:
    kind = "server_error" if error.status >= 500 else TYPES.get(error.status, "invalid_request_error")
    if error.code == "quota_exceeded":
        kind = "insufficient_quota"
    code = CODES.get(error.code, error.code)
    return {"error": {"message": error.message, "type": kind, "param": error.field, "code": code}}


def description(generation: Generation) -> dict[str, Any]:
    """Return what a response and each of the events say about the images."""
    return {
        **{name: generation.service_data[name] for name in ("background", "quality")},
        "output_format": generation.settings["output_format"],
        "size": str(generation.result_size),
    }


def image_bodies(generation: Generation, request: Request) -> list[dict[str, str]]:
    """Return each result as base64, or as a link that needs no key and expires."""
    if generation.service_data["is_inline"]:
        return [{"b64_json": base64_of(result_bytes(image))} for image in generation.images.all()]
    links = dated_links(generation, origin=origin_of(request), key=ending_key(request))
    return [{"url": url} for url in links.values()]


async def stream(generation: Generation) -> AsyncIterator[bytes]:
    """Yield as many unfinished images as were requested, spread over the steps, then each result or an error."""
    wanted, sent = generation.service_data["previews"], 0
    async for event in follow(generation.pk):
        if event is None:
            yield PING
        elif "preview" in event and sent < wanted and event["percent"] * (wanted + 1) >= 100 * (sent + 1):
            yield await database_sync_to_async(partial_image)(generation.pk, event["preview"], sent)
            sent += 1
    for last in await database_sync_to_async(last_events)(generation.pk):
        yield last


def partial_image(pk: UUID, preview: StepPreview, index: int) -> bytes:
    """Return the event with the source image, in which the preview takes the place of what it shows.

    Nothing is shown of a generation that was deleted meanwhile: the last event says so.
    """
    generation, shown = Generation.objects.filter(pk=pk).first(), BytesIO()
    if generation is None:
        return PING
    image = Image.fromarray(to_rgb8(generation.source.read()))
    left, top, right, bottom = preview["box"]
    image.paste(preview_image(preview).convert("RGB").resize((right - left, bottom - top)), (left, top))
    image.save(shown, generation.settings["output_format"])
    body = {"b64_json": base64_of(shown.getvalue()), "partial_image_index": index}
    return image_event(generation, "partial_image", body)


def last_events(pk: UUID) -> list[bytes]:
    generation = Generation.objects.filter(pk=pk, service=NAME).first()
    if generation is None or generation.is_removed:
        return [encode("error", error_body(NOT_FOUND))]
    if generation.status != Status.SUCCEEDED:
        return [encode("error", error_body(ending_error(generation) if generation.has_ended else STOPPING))]
    images = [base64_of(result_bytes(image)) for image in generation.images.all()]
    return [image_event(generation, "completed", {"b64_json": image, "usage": NO_USAGE}) for image in images]


def image_event(generation: Generation, what: str, body: dict[str, Any]) -> bytes:
    name = f"{'image_edit' if generation.service_data['is_edit'] else 'image_generation'}.{what}"
    created_at = int(generation.created_at.timestamp())
    return encode(name, {"type": name, "created_at": created_at, **description(generation), **body})


def encode(name: str, body: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(body)}\n\n".encode()
