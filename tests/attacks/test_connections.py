"""Connections that are silent, that send slowly, and that are too many."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attacks.clients import connect, requests, status_of
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation, overriding

pytestmark = pytest.mark.attack

USUAL_FILE_LIMIT = 1024
"""The soft limit of open files on most systems."""
HEAD = b"POST /api/img2img HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n"


@pytest.fixture
def started_with_usual_file_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL_FILE_LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.full
@pytest.mark.parametrize("server_environment", [overriding(REQUEST_HEAD_SECONDS=8)])
def test_silent_connections_beyond_the_usual_file_limit(
    started_with_usual_file_limit: None, server: Installation
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Measurement(server) as measured, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(1400)]
        assert server.get("/livez")[0] == 200
        assert server.get("/accounts/login/")[0] == 200
        assert [status_of(client) for client in clients] == [0] * len(clients)  # closed without an answer
    assert measured.extra_memory < 200 * MB
    assert measured.slowest_page < 10


@pytest.mark.full
@pytest.mark.parametrize(
    "server_environment",
    [overriding(REQUEST_HEAD_SECONDS=2, REQUEST_BODY_SECONDS=2, REQUEST_BODY_BYTES_PER_SECOND=1000)],
)
def test_requests_that_arrive_slowly_are_ended(server: Installation) -> None:
    with Measurement(server) as measured, ExitStack() as stack:
        heads = [stack.enter_context(connect(server)) for _ in range(20)]
        again = [stack.enter_context(connect(server)) for _ in range(20)]
        bodies = [stack.enter_context(connect(server)) for _ in range(20)]
        steady = [stack.enter_context(connect(server)) for _ in range(5)]
        for client in [*bodies, *steady]:
            client.sendall(HEAD)
        for client in again:  # the second request of a connection
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(10_000).startswith(b"HTTP/1.1 200")
            client.sendall(b"GET /livez HTTP/1.1\r\n")
        for _ in range(10):
            for client in [*heads, *again, *bodies]:
                client.send(b"x")
            for client in steady:
                client.sendall(b"x" * 1000)
            time.sleep(0.5)
        for client in steady:  # 2,000 bytes a second are enough
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
        answers = [read_all(client) for client in [*heads, *again, *bodies]]
        assert Counter(head.split()[1] for head, _ in answers) == {b"408": 60}
        problems = [json.loads(body) for _, body in answers]
        assert {problem["code"] for problem in problems} == {"request_too_slow"}
        assert sum(problem["message"].startswith("The body") for problem in problems) == len(bodies)
    assert measured.extra_memory < 50 * MB
    assert measured.slowest_page < 10


@pytest.mark.full
def test_thousands_of_connections_of_many_addresses(server: Installation) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(4000, hard - 500)
    with Measurement(server) as measured, ExitStack() as stack:
        clients = [stack.enter_context(connect(server, source=f"127.0.1.{number % 8}")) for number in range(count)]
        for client in clients[::2]:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for client in clients[::20]:  # 200 requests at the same time
            client.sendall(b"\r\n")
        assert [status_of(client) for client in clients[::20]] == [200] * len(clients[::20])
        assert server.get("/accounts/login/")[0] == 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert measured.extra_memory < 300 * MB
    assert measured.slowest_page < 25


@pytest.mark.parametrize("server_environment", [{"DREAMLAYER_CONNECTIONS_PER_ADDRESS": "50"}])
def test_one_address_cannot_take_all_connections(server: Installation) -> None:
    with Measurement(server) as measured, ExitStack() as stack:
        server.wait_until(lambda: measured.pages)  # on the fiftieth connection, which stays open
        held = [stack.enter_context(connect(server)) for _ in range(49)]
        status, body = server.get("/accounts/login/")
        assert (status, json.loads(body)["code"], json.loads(body)["limit"]) == (429, "too_many_connections", 50)
        assert server.get("/livez")[0] == 200
        more = [stack.enter_context(connect(server)) for _ in range(300)]
        assert server.get("/livez")[0] == 200
        elsewhere = stack.enter_context(connect(server, source="127.0.0.2"))
        elsewhere.sendall(b"GET /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert status_of(elsewhere) == 200
        assert [status_of(client) for client in more] == [0] * len(more)  # closed after 2 seconds
        for client in held:
            client.close()
        server.wait_until(lambda: server.get("/accounts/login/")[0] == 200, seconds=5)
    assert measured.extra_memory < 50 * MB
    assert measured.slowest_page < 10


@pytest.mark.full
@pytest.mark.parametrize("server_environment", [{"DREAMLAYER_CONNECTIONS": "100"}])
def test_a_full_server_answers_health_checks(server: Installation) -> None:
    with ExitStack() as stack:
        for last in range(1, 5):
            for _ in range(25):
                stack.enter_context(connect(server, source=f"127.0.0.{last}"))
        status, body = server.get("/accounts/login/")
        assert (status, json.loads(body)["code"]) == (503, "try_again")
        assert server.get("/livez")[0] == 200


@pytest.mark.full
@pytest.mark.parametrize(
    "server_environment", [{"DREAMLAYER_BEHIND_TLS": "true", "DREAMLAYER_CONNECTIONS_PER_ADDRESS": "20"}]
)
def test_behind_a_proxy_the_requests_of_a_client_count(server: Installation) -> None:
    """The proxy names the client last; entries before that are the client's own."""
    held = {"Expect": "100-continue", "Content-Length": "100", "X_Forwarded_For": "203.0.113.9, 198.51.100.7"}
    page = "/readyz"  # the pages redirect to https
    with requests(server, page, count=20, **held):
        server.wait_until(lambda: server.get(page, headers={"X-Forwarded-For": "198.51.100.7"})[0] == 429, seconds=5)
        assert server.get(page, headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})[0] != 429
        assert server.get("/livez", headers={"X-Forwarded-For": "198.51.100.7"})[0] == 200
    server.wait_until(lambda: server.get(page, headers={"X-Forwarded-For": "198.51.100.7"})[0] != 429, seconds=5)


def read_all(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the answer, until the server closes the connection."""
    data = b""
    while chunk := client.recv(10_000):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body
