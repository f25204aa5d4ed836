"""Connections to the serving process in memory, with a clock that the test moves on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection

from dreamlayer_site.server.connections import ConnectionLimits
from dreamlayer_site.server.daphne_server import LimitedFactory


class FakeServer:
    """Daphne's server, as its protocols use it. The test answers for the application."""

    proxy_forwarded_address_header = None
    root_path = ""
    request_buffer_size = 8192

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, Any], bytes]] = []
        """The scopes of the requests that were passed to the application, and their bodies."""

    def protocol_connected(self, protocol: Any) -> None: ...

    def protocol_disconnected(self, protocol: Any) -> None: ...

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None: ...

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[Any]:
        if scope["type"] == "http":
            with protocol.body:
                protocol.body.seek(0)
                self.requests.append((scope, protocol.body.read()))
        return asyncio.Queue()


class Connection:
    """A connection of a client to a server."""

    def __init__(self, limits: ConnectionLimits, *, address: str) -> None:
        self.transport = StringTransportWithDisconnection(peerAddress=IPv4Address("TCP", address, 50_000))
        self.transport.protocol = self.protocol = limits.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    @property
    def answer(self) -> bytes:
        return self.transport.value()

    @property
    def refusal(self) -> tuple[int, str]:
        """The status and the code of the error."""
        head, _, body = self.answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["code"]


class Connections:
    """A server and its connections."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.clock = Clock()
        factory = LimitedFactory(self.server)
        factory.reactor = self.clock
        self.limits = ConnectionLimits(factory)

        self.opened: list[Connection] = []

    def connect(self, *, address: str = "203.0.113.1") -> Connection:
        self.opened.append(Connection(self.limits, address=address))
        return self.opened[-1]

    def close(self) -> None:
        for connection in self.opened:
            if connection.transport.connected:
                connection.transport.loseConnection()

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.server.requests]
