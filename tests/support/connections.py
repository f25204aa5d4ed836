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
from dreamlayer_site.server.senders import Sender


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
    """A connection of a client to a server. It is used in an event loop."""

    def __init__(self, limits: ConnectionLimits, *, address: str) -> None:
        self.transport = StringTransportWithDisconnection(peerAddress=IPv4Address("TCP", address, 50_000))
        self.transport.protocol = self.protocol = limits.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)

    async def send(self, data: bytes) -> None:
        """Let the data arrive, and let the server do what it does without waiting for anything else."""
        self.protocol.dataReceived(data)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

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
        factory.check_sender = self.check_sender
        self.limits = ConnectionLimits(factory)
        self.sender: Sender | Exception = Sender(known=True)
        """What the check of a sender finds."""
        self.checked: list[dict[str, Any]] = []
        """The scopes of the heads whose senders were checked."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

        self.opened: list[Connection] = []

    def connect(self, *, address: str = "203.0.113.1") -> Connection:
        self.opened.append(Connection(self.limits, address=address))
        return self.opened[-1]

    def close(self) -> None:
        for connection in self.opened:
            if connection.transport.connected:
                connection.transport.loseConnection()

    async def check_sender(self, scope: dict[str, Any]) -> Sender:
        self.checked.append(scope)
        await self.may_answer.wait()
        if isinstance(self.sender, Exception):
            raise self.sender
        return self.sender

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.server.requests]
