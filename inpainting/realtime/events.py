"""What a page hears of a generation: typed messages, one group a generation, sent when the change is committed."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer


class Event(TypedDict):
    type: Literal["queued", "running", "progress", "succeeded", "failed", "cancelled"]
    step: NotRequired[int]
    of: NotRequired[int]
    percent: NotRequired[int]
    code: NotRequired[str]
    message: NotRequired[str]


def queued() -> Event:
    return {"type": "queued"}


def running() -> Event:
    return {"type": "running"}


def progress(step: int, of: int) -> Event:
    return {"type": "progress", "step": step, "of": of, "percent": 100 * step // max(of, 1)}


def succeeded() -> Event:
    return {"type": "succeeded"}


def failed(*, code: str, message: str) -> Event:
    return {"type": "failed", "code": code, "message": message}


def cancelled() -> Event:
    return {"type": "cancelled"}


def group_of(generation_id: UUID) -> str:
    return f"generation-{generation_id}"


def publish(generation_id: UUID, event: Event) -> None:
    """Tell whoever listens. A message is a hint: a page that missed it is right again after one API call."""
    send = async_to_sync(get_channel_layer().group_send)
    send(group_of(generation_id), {"type": "generation.event", "event": event})
