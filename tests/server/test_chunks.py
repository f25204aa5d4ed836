"""Chunked bodies: how many chunks are taken."""

from __future__ import annotations

import pytest

from dreamlayer_site.server.connections import DECODED_BYTES, MAX_CHUNKS, MIN_CHUNK_BYTES
from tests.support.connections import Connections

HEAD = b"POST /api/img2img HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
READ_BYTES = 2**16
"""What Twisted reads from a socket at once."""


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def in_parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("read_bytes", [1, 7, DECODED_BYTES, READ_BYTES])
async def test_a_body_is_the_same_however_it_arrives(connections: Connections, read_bytes: int) -> None:
    connection = connections.connect()
    payloads = [bytes([65 + number % 26]) * (number % 999 + 1) for number in range(150)]
    for part in in_parts(HEAD + b"".join(map(chunk, payloads)) + END, read_bytes):
        await connection.send(part)
    assert connections.bodies == [b"".join(payloads)]


async def test_more_chunks_than_are_taken_are_refused_before_all_are_decoded(connections: Connections) -> None:
    connection = connections.connect()
    await connection.send(HEAD + chunk(b"a") * (READ_BYTES // 6))
    assert connection.refusal == (400, "body_too_many_chunks")
    (request,) = connection.protocol.wrappedProtocol.requests
    assert request.received < MAX_CHUNKS + DECODED_BYTES // 6 < READ_BYTES // 6
    await connection.send(chunk(b"a") * 1000 + END)
    assert connections.bodies == []


async def test_a_small_body_may_have_small_chunks(connections: Connections) -> None:
    await connections.connect().send(HEAD + chunk(b"a") * MAX_CHUNKS + END)
    assert connections.bodies == [b"a" * MAX_CHUNKS]


@pytest.mark.parametrize("payload_bytes", [MIN_CHUNK_BYTES, MIN_CHUNK_BYTES - 10])
async def test_chunks_of_a_large_body_have_a_size_on_average(connections: Connections, payload_bytes: int) -> None:
    connection = connections.connect()
    for part in in_parts(HEAD + chunk(b"a" * payload_bytes) * 40_000 + END, READ_BYTES):
        await connection.send(part)
    taken = payload_bytes >= MIN_CHUNK_BYTES
    assert connections.bodies == ([b"a" * payload_bytes * 40_000] if taken else [])
    assert taken or connection.refusal == (400, "body_too_many_chunks")


async def test_parts_of_a_chunk_are_no_chunks(connections: Connections) -> None:
    connection = connections.connect()
    await connection.send(HEAD + b"2710\r\n")  # 10,000
    for _ in range(10_000):
        await connection.send(b"a")
    await connection.send(b"\r\n" + END)
    assert connections.bodies == [b"a" * 10_000]


async def test_the_next_request_of_a_connection_counts_anew(connections: Connections) -> None:
    connection = connections.connect()
    body = chunk(b"a") * MAX_CHUNKS + END
    await connection.send((HEAD + body) * 2)
    assert len(connections.bodies) == 1
    (request,) = connection.protocol.wrappedProtocol.requests
    request.finish()
    await connection.settle()
    assert connections.bodies == [b"a" * MAX_CHUNKS] * 2


async def test_a_malformed_chunk_is_answered_once(connections: Connections) -> None:
    connection = connections.connect()
    await connection.send(HEAD + b"no number\r\n" + b"a" * READ_BYTES)
    assert connection.answer.count(b"400 Bad Request") == 1
