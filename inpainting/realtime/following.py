"""The events of one generation as an async iterator, for responses that stream its progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer

from inpainting.realtime import events
from inpainting.worker.waiters import wait_until_ended

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
"""Proxies close connections on which nothing is sent for a minute or less."""


async def follow(
    pk: UUID, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> AsyncIterator[events.GenerationEvent | None]:
    """Yield the events until the generation has ended, was deleted, or this process stops; the last one is not among
    them. None after each `heartbeat_seconds` without an event.

    At most as many events are kept for a slow reader as the channel layer's capacity; later ones are dropped. There are
    none if the channel layer does not answer.
    """
    layer, group = get_channel_layer(), events.generation_group(pk)
    channel = await subscribe(layer, group)
    ended = asyncio.ensure_future(wait_until_ended(pk))
    received: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    if channel is not None:
        received = asyncio.ensure_future(layer.receive(channel))
    try:
        while not ended.done():
            waiting: set[asyncio.Future[Any]] = {ended, received}
            await asyncio.wait(waiting, timeout=heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                break
            if not received.done():
                yield None
                continue
            event, received = received.result()["event"], asyncio.ensure_future(layer.receive(channel))
            yield event
        ended.result()  # raises what ended the wait
    finally:
        ended.cancel()
        received.cancel()
        if channel is not None:
            await layer.group_discard(group, channel)


async def subscribe(layer: Any, group: str) -> str | None:
    """Return a new channel in the group; None if the channel layer does not answer."""
    try:
        channel = str(await layer.new_channel())
        await layer.group_add(group, channel)
    except Exception:  # Each layer raises errors of its own.
        logger.warning("The channel layer does not answer; the events of a response are left out", exc_info=True)
        return None
    return channel
