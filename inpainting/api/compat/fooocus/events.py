"""The server-sent events of a request with `stream_output`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async

from inpainting.api.compat.base64_images import preview_as_png
from inpainting.api.compat.fooocus.tasks import output_links
from inpainting.generations.history import GenerationRemoved
from inpainting.models import Generation, Status
from inpainting.realtime.events import GenerationEvent
from inpainting.realtime.following import follow

PING = b": ping\r\n\r\n"
BEFORE_THE_END = 99
"""The highest progress of an event that is not the last one."""
MESSAGES = {Status.SUCCEEDED: "Finished", Status.CANCELLED: "Stopped"}
INTERRUPTED = "The server is restarting; the task continues afterwards, see /tasks."


Meta = Callable[[Generation], dict[str, Any]]


async def stream(pk: UUID, *, shows_previews: bool, meta: Meta) -> AsyncIterator[bytes]:
    """Yield the progress of a generation, and as the last event its results with the dialect's `meta`."""
    yield encode(0, "Waiting for the task to start")
    async for event in follow(pk):
        if event is None:
            yield PING
        elif event["type"] == "progress":
            message = f"Step {event['step']} of {event['of']}"
            yield encode(
                min(event["percent"], BEFORE_THE_END), message, preview=await png_preview(event, shows_previews)
            )
    yield await database_sync_to_async(last_event)(pk, meta)


async def png_preview(event: GenerationEvent, shows_previews: bool) -> str | None:
    """Return the preview of an event as a data URL."""
    if not shows_previews or "preview" not in event:
        return None
    return f"data:image/png;base64,{await sync_to_async(preview_as_png, thread_sensitive=False)(event['preview'])}"


def last_event(pk: UUID, meta: Meta) -> bytes:
    generation = Generation.objects.filter(pk=pk).first()
    if generation is None:  # deleted
        return encode(100, MESSAGES[Status.CANCELLED])
    if not generation.has_ended:
        return encode(0, INTERRUPTED)
    if generation.is_removed:
        return encode(100, GenerationRemoved(generation).message)
    message = MESSAGES.get(Status(generation.status), generation.error_message)
    images = output_links(generation) if generation.status == Status.SUCCEEDED else []
    return encode(100, message, images=images, meta=meta(generation))


def encode(
    progress: int,
    message: str,
    *,
    preview: str | None = None,
    images: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
) -> bytes:
    """Return one event in the service's form: its clients read the JSON after `data: ` and skip the second, empty line.

    meta: our own field beside those of the service.
    """
    content: dict[str, Any] = {"progress": progress, "preview": preview, "message": message, "images": list(images)}
    if meta is not None:
        content["meta"] = meta
    return f"data: {json.dumps(content)}\r\ndata: \r\n\r\n".encode()
