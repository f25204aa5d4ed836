"""The in-memory channel layer, made safe for senders on other threads than the server's event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.layers import InMemoryChannelLayer


class ThreadSafeInMemoryChannelLayer(InMemoryChannelLayer):  # type: ignore[misc]  # channels ships no types
    """Runs `group_send` on the loop of the receivers.

    Channels' layer keeps messages in `asyncio.Queue`s, which only their own loop may touch; Celery's worker threads
    send from outside it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loop: asyncio.AbstractEventLoop | None = None

    async def new_channel(self, prefix: str = "specific.") -> str:
        self.loop = asyncio.get_running_loop()
        return str(await super().new_channel(prefix))

    def has_members(self, group: str) -> bool:
        """Return whether a channel of this process is in the group. May be called from any thread."""
        return bool(self.groups.get(group))

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.loop is None or self.loop is asyncio.get_running_loop() or self.loop.is_closed():
            await super().group_send(group, message)
        else:
            asyncio.run_coroutine_threadsafe(super().group_send(group, message), self.loop)
