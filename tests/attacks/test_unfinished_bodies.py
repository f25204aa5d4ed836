"""Bodies that are sent in large part and never finished, where there are 200 MB for them."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.attacks.clients import answer_of, connect
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation, overriding
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.attack

SENT = 55 * MB
NATIVE, MODELSLAB = "/api/img2img", "/api/v6/images/inpaint"


@pytest.fixture
def server(tmp_path: Path, installed: tuple[Installation, str]) -> Iterator[Installation]:
    folder = tmp_path / "tmp"
    folder.mkdir(exist_ok=True)
    with small_disk(folder, megabytes=200):
        installed[0].environment["TMPDIR"] = str(folder)
        with installed[0].serving():
            yield installed[0]


@contextmanager
def unfinished_bodies(server: Installation, path: str, key: str = "", *, count: int) -> Iterator[list[socket.socket]]:
    """Send the heads and SENT bytes of the bodies on so many connections, which stay open."""

    def send(client: socket.socket) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Length: 64000000\r\n\r\n"
        client.sendall(head.encode())
        with suppress(OSError):  # The server has closed the connection.
            for _ in range(SENT // MB):
                client.sendall(bytes(MB))

    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        clients = [stack.enter_context(connect(server)) for _ in range(count)]
        list(pool.map(send, clients))
        yield clients


def status_and_code_of(client: socket.socket) -> tuple[int, str]:
    status, body = answer_of(client)
    return status, json.loads(body).get("code", "")


def is_read(server: Installation, key: str) -> bool:
    """Whether a body of 300 KB is read to its end."""
    status, body = server.get(NATIVE, key=key, data=bytes(300_000), headers={"Content-Type": "application/json"})
    assert (status, json.loads(body)["code"]) in {(400, "body_invalid"), (507, "storage_full")}
    return status == 400


def test_bodies_of_strangers_are_not_stored(server: Installation, server_key: str) -> None:
    with Measurement(server) as measured, unfinished_bodies(server, NATIVE, "unknown", count=4) as clients:
        assert is_read(server, server_key)
        assert [status_and_code_of(client) for client in clients] == [(401, "key_invalid")] * 4
    assert measured.extra_memory < 50 * MB
    assert measured.slowest_page < 1


@pytest.mark.full
@pytest.mark.parametrize("server_environment", [overriding(UNREAD_BODY_BYTES=400 * MB)])
def test_bodies_that_hold_the_key_take_a_part_of_the_space(server: Installation, server_key: str) -> None:
    with Measurement(server) as measured, unfinished_bodies(server, MODELSLAB, count=4) as clients:
        assert is_read(server, server_key)
        assert server.get("/readyz")[0] == 200
        answers = Counter(status_and_code_of(client) for client in answered(clients))
    assert answers.keys() == {(429, "too_many_uploads")}
    assert measured.extra_memory < 50 * MB
    assert measured.slowest_page < 1


@pytest.mark.full
def test_a_disk_full_of_bodies_is_reported(server: Installation, server_key: str) -> None:
    with Measurement(server) as measured, unfinished_bodies(server, NATIVE, server_key, count=4) as clients:
        refused = answered(clients)
        assert {status_and_code_of(client) for client in refused} == {(507, "storage_full")}
        assert len(refused) < len(clients)
        assert "No space left" in server.log
        # The others leave room for small bodies, but not for one that is as large.
        assert is_read(server, server_key)
    server.wait_until(lambda: server.get("/readyz")[0] == 200, seconds=5)
    assert is_read(server, server_key)
    assert measured.slowest_page < 1


def answered(clients: list[socket.socket]) -> list[socket.socket]:
    """Those for which an answer has arrived."""
    found = []
    for client in clients:
        client.settimeout(1)
        with suppress(TimeoutError):
            if client.recv(1, socket.MSG_PEEK):
                found.append(client)
    return found
