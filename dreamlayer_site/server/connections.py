"""Limits of connections: how many are open at the same time, and how long a request takes to arrive."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.http import HttpResponse
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import HTTPChannel

from dreamlayer_site.client_address import client_address
from dreamlayer_site.path_tokens import split_token
from dreamlayer_site.server.refusals import (
    body_too_slow,
    closing,
    head_too_slow,
    refusal,
    server_full,
    too_many_chunks,
    too_many_connections,
)
from inpainting.api.errors import SERVER_ERROR, ApiError, Busy, api_error

logger = logging.getLogger(__name__)

HEALTH_CHECK = "/livez"
RESERVED_CONNECTIONS, RESERVED_SECONDS = 128, 2
"""Connections beyond the limits, for health checks, and how long each may take to send its request."""
OTHER_FILES = 256
"""Files that are left for everything but connections: database, images, outgoing requests."""
MAX_CHUNKS, MIN_CHUNK_BYTES = 1000, 256
"""How many chunks a chunked body may have at least, and how large they are on average in a body that has more."""
DECODED_BYTES = 16 * 1024
"""A part of a chunked body, after which its chunks are counted. Each costs the event loop about 2 us."""
CHECK_SECONDS = 30
"""How long it may take to find out who sends a request, where the database does not answer, before it gets 503."""
LINGER_SECONDS, STRANGER_LINGER_SECONDS = 10, 2
"""How long a refused client may continue to send, and one who is not known. The data is dropped; closing at once could
lose the response."""


class LimitedChannel(HTTPChannel):  # type: ignore[misc]  # twisted is not checked
    """Reads the requests of a connection, each within its time. Its transport is a LimitedConnection."""

    refused = False
    expects_continue = False
    """Whether the client waits for a response of status 100 before it sends the body."""
    _abortingCall: Any = None  # noqa: N815 - Twisted's name
    _too_late: Any = None
    """The call that ends a request that takes too long to arrive."""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        super().connectionMade()
        self._expect_head(RESERVED_SECONDS if self.transport.problem else settings.REQUEST_HEAD_SECONDS)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.refused:
            return
        if self._too_late is None and not self._handlingRequest and not self.paused:
            self._expect_head(settings.REQUEST_HEAD_SECONDS)
        super().dataReceived(data)

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Decode a chunked body part by part, and refuse one of too many chunks."""
        if self.refused:
            return
        if self._handlingRequest or self.length is not None:
            super().rawDataReceived(data)
            return
        request = self.requests[-1]
        written = request.written
        # Twisted decodes all that it is given. LineReceiver passes on the rest afterwards.
        super().rawDataReceived(data[:DECODED_BYTES])
        if not self.transport.disconnecting:
            self._buffer += data[DECODED_BYTES:]
        request.chunks += max(0, request.written - written - 1)  # One may have begun earlier, or end later.
        if self.length is None and request.chunks > MAX_CHUNKS + request.received / MIN_CHUNK_BYTES:
            self.refuse(too_many_chunks(MIN_CHUNK_BYTES))

    def allHeadersReceived(self) -> None:  # noqa: N802 - Twisted's name
        self._expect_nothing()
        problem = self.transport.problem_of(self.path, self.header("x-forwarded-for"))
        super().allHeadersReceived()
        if self.transport.problem:  # a health check on a reserved connection
            self.persistent = False
        if self.refused:
            return
        if problem is not None:
            self.refuse(problem)
        elif self.length != 0:
            if self.requests[-1].is_large:
                self._check_sender()
            else:
                self._expect_body()

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        self._expect_nothing()
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:  # noqa: N802 - Twisted's name
        self.transport.request_done()
        has_next_request = bool(self._dataBuffer)
        super().requestDone(request)
        if has_next_request and self._too_late is None and not self._handlingRequest and not self.paused:
            self._expect_head(settings.REQUEST_HEAD_SECONDS)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        super().resumeProducing()
        if self.paused:  # The client has read an earlier response while the sender of the next request is checked.
            self._networkProducer.pauseProducing()

    def _send100Continue(self) -> None:  # noqa: N802 - Twisted's name
        self.expects_continue = True

    def timeoutConnection(self) -> None:  # noqa: N802 - Twisted's name
        if self.requests and not self.refused:
            self.refuse(body_too_slow())
        else:
            super().timeoutConnection()

    def loseConnection(self) -> Any:  # noqa: N802 - Twisted's name
        if self._abortingCall is None:  # The client may never read the rest of the response.
            self._abortingCall = self.callLater(settings.SEND_SECONDS, self.forceAbortClient)
        return super().loseConnection()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        self._expect_nothing()
        super().connectionLost(reason)

    @property
    def path(self) -> str:
        """The decoded path of the request that arrives, without a token; empty before its first line has arrived."""
        return split_token(unquote(self.uri.partition("?")[0]))[1]

    @property
    def uri(self) -> str:
        """The path and the query of the request that arrives."""
        return getattr(self, "_path", b"").decode("latin-1")

    @property
    def method(self) -> str:
        return getattr(self, "_command", b"").decode("latin-1")

    def header(self, name: str) -> str:
        values: list[str] = self.requests[-1].requestHeaders.getRawHeaders(name, [""]) if self.requests else [""]
        return values[-1]

    def refuse(self, error: ApiError) -> None:
        """Send the error and read nothing more."""
        self._refuse(refusal(error, self.path, origin=self.header("origin")), linger_seconds=LINGER_SECONDS)

    def _refuse(self, response: HttpResponse, *, linger_seconds: float) -> None:
        self.refused = True
        self._expect_nothing()
        if self.requests:
            self.requests[-1].drop_body()
        self._read_on()
        head = "".join(f"{name}: {value}\r\n" for name, value in response.items())
        status = f"HTTP/1.1 {response.status_code} {response.reason_phrase}"
        self.transport.write(f"{status}\r\n{head}\r\n".encode() + response.content)
        self.callLater(linger_seconds, self.transport.loseConnection)

    def _check_sender(self) -> None:
        """Read nothing of a large body until it is known who sends it."""
        self.paused = True
        self._networkProducer.pauseProducing()
        self._checking = asyncio.ensure_future(self._receive_from_known(self.requests[-1]))

    async def _receive_from_known(self, request: Any) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                sender = await self.factory.check_sender(request.head_scope())
            if request.channel is None:  # The client has disconnected.
                return
            if sender.refusal is not None:
                response = closing(sender.refusal, origin=self.header("origin"))
                self._refuse(response, linger_seconds=STRANGER_LINGER_SECONDS)
                return
            request.store_body(known=sender.known)
        except TimeoutError:
            self.refuse(api_error(Busy()))
        except OSError as error:
            self.refuse(api_error(error))
        except Exception:
            logger.exception("The sender of a request could not be checked")
            self.refuse(SERVER_ERROR)
        else:
            self._expect_body()
            self._read_on()

    def _read_on(self) -> None:
        if self.paused:
            self.paused = False
            self._networkProducer.resumeProducing()
            self.dataReceived(b"")  # what has arrived with the head

    def _expect_head(self, seconds: float) -> None:
        self._too_late = self.callLater(seconds, self._end_slow_head)

    def _end_slow_head(self) -> None:
        self._too_late = None
        if self.requests or self._buffer:
            self.refuse(head_too_slow())
        else:  # Browsers open connections that they do not use.
            self.loseConnection()

    def _expect_body(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            super()._send100Continue()
        self._body_started = self.factory.reactor.seconds()
        self._too_late = self.callLater(settings.REQUEST_BODY_SECONDS, self._end_slow_body)

    def _end_slow_body(self) -> None:
        """Refuse a body that is slower than the required average, or look again when it would be."""
        self._too_late = None
        allowed = settings.REQUEST_BODY_SECONDS + self.requests[-1].received / settings.REQUEST_BODY_BYTES_PER_SECOND
        left = self._body_started + allowed - self.factory.reactor.seconds()
        if left <= 0:
            self.refuse(body_too_slow())
        else:
            self._too_late = self.callLater(left, self._end_slow_body)

    def _expect_nothing(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None


class LimitedConnection(ProtocolWrapper):  # type: ignore[misc]
    """An open connection. It outlives its LimitedChannel when it becomes a websocket."""

    problem: ApiError | None = None
    """Why the connection is beyond a limit and serves health checks alone."""
    address: str | None = None
    """The address for which the connection is counted now."""

    def problem_of(self, path: str, forwarded_for: str) -> ApiError | None:
        """Return why a request is refused, or None. Behind a proxy, its client is known only now."""
        if path == HEALTH_CHECK:
            return None
        if self.problem is None and settings.BEHIND_TLS and self.address is None:
            return self.factory.count(self, client_address(self.getPeer().host, forwarded_for))
        return self.problem

    def request_done(self) -> None:
        """Forget the client: behind a proxy, the next request may be of another one."""
        if settings.BEHIND_TLS:
            self.factory.discount(self)


class ConnectionLimits(WrappingFactory):  # type: ignore[misc]
    """Counts connections: all of them, and those of each address; behind a proxy, those that handle its requests."""

    protocol = LimitedConnection

    def __init__(self, factory: Any) -> None:
        super().__init__(factory)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.limit = settings.CONNECTIONS
        if files != resource.RLIM_INFINITY:
            self.limit = max(1, min(self.limit, files - OTHER_FILES))
        self.limit_per_address = max(1, min(settings.CONNECTIONS_PER_ADDRESS, self.limit // 2))
        self.per_address: Counter[str] = Counter()
        self.reserved: dict[LimitedConnection, None] = {}

    def registerProtocol(self, p: Any) -> None:  # noqa: N802 - Twisted's name
        super().registerProtocol(p)
        if len(self.protocols) > self.limit:
            p.problem = server_full()
        elif not settings.BEHIND_TLS:
            p.problem = self.count(p, client_address(p.getPeer().host, ""))
        if p.problem is not None:
            self.reserve(p)

    def unregisterProtocol(self, p: Any) -> None:  # noqa: N802 - Twisted's name
        super().unregisterProtocol(p)
        self.discount(p)
        self.reserved.pop(p, None)

    def reserve(self, connection: LimitedConnection) -> None:
        """Keep a connection beyond the limits for a moment; where too many are, close the oldest of them."""
        if len(self.reserved) >= RESERVED_CONNECTIONS:
            oldest = next(iter(self.reserved))
            del self.reserved[oldest]
            oldest.abortConnection()
        self.reserved[connection] = None

    def count(self, connection: LimitedConnection, address: str) -> ApiError | None:
        if self.per_address[address] >= self.limit_per_address:
            return too_many_connections(self.limit_per_address)
        self.per_address[address] += 1
        connection.address = address
        return None

    def discount(self, connection: LimitedConnection) -> None:
        if connection.address is None:
            return
        self.per_address[connection.address] -= 1
        if not self.per_address[connection.address]:
            del self.per_address[connection.address]
        connection.address = None
