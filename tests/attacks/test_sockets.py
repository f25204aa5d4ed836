"""Websockets whose clients send large messages, or many of them, which nobody reads."""

from __future__ import annotations

import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = pytest.mark.attack

BINARY, PING = 0x82, 0x89


def frame(payload: bytes, *, opcode: int = BINARY) -> bytes:
    size = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BQ", 0xFF, len(payload))
    return bytes([opcode]) + size + bytes(4) + payload  # masked with zeros


ATTACKS = {
    "large messages": (20, frame(bytes(100_000)), 1009),
    "one-byte messages": (4, frame(b"a") * 9_000, 1008),
    "pings": (4, frame(b"a", opcode=PING) * 9_000, 1008),
}


def open_socket(server: Installation, key: str) -> ClientConnection:
    status, answer = server.get("/api/tickets/", key=key, data=b"")
    assert status == 201, answer
    return connect(json.loads(answer)["url"])


def flood(client: ClientConnection, frames: bytes) -> int | None:
    """Send these frames until the server cuts the connection off, for 3 seconds at most; return the close code."""
    until = time.monotonic() + 3
    try:
        while time.monotonic() < until:
            client.socket.sendall(frames)
    except OSError:
        pass
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=3)
    return None if closed.value.rcvd is None else closed.value.rcvd.code


@pytest.mark.full
@pytest.mark.parametrize("name", ATTACKS)
def test_a_socket_that_sends_much_is_closed(server: Installation, server_key: str, name: str) -> None:
    count, frames, code = ATTACKS[name]
    with ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server, server_key)) for _ in range(count)]
        with Measurement(server) as measured, ThreadPoolExecutor(count) as pool:
            codes = list(pool.map(lambda client: flood(client, frames), clients))
    assert codes == [code] * count
    assert measured.extra_memory < 50 * MB
    assert measured.slowest_page < 1
