"""What is told of a generation: typed messages, sent when the change is committed, to its listeners and its owner's."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer


class Preview(TypedDict):
    """The unfinished picture: a data URL of at most 256 pixels a side, of that part of the whole image.

    box: left, top, right, bottom, in pixels of the source image.
    """

    url: str
    box: list[int]


class Event(TypedDict):
    """position: 1 starts next. eta, seconds_left: seconds until it is painted. Each null where nobody can tell."""

    type: Literal["queued", "running", "progress", "succeeded", "failed", "cancelled"]
    position: NotRequired[int | None]
    eta: NotRequired[float | None]
    step: NotRequired[int]
    of: NotRequired[int]
    percent: NotRequired[int]
    seconds_left: NotRequired[float | None]
    preview: NotRequired[Preview]
    code: NotRequired[str]
    message: NotRequired[str]


def queued(position: int | None = None, eta: float | None = None) -> Event:
    return {"type": "queued", "position": position, "eta": eta}


def running() -> Event:
    return {"type": "running"}


def progress(step: int, of: int, *, seconds_left: float | None = None, preview: Preview | None = None) -> Event:
    event: Event = {
        "type": "progress",
        "step": step,
        "of": of,
        "percent": 100 * step // max(of, 1),
        "seconds_left": seconds_left,
    }
    if preview is not None:
        event["preview"] = preview
    return event


def succeeded() -> Event:
    return {"type": "succeeded"}


def failed(*, code: str, message: str) -> Event:
    return {"type": "failed", "code": code, "message": message}


def cancelled() -> Event:
    return {"type": "cancelled"}


def group_of(generation_id: UUID) -> str:
    return f"generation-{generation_id}"


def group_of_owner(owner_id: int) -> str:
    return f"owner-{owner_id}"


def publish(generation_id: UUID, owner_id: int, event: Event) -> None:
    """Tell whoever listens. A message is a hint: a page that missed it is right again after one API call."""
    message = {"type": "generation.event", "id": str(generation_id), "event": event}
    async_to_sync(_send)([group_of(generation_id), group_of_owner(owner_id)], message)


async def _send(groups: list[str], message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    for group in groups:
        await layer.group_send(group, message)
