"""The channel layer over Redis (pub/sub), for web processes and workers that are separate.

Messages are best effort. Senders never wait for Redis and never fail with it: without it, clients learn what happens by
polling, and Redis is tried again each second. When it is back, who may have lost messages says so to all websockets,
which read the present states from the database: senders that dropped some, and receivers that were cut off.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer

from inpainting.realtime import events

logger = logging.getLogger(__name__)

MAX_UNSENT = 1000
"""Messages that wait for Redis in this process; later ones are dropped. A preview takes about 20 kB."""
SEND_SECONDS = 2.0
RETRY_SECONDS = 1.0
"""The pause before Redis is tried again."""
SUBSCRIBED_SECONDS = 1.0
"""How long after it has connected again a receiver has surely subscribed to its groups."""
WARNING_SECONDS = 30.0
"""The shortest interval between two warnings that Redis does not answer."""


class RedisChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # channels_redis ships no types
    """Sends to groups on one thread, in order and over one connection, whatever loop or thread the sender runs on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        hosts = [{**host, "redis_connect_func": self._on_connect} for host in kwargs.pop("hosts")]
        super().__init__(*args, hosts=hosts, **kwargs)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsent: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(MAX_UNSENT)
        self._warned_at = float("-inf")

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._enqueue(group, message)

    def _enqueue(self, group: str, message: dict[str, Any]) -> None:
        self._sending_loop().call_soon_threadsafe(self._put, group, message)

    async def _on_connect(self, connection: Any) -> None:
        """Called by redis-py for each new connection, on the loop that uses it."""
        await connection.on_connect()
        if self.groups:  # of this loop's receivers, which were connected before
            loop, lost = asyncio.get_running_loop(), events.lost()
            loop.call_later(SUBSCRIBED_SECONDS, self._enqueue, events.LOSS_GROUP, lost)

    def _put(self, group: str, message: dict[str, Any]) -> None:
        if not self._unsent.full():
            self._unsent.put_nowait((group, message))

    def _sending_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                target, arguments = self._loop.run_until_complete, (self._send_forever(),)
                threading.Thread(target=target, args=arguments, name="channel layer", daemon=True).start()
            return self._loop

    async def _send_forever(self) -> None:
        lost_since: float | None = None
        while True:
            try:
                if lost_since is not None:
                    await self._send(events.LOSS_GROUP, events.lost(seconds=time.monotonic() - lost_since))
                    lost_since = None
                await self._send(*await self._unsent.get())
            except Exception as error:
                lost_since = lost_since or time.monotonic()
                self._drop(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._get_layer().group_send(group, message)

    def _drop(self, error: Exception) -> None:
        """Drop the messages that wait as well: they are old when Redis answers again."""
        while not self._unsent.empty():
            self._unsent.get_nowait()
        if time.monotonic() - self._warned_at >= WARNING_SECONDS:
            self._warned_at = time.monotonic()
            logger.warning("The channel layer does not answer; clients poll. Messages are dropped: %r", error)
