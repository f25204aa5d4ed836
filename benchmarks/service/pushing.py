"""C9: latency of events: through the channel layer alone, and to the sockets of a server."""

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

SOCKET_COUNTS = (1, 20, 40)
"""A user may have 50 sockets."""


def push(site: Site, report: Report) -> None:
    asyncio.run(fan_out(report))
    asyncio.run(to_sockets(site, report))


async def fan_out(report: Report) -> None:
    """One message to a group until the last of its channels has it."""
    for count in (1, 20, 100):
        layers = ThreadSafeInMemoryChannelLayer(), InMemoryChannelLayer()
        groups = [await group_of_channels(layer, count) for layer in layers]
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(20 * report.repeats):
            for layer, channels, taken in zip(layers, groups, seconds, strict=True):
                started = time.perf_counter()
                await layer.group_send("all", {"type": "event", "id": uuid4().hex})
                await asyncio.gather(*(layer.receive(channel) for channel in channels))
                taken.append(time.perf_counter() - started)
        report.row("C9", f"a message to {count} channels", *seconds, "Channels' in-memory layer")


async def group_of_channels(layer: Any, count: int) -> list[str]:
    channels = [await layer.new_channel() for _ in range(count)]
    for channel in channels:
        await layer.group_add("all", channel)
    return channels


async def to_sockets(site: Site, report: Report) -> None:
    """Time from sending a request to its `queued` event on the last socket, compared with the request's response."""
    photo, mask = scene(64)
    parts = encoded(photo, ".png"), encoded(255 - mask, ".png")
    for count in SOCKET_COUNTS:
        sockets = [await opened(site) for _ in range(count)]
        received, answered = [], []
        for number in range(report.repeats + 1):
            started = time.perf_counter()
            call = asyncio.create_task(asyncio.to_thread(timed, partial(site.fill, *parts, prefer="respond-async")))
            receiving = [asyncio.create_task(until(socket, "queued")) for socket in sockets]
            await asyncio.wait_for(asyncio.gather(*receiving), 60)
            seconds = time.perf_counter() - started
            own_answer = await call
            await asyncio.gather(*(until(socket, "succeeded") for socket in sockets))
            if number:
                received.append(seconds)
                answered.append(own_answer)
        report.row("C9", f"a request to {count} sockets", received, answered, "its own 202 answer")
        for socket in sockets:
            await socket.close()


async def opened(site: Site) -> ClientConnection:
    status, body = await asyncio.to_thread(site.ask, "POST", "/api/tickets/")
    assert status == 201, body
    return await connect(json.loads(body)["url"], compression=None, ping_interval=None, open_timeout=60, proxy=None)


async def until(socket: ClientConnection, kind: str) -> None:
    while json.loads(await socket.recv())["type"] != kind:
        pass
