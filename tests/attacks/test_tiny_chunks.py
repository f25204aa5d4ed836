"""A body in chunks of one byte, each of which would cost the server as much as one of thousands."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.attacks.clients import answer_of, connect
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = pytest.mark.attack

SECONDS = 3.0


def send_chunks(client: socket.socket, key: str, *, chunk_bytes: int) -> int:
    """Send a body in chunks of this size for SECONDS, as fast as they are taken; return the bytes, with all framing."""
    head = f"POST /api/img2img HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.sendall(head.encode())
    chunk = b"%x\r\n%s\r\n" % (chunk_bytes, b"a" * chunk_bytes)
    chunks = memoryview(chunk * max(1, 60_000 // len(chunk)))
    sent, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until and sent < 60 * MB:  # The largest body has 64 MiB.
        sent += client.send(chunks[sent % len(chunks) :])
    return sent


@pytest.mark.parametrize("attackers", [1, pytest.param(4, marks=pytest.mark.full)])
def test_a_body_in_tiny_chunks_is_refused(server: Installation, server_key: str, attackers: int) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(attackers)]
        with Measurement(server) as measured, ThreadPoolExecutor(attackers) as pool:
            list(pool.map(lambda client: send_chunks(client, server_key, chunk_bytes=1), clients))
        for client in clients:
            status, body = answer_of(client)
            assert (status, json.loads(body)["code"]) == (400, "body_too_many_chunks")
    assert measured.slowest_page < 1


@pytest.mark.full
def test_a_body_in_usual_chunks_is_taken(server: Installation, server_key: str) -> None:
    with Measurement(server) as measured, connect(server) as client:
        assert send_chunks(client, server_key, chunk_bytes=6000) > 20 * MB
        client.setblocking(False)
        with pytest.raises(BlockingIOError):  # It has not been answered.
            client.recv(1)
    assert measured.slowest_page < 1
