"""C9: from a change to who listens: the channel layer alone, and a server's sockets."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from typing import Any
from uuid import uuid4

from channels.layers import InMemoryChannelLayer
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.service.measuring import Report, timed
from benchmarks.service.sites import Site, encoded, scene
from inpainting.realtime.channel_layers import ThreadSafeInMemoryChannelLayer

LISTENERS = (1, 20, 40)
"""A user may have 50 sockets."""


def push(site: Site, report: Report) -> None:
    asyncio.run(fan_out(report))
    asyncio.run(to_sockets(site, report))


async def fan_out(report: Report) -> None:
    """One message to a group until the last of its channels has it."""
    for listeners in (1, 20, 100):
        layers = ThreadSafeInMemoryChannelLayer(), InMemoryChannelLayer()
        rooms = [await room(layer, listeners) for layer in layers]
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(20 * report.repeats):
            for layer, channels, taken in zip(layers, rooms, seconds, strict=True):
                started = time.perf_counter()
                await layer.group_send("all", {"type": "event", "id": uuid4().hex})
                await asyncio.gather(*(layer.receive(channel) for channel in channels))
                taken.append(time.perf_counter() - started)
        report.row("C9", f"a message to {listeners} channels", *seconds, "Channels' in-memory layer")


async def room(layer: Any, listeners: int) -> list[str]:
    channels = [await layer.new_channel() for _ in range(listeners)]
    for channel in channels:
        await layer.group_add("all", channel)
    return channels


async def to_sockets(site: Site, report: Report) -> None:
    """From sending a request to its `queued` on the last socket; beside the request's own answer."""
    photo, mask = scene(64)
    parts = encoded(photo, ".png"), encoded(255 - mask, ".png")
    for listeners in LISTENERS:
        sockets = [await opened(site) for _ in range(listeners)]
        heard, answered = [], []
        for number in range(report.repeats + 1):
            started = time.perf_counter()
            call = asyncio.create_task(asyncio.to_thread(timed, partial(site.fill, *parts, prefer="respond-async")))
            listening = [asyncio.create_task(until(socket, "queued")) for socket in sockets]
            await asyncio.wait_for(asyncio.gather(*listening), 60)
            seconds = time.perf_counter() - started
            own_answer = await call
            await asyncio.gather(*(until(socket, "succeeded") for socket in sockets))
            if number:
                heard.append(seconds)
                answered.append(own_answer)
        report.row("C9", f"a request to {listeners} sockets", heard, answered, "its own 202 answer")
        for socket in sockets:
            await socket.close()


async def opened(site: Site) -> ClientConnection:
    status, body = await asyncio.to_thread(site.ask, "POST", "/api/tickets/")
    assert status == 201, body
    return await connect(json.loads(body)["url"], compression=None, ping_interval=None, open_timeout=60, proxy=None)


async def until(socket: ClientConnection, kind: str) -> None:
    while json.loads(await socket.recv())["type"] != kind:
        pass
