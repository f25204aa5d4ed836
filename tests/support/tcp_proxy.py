"""A TCP proxy in front of a server, for faults of the network between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from tests.support.ports import free_port

State = Literal["open", "cut", "stalled"]
POLL_SECONDS = 0.05


class TcpProxy:
    """open: forwards. cut: has closed all connections, and refuses new ones. stalled: accepts, and forwards nothing."""

    def __init__(self, url: str) -> None:
        """url: of the server."""
        parts = urlsplit(url)
        self.target = parts.hostname, parts.port
        self.port = free_port()
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{self.port}")))
        self.state: State = "open"
        self.writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server: asyncio.Server = self.on_loop(self.listen())

    def on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def set(self, state: State) -> None:
        self.on_loop(self._set(state))

    async def _set(self, state: State) -> None:
        was_cut, self.state = self.state == "cut", state
        if state == "cut":
            self.server.close()
            for writer in list(self.writers):
                writer.transport.abort()
        elif was_cut:
            self.server = await self.listen()

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self.connect, "127.0.0.1", self.port)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            self.writers |= {writer, far_writer}
            await asyncio.gather(self.forward(reader, far_writer), self.forward(far_reader, writer))
        writer.close()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                while self.state == "stalled":
                    await asyncio.sleep(POLL_SECONDS)
                writer.write(data)
                await writer.drain()
        self.writers.discard(writer)
        writer.close()

    async def end(self) -> None:
        await self._set("cut")
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def tcp_proxy(url: str) -> Iterator[TcpProxy]:
    proxy = TcpProxy(url)
    try:
        yield proxy
    finally:
        proxy.on_loop(proxy.end())
        proxy.loop.call_soon_threadsafe(proxy.loop.stop)
        proxy.thread.join()
        proxy.loop.close()
