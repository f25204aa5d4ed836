"""Daphne with a limit for request bodies that applies while they are received, and responses that wait for the client.

Daphne passes a request to the application only after it has received the whole body: too late for a limit inside the
application. It also reads the whole body into memory then, on the event loop's thread; here the application reads it.
Daphne accepts a response as fast as the application produces it, and keeps in memory what the client has not read yet.
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import IO, Any
from urllib.parse import unquote

from daphne import server as daphne_server
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from django.conf import settings

from dreamlayer_site.client_address import client_address
from dreamlayer_site.path_tokens import without_token
from dreamlayer_site.server.bodies import AddressFull, StoredBody
from dreamlayer_site.server.body_limit import Application, Message, Receive, Send, excess_error, max_body_bytes
from dreamlayer_site.server.connections import ConnectionLimits, LimitedChannel
from dreamlayer_site.server.refusals import too_many_uploads
from dreamlayer_site.server.senders import CheckSender, SenderCheck
from dreamlayer_site.server.sockets import LimitedSocketFactory
from dreamlayer_site.server.stopping import StoppingServer
from inpainting.api.errors import api_error

RECEIVED_BODY = "dreamlayer.received_body"
"""The key of the ASGI scope that holds the file of the body."""
CHUNK_BYTES = 2**20
OF_THE_BODY = (b"content-length", b"content-type", b"expect", b"transfer-encoding")
"""Headers that describe the body."""


class LimitedRequest(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """A request whose body is as large as its view reads at most, by its declared length and by the bytes received.

    As the producer of its response (Twisted's IPushProducer) it learns when the connection's buffer is full.
    """

    content: IO[bytes] | None
    is_large = False
    """Whether the body is written to the disk; its sender is checked before."""
    received = 0
    written = chunks = 0
    """Parts of the body that were written, and the chunks of a chunked body that those were."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Django parses forms. Twisted would parse them too, on the event loop's thread: 50 ms for an image of 2 MB.
        super().__init__(*arguments, **options, parsePOSTFormSubmission=False)
        self.writable = asyncio.Event()
        self.writable.set()

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        self.url_path = self.channel.path
        self.max_bytes = max_body_bytes(self.url_path, self.channel.header("content-type"))
        self.content = BytesIO()
        # Anybody may send a small body, which stays in memory.
        self.is_large = min(self.max_bytes, length or self.max_bytes) > settings.MAX_BODY_BYTES_WITHOUT_IMAGES
        if length is not None and length > self.max_bytes:
            self.channel.refuse(excess_error(self.url_path, self.max_bytes))

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.received += len(data)
        self.written += 1
        if self.channel.refused:
            return
        if self.received > self.max_bytes:
            self.channel.refuse(excess_error(self.url_path, self.max_bytes))
            return
        try:
            super().handleContentChunk(data)
        except AddressFull:
            self.channel.refuse(too_many_uploads())
        except OSError as error:
            self.channel.refuse(api_error(error))

    def process(self) -> Any:
        # The application reads this file; Daphne reads an empty one instead.
        self.body, self.content = self.content, BytesIO()
        if self.received:  # Django takes a body without a length, as one in chunks is sent, for none.
            self.requestHeaders.setRawHeaders(b"content-length", [str(self.received).encode()])
        self.registerProducer(self, True)
        return super().process()

    def requestReceived(self, *arguments: Any) -> None:  # noqa: N802 - Twisted's name
        if not self.channel.refused:
            super().requestReceived(*arguments)

    def head_scope(self) -> dict[str, Any]:
        """Return the scope of ASGI for the request without its body."""
        headers = self.requestHeaders.getAllRawHeaders()
        path, _, query = self.channel.uri.partition("?")
        scope = {
            "type": "http",
            "method": self.channel.method,
            "path": unquote(path),
            "query_string": query.encode("latin-1"),
            # Daphne drops names with underscores, too: Django would take them for those with hyphens.
            "headers": [
                (name.lower(), value)
                for name, values in headers
                if b"_" not in name and name.lower() not in OF_THE_BODY
                for value in values
            ],
            "client": [getattr(self.client, "host", ""), getattr(self.client, "port", 0)],
        }
        return without_token(scope)

    def store_body(self, *, known: bool) -> None:
        """Write what arrives of the body to the disk. Raises OSError where that cannot be written."""
        address = client_address(getattr(self.client, "host", ""), self.channel.header("x-forwarded-for"))
        self.content = StoredBody(address=address, known=known)

    def drop_body(self) -> None:
        if self.content is not None:
            self.content.close()

    def finish(self) -> None:
        self.unregisterProducer()
        super().finish()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.writable.set()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.writable.set()

    async def drain(self) -> None:
        """Wait until the client has taken what was written. A client that takes nothing for SEND_SECONDS is cut off."""
        try:
            async with asyncio.timeout(settings.SEND_SECONDS):
                await self.writable.wait()
        except TimeoutError:
            if self.channel is not None:
                self.channel.transport.abortConnection()


class ReceivedBodyMiddleware:
    """An ASGI middleware: passes the body of a LimitedRequest from its file, of which one chunk is in memory."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body: IO[bytes] | None = scope.pop(RECEIVED_BODY, None)
        if body is None:
            await self.application(scope, receive, send)
            return

        async def receive_body() -> Message:
            if body.closed:
                return await receive()
            is_in_memory = isinstance(body, BytesIO)
            chunk = body.read() if is_in_memory else await asyncio.to_thread(body.read, CHUNK_BYTES)
            if len(chunk) == CHUNK_BYTES and not is_in_memory:
                return {"type": "http.request", "body": chunk, "more_body": True}
            body.close()
            message = await receive()  # Daphne's, with an empty body, unless the client has disconnected
            return {**message, "body": chunk} if message["type"] == "http.request" else message

        with body:
            await self.application(scope, receive_body, send)


class LimitedFactory(HTTPFactory):  # type: ignore[misc]
    protocol = LimitedChannel

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.check_sender: CheckSender = SenderCheck()

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802 - Twisted's name
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = LimitedRequest
        return protocol


def limited_factory(server: Server) -> ConnectionLimits:
    return ConnectionLimits(LimitedFactory(server))


class LimitedServer(StoppingServer):
    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, LimitedRequest):
            scope[RECEIVED_BODY] = protocol.body
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Write a part of a response, and let the application wait until it can be sent."""
        if isinstance(protocol, LimitedRequest) and message.get("body"):
            # The last part too is taken by the client before the response ends and the connection is given up.
            await super().handle_reply(protocol, {**message, "more_body": True})
            await protocol.drain()
            if message.get("more_body"):
                return
            message = {**message, "body": b""}
        await super().handle_reply(protocol, message)

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        # Daphne has no other way to set the factories.
        daphne_server.HTTPFactory, daphne_server.WebSocketFactory = limited_factory, LimitedSocketFactory
        super().run()
