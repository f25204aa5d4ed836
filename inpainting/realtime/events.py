"""Typed events of a generation, sent on commit to the channel groups of the generation and of its owner."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from inpainting.realtime.channel_layers import ThreadSafeInMemoryChannelLayer

MAX_PREVIEWS = 64
"""Running generations whose last preview is kept in this process, at about 20 kB each."""


class StepPreview(TypedDict):
    """A preview of the unfinished image."""

    url: str  # a data URL of at most 256x256 pixels
    box: list[int]  # the part of the source image that it shows: left, top, right, bottom in pixels


class Loading(TypedDict):
    """The model that a running generation waits for."""

    model: str  # its name for people
    bytes: int  # of its weights


class GenerationEvent(TypedDict):
    """A change of a generation, as it is sent to clients."""

    type: Literal["queued", "running", "progress", "succeeded", "failed", "cancelled"]
    position: NotRequired[int | None]  # 1 starts next
    # `eta`, `seconds_left`: seconds until the generation ends. Null without an estimate.
    eta: NotRequired[float | None]
    position_is_minimum: NotRequired[bool]
    step: NotRequired[int]
    of: NotRequired[int]
    percent: NotRequired[int]
    seconds_left: NotRequired[float | None]
    preview: NotRequired[StepPreview]
    loading: NotRequired[Loading]
    code: NotRequired[str]
    message: NotRequired[str]


def queued(position: int | None = None, eta: float | None = None, *, is_minimum: bool = False) -> GenerationEvent:
    event: GenerationEvent = {"type": "queued", "position": position, "eta": eta}
    return {**event, "position_is_minimum": True} if is_minimum else event


def loading(model: str, byte_count: int) -> Loading:
    return {"model": model, "bytes": byte_count}


def running(loading: Loading | None = None) -> GenerationEvent:
    return {"type": "running"} if loading is None else {"type": "running", "loading": loading}


def progress(
    step: int, of: int, *, seconds_left: float | None = None, preview: StepPreview | None = None
) -> GenerationEvent:
    event: GenerationEvent = {
        "type": "progress",
        "step": step,
        "of": of,
        "percent": 100 * step // max(of, 1),
        "seconds_left": seconds_left,
    }
    if preview is not None:
        event["preview"] = preview
    return event


def succeeded() -> GenerationEvent:
    return {"type": "succeeded"}


def failed(*, code: str, message: str) -> GenerationEvent:
    return {"type": "failed", "code": code, "message": message}


def cancelled() -> GenerationEvent:
    return {"type": "cancelled"}


LOSS_GROUP = "events-lost"
"""The channel group of all websockets, to which a process sends that messages were lost."""


def lost(*, seconds: float = 0) -> dict[str, Any]:
    """Return the message that messages were lost. seconds: for how long its sender knows that."""
    return {"type": "events.lost", "seconds": seconds}


def generation_group(generation_id: UUID) -> str:
    return f"generation-{generation_id}"


def owner_group(owner_id: int) -> str:
    return f"owner-{owner_id}"


def publish(generation_id: UUID, owner_id: int, event: GenerationEvent) -> None:
    """Send the event to all connected clients. Best effort: a client that missed one reads the state from the API."""
    _keep_preview(generation_id, event)
    groups = [generation_group(generation_id), owner_group(owner_id)]
    layer = get_channel_layer()
    if isinstance(layer, ThreadSafeInMemoryChannelLayer):  # the others do not know who listens
        groups = [group for group in groups if layer.has_members(group)]
    if groups:
        async_to_sync(_send)(groups, {"type": "generation.event", "id": str(generation_id), "event": event})


_previews: OrderedDict[UUID, StepPreview] = OrderedDict()
_keeping = threading.Lock()


def last_preview(generation_id: UUID) -> StepPreview | None:
    """Return the preview that this process sent last for a running generation; None if it sent none."""
    return _previews.get(generation_id)


def _keep_preview(generation_id: UUID, event: GenerationEvent) -> None:
    with _keeping:
        if event["type"] != "progress":
            _previews.pop(generation_id, None)
        elif "preview" in event:
            _previews[generation_id] = event["preview"]
            _previews.move_to_end(generation_id)
            if len(_previews) > MAX_PREVIEWS:
                _previews.popitem(last=False)


async def _send(groups: list[str], message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    for group in groups:
        await layer.group_send(group, message)
