"""Daphne with a limit for request bodies that applies while they are received.

Daphne passes a request to the application only after it has received the whole body, to disk and then to memory: too
late for a limit inside the application.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daphne import server as daphne_server
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server, reactor
from django.conf import settings

from dreamlayer_site.body_limit import too_large_response

LINGER_SECONDS = 10
"""How long a refused client may continue to send. The data is dropped; closing at once could lose the response."""


class LimitedRequest(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """A request whose body is at most MAX_BODY_BYTES, by its declared length and by the bytes received."""

    received = 0
    refused = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Django parses forms. Twisted would parse them too, on the event loop's thread: 50 ms for an image of 2 MB.
        super().__init__(*arguments, **options, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        super().gotLength(min(length or 0, settings.MAX_BODY_BYTES))
        if length is not None and length > settings.MAX_BODY_BYTES:
            self.refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.received += len(data)
        if not self.refused and self.received > settings.MAX_BODY_BYTES:
            self.refuse()
        if not self.refused:
            super().handleContentChunk(data)

    def requestReceived(self, *arguments: Any) -> None:  # noqa: N802 - Twisted's name
        if not self.refused:
            super().requestReceived(*arguments)

    def refuse(self) -> None:
        self.refused = True
        self.content.truncate(0)
        path = self.channel._path.decode("latin-1").partition("?")[0]  # Twisted sets `self.path` after the body.
        origin = self.requestHeaders.getRawHeaders("origin", [""])[0]
        response = too_large_response(path, settings.MAX_BODY_BYTES, origin=origin)
        head = "".join(f"{name}: {value}\r\n" for name, value in response.items())
        status = f"HTTP/1.1 {response.status_code} {response.reason_phrase}"
        self.channel.transport.write(f"{status}\r\n{head}\r\n".encode() + response.content)
        reactor.callLater(LINGER_SECONDS, self.cut_off)

    def cut_off(self) -> None:
        if self.channel is not None and self.channel.transport is not None:
            self.channel.transport.loseConnection()


class LimitedFactory(HTTPFactory):  # type: ignore[misc]
    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = LimitedRequest
        return protocol


class LimitedServer(Server):  # type: ignore[misc]
    def run(self, *, before_stop: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM, then call `before_stop`, close the connections and return."""
        reactor.addSystemEventTrigger("before", "shutdown", before_stop)
        daphne_server.HTTPFactory = LimitedFactory  # Daphne has no other way to set the factory
        super().run()
