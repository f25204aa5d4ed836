"""A Daphne server that finishes its responses before it stops."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from twisted.internet.defer import Deferred
from twisted.web.http import HTTPChannel

from inpainting.worker import watchdog

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
MAX_BACKLOG = 1024
"""Connections that wait in the backlog, at most."""
FLUSH_SECONDS = 0.2
"""How long the event loop runs on to write out the last responses."""
CANCEL_SECONDS = 0.5
"""How long cancelled applications may take to end."""


class StoppingServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Takes no more connections after SIGINT and SIGTERM, finishes the responses, and ends within `stop_seconds`.

    before_stop: called in a thread at once; it lets the responses that wait for a result end.
    """

    def __init__(self, *arguments: Any, before_stop: Callable[[], None], stop_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.before_stop = before_stop
        self.stop_seconds = stop_seconds
        self.ports: list[Any] = []

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)

    def kill_all_applications(self) -> Deferred[None]:
        """Called by Daphne before the event loop ends, which waits for the Deferred."""
        return Deferred.fromFuture(asyncio.ensure_future(self.finish()))

    async def finish(self) -> None:
        for port in self.ports:
            stop_accepting(port)
        try:
            async with asyncio.timeout(self.stop_seconds):
                await asyncio.to_thread(self.before_stop)
                await self.finish_requests()
                self.close_idle_connections()
                await asyncio.sleep(FLUSH_SECONDS)
                await self.finish_requests()
        except TimeoutError:
            logger.warning("Stopping with %d unfinished responses", len(self.applications(WebRequest)))
        except Exception:
            logger.exception("Stopping without waiting for the responses")
        remaining = self.applications(object)
        for application in remaining:
            application.cancel()
        if remaining:
            await asyncio.wait(remaining, timeout=CANCEL_SECONDS)

    async def finish_requests(self) -> None:
        """Wait for requests whose rest still arrives, and for responses."""
        while self.applications(WebRequest) or any(channel.requests for channel in self.open_channels()):
            await asyncio.sleep(POLL_SECONDS)

    def close_idle_connections(self) -> None:
        """A proxy that keeps one open would send a request on it that nobody reads."""
        for channel in self.open_channels():
            if not channel.requests:
                channel.loseConnection()

    def open_channels(self) -> list[Any]:
        """Return the channels of the connections that are no websockets, without those that were refused and linger."""
        wrappers = [wrapper for port in self.ports for wrapper in port.factory.protocols]
        channels = [wrapper.wrappedProtocol for wrapper in wrappers]
        return [
            channel
            for channel in channels
            if isinstance(channel, HTTPChannel) and not getattr(channel, "refused", False)
        ]

    def applications(self, protocol_class: type[Any]) -> list[asyncio.Future[None]]:
        """Return the running applications of HTTP requests (WebRequest), or of all connections (object)."""
        found = [
            details.get("application_instance")
            for protocol, details in self.connections.items()
            if isinstance(protocol, protocol_class)
        ]
        return [application for application in found if application is not None and not application.done()]

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Ask clients to close their connections while this server stops."""
        if watchdog.draining.is_set() and message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await super().handle_reply(protocol, message)


def stop_accepting(port: Any) -> None:
    """Accept the connections that wait, and refuse those that follow: the kernel would reset the former."""
    waiting = select.poll()
    waiting.register(port.socket, select.POLLIN)
    for _ in range(MAX_BACKLOG):
        if not waiting.poll(0):
            break
        port.doRead()
    with suppress(OSError):  # Not all systems allow it. The parent process holds the socket, too.
        port.socket.shutdown(socket.SHUT_RDWR)
    port.stopListening()
