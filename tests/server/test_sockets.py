"""Websockets: how much a client may send."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection

from dreamlayer_site.server.sockets import BURST_BYTES, BYTES_PER_SECOND, MAX_MESSAGE_BYTES, LimitedSocketFactory
from tests.support.connections import FakeServer

HEAD = (
    b"GET /ws/generations/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
CONTINUATION, BINARY, CLOSE, PING = 0, 2, 8, 9


def frame(payload: bytes, opcode: int = BINARY, *, final: bool = True) -> bytes:
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0xFE, size)
    return bytes([0x80 * final | opcode]) + length + bytes(4) + payload  # masked with zeros


class Socket:
    """A websocket in memory, and what its client sends and receives."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.transport = StringTransportWithDisconnection()
        self.protocol = LimitedSocketFactory(FakeServer(), reactor=self.clock).buildProtocol(None)
        self.transport.protocol = self.protocol
        self.transport.registerProducer(self, True)  # as Twisted's HTTP channel does
        self.protocol._raw_query_string = b""
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(HEAD)

    def accept(self) -> None:
        self.protocol.serverAccept()
        self.transport.clear()

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    @property
    def close_code(self) -> int | None:
        sent = self.transport.value()
        return int.from_bytes(sent[2:4]) if sent[:1] == bytes([0x80 | CLOSE]) else None

    @property
    def messages(self) -> list[bytes]:
        """What was passed to the application."""
        queue = self.protocol.application_queue
        received = [queue.get_nowait() for _ in range(queue.qsize())]
        return [message["bytes"] for message in received if message["type"] == "websocket.receive"]


@pytest.fixture
def socket() -> Iterator[Socket]:
    opened = Socket()
    yield opened
    if opened.transport.connected:
        opened.transport.loseConnection()


def test_small_messages_are_taken(socket: Socket) -> None:
    socket.accept()
    socket.send(frame(b"a" * MAX_MESSAGE_BYTES))
    assert socket.messages == [b"a" * MAX_MESSAGE_BYTES]
    assert socket.close_code is None


@pytest.mark.parametrize("sent", [frame(bytes(MAX_MESSAGE_BYTES + 1))[:20], frame(bytes(60_000))])
def test_a_large_message_ends_the_socket_before_it_has_arrived(socket: Socket, sent: bytes) -> None:
    socket.accept()
    socket.send(sent)
    assert socket.close_code == 1009
    socket.send(frame(b"a"))
    assert socket.messages == []


def test_a_large_message_in_frames_ends_the_socket(socket: Socket) -> None:
    socket.accept()
    socket.send(frame(bytes(MAX_MESSAGE_BYTES // 2), final=False))
    socket.clock.advance(60)
    socket.send(frame(bytes(MAX_MESSAGE_BYTES // 2), CONTINUATION, final=False))
    assert socket.close_code is None
    socket.send(frame(b"a", CONTINUATION))
    assert socket.close_code == 1009


@pytest.mark.parametrize("opcode", [BINARY, PING])
def test_many_frames_end_the_socket_before_they_are_read(socket: Socket, opcode: int) -> None:
    socket.accept()
    socket.send(frame(b"a", opcode) * 9000)
    sent = socket.transport.value()
    assert (1008).to_bytes(2) in sent[-100:]
    assert len(sent) + len(socket.messages) < BURST_BYTES


def test_a_client_may_send_a_little_for_long(socket: Socket) -> None:
    socket.accept()
    for _ in range(1000):
        socket.clock.advance(1)
        socket.send(frame(bytes(BYTES_PER_SECOND - 20)))
    assert len(socket.messages) == 1000
    assert socket.close_code is None


def test_a_socket_that_is_not_accepted_yet_is_cut_off(socket: Socket) -> None:
    socket.send(bytes(BURST_BYTES))
    assert socket.transport.connected
    socket.send(b"a")
    assert not socket.transport.connected


def test_the_server_may_send_long_messages(socket: Socket) -> None:
    socket.accept()
    socket.protocol.serverSend("a" * 100_000)
    assert socket.transport.value().endswith(b"a" * 100_000)
