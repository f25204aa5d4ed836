"""A Daphne server that finishes its responses before it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from twisted.internet.defer import Deferred

from inpainting.worker import watchdog

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.2
"""How long the event loop runs on to write out the last responses."""
CANCEL_SECONDS = 0.5
"""How long cancelled applications may take to end."""


class StoppingServer(Server):  # type: ignore[misc]  # daphne ships no types
    """On SIGINT and SIGTERM it takes no more connections, finishes the responses, and ends within `stop_seconds`.

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
            port.stopListening()
        try:
            async with asyncio.timeout(self.stop_seconds):
                await asyncio.to_thread(self.before_stop)
                while responding := self.applications(WebRequest):
                    await asyncio.wait(responding)
                await asyncio.sleep(FLUSH_SECONDS)
        except TimeoutError:
            logger.warning("Stopping with %d unfinished responses", len(self.applications(WebRequest)))
        except Exception:
            logger.exception("Stopping without waiting for the responses")
        remaining = self.applications(object)
        for application in remaining:
            application.cancel()
        if remaining:
            await asyncio.wait(remaining, timeout=CANCEL_SECONDS)

    def applications(self, protocol_class: type[Any]) -> list[asyncio.Future[None]]:
        """The running applications of HTTP requests (WebRequest), or of all connections (object)."""
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
