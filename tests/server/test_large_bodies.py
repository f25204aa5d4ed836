"""Large bodies: nothing is read before their sender is known, and what they are refused with."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from django.http import HttpResponse
from pytest_django import Settings

from dreamlayer_site.health import find_problems
from dreamlayer_site.server import bodies
from dreamlayer_site.server.bodies import UnreadBodies
from dreamlayer_site.server.connections import LINGER_SECONDS, STRANGER_LINGER_SECONDS
from dreamlayer_site.server.senders import Sender
from tests.support.connections import Connections

SMALL, LARGE = 64 * 1024, 100_000
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSED = Sender(known=False, refusal=HttpResponse(b'{"code": "key_missing"}', status=401))


def head(length: int | None, path: str = "/api/img2img", **headers: str) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", size, *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> UnreadBodies:
    unread = UnreadBodies()
    monkeypatch.setattr(bodies, "unread_bodies", unread)
    monkeypatch.setattr("dreamlayer_site.health.unread_bodies", unread)
    return unread


@pytest.fixture
def checking(connections: Connections) -> Iterator[Connections]:
    """A server that has not found out yet who sends a body."""
    connections.may_answer.clear()
    yield connections
    connections.may_answer.set()


@pytest.mark.parametrize("length", [LARGE, None])
async def test_nothing_is_stored_before_the_sender_is_known(checking: Connections, length: int | None) -> None:
    connection = checking.connect()
    body = bytes(range(250)) * (LARGE // 250)
    sent = body if length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    await connection.send(head(length, "/api/img2img?key=1", Prefer="respond-async", X_API_Key="1") + sent[:50_000])
    assert connection.transport.producerState == "paused"
    (request,) = connection.protocol.wrappedProtocol.requests
    assert request.received == 0
    (scope,) = checking.checked
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/api/img2img", b"key=1")
    assert scope["headers"] == [(b"host", b"localhost"), (b"prefer", b"respond-async")]  # no name with underscores
    checking.may_answer.set()
    await connection.settle()
    assert connection.transport.producerState == "producing"
    await connection.send(sent[50_000:])
    assert checking.bodies == [body]


@pytest.mark.parametrize(("path", "length"), [("/api/img2img", SMALL), ("/accounts/login/", None)])
async def test_anybody_may_send_a_small_body(connections: Connections, path: str, length: int | None) -> None:
    connections.sender = REFUSED
    body = b"a" * SMALL if length else b"4\r\naaaa\r\n0\r\n\r\n"
    await connections.connect().send(head(length, path) + body)
    assert connections.checked == []
    assert len(connections.bodies) == 1


async def test_a_stranger_reads_the_refusal_and_may_finish_for_a_moment(
    connections: Connections, unread: UnreadBodies
) -> None:
    connections.sender = REFUSED
    connection = connections.connect()
    await connection.send(head(LARGE) + bytes(10_000))
    assert connection.refusal == (401, "key_missing")
    assert b"Connection: close\r\n" in connection.answer
    await connection.send(bytes(LARGE))
    assert (unread.total, connections.bodies) == (0, [])
    connections.clock.advance(STRANGER_LINGER_SECONDS - 0.1)
    assert connection.transport.connected
    connections.clock.advance(0.1)
    assert not connection.transport.connected


async def test_a_client_that_waits_is_told_to_continue_when_it_is_known(checking: Connections) -> None:
    connection = checking.connect()
    await connection.send(head(LARGE, Expect="100-continue"))
    assert connection.answer == b""
    checking.may_answer.set()
    await connection.settle()
    assert connection.answer == CONTINUE
    await connection.send(bytes(LARGE))
    assert checking.bodies == [bytes(LARGE)]


async def test_a_client_that_waits_is_refused_without_being_told_to_continue(connections: Connections) -> None:
    connections.sender = REFUSED
    connection = connections.connect()
    await connection.send(head(LARGE, Expect="100-continue"))
    assert connection.refusal == (401, "key_missing")


async def test_a_client_with_a_small_body_is_told_to_continue_at_once(connections: Connections) -> None:
    connection = connections.connect()
    await connection.send(head(100, Expect="100-continue"))
    assert connection.answer == CONTINUE


async def test_the_check_takes_no_time_of_the_body(checking: Connections, settings: Settings) -> None:
    connection = checking.connect()
    await connection.send(head(LARGE))
    checking.clock.advance(settings.REQUEST_HEAD_SECONDS - 1)
    checking.may_answer.set()
    await connection.settle()
    checking.clock.advance(settings.REQUEST_BODY_SECONDS - 1)
    assert connection.answer == b""
    checking.clock.advance(1)
    assert connection.refusal == (408, "request_too_slow")


async def test_one_request_after_another_is_checked(connections: Connections) -> None:
    connection = connections.connect()
    request = head(LARGE) + bytes(LARGE)
    await connection.send(request)
    await connection.send(request)
    assert len(connections.checked) == len(connections.bodies) == 1
    connection.protocol.wrappedProtocol.requests[0].finish()
    await connection.settle()
    assert len(connections.checked) == len(connections.bodies) == 2
    connections.clock.advance(1000)
    assert connection.transport.connected  # no time limit of the second head goes on


async def test_the_check_of_a_request_that_follows_another_takes_no_time_of_its_head(
    checking: Connections, settings: Settings
) -> None:
    connection = checking.connect()
    await connection.send(head(100) + bytes(100) + head(LARGE) + bytes(LARGE))
    connection.protocol.wrappedProtocol.requests[0].finish()
    await connection.settle()
    assert len(checking.checked) == 1
    checking.clock.advance(settings.REQUEST_HEAD_SECONDS + 1)
    connection.protocol.wrappedProtocol.resumeProducing()  # the client has read the first response
    assert connection.transport.producerState == "paused"
    checking.may_answer.set()
    await connection.settle()
    assert connection.transport.producerState == "producing"
    assert len(checking.bodies) == 2


async def test_a_client_that_leaves_during_the_check_is_forgotten(checking: Connections, unread: UnreadBodies) -> None:
    connection = checking.connect()
    await connection.send(head(LARGE))
    connection.transport.loseConnection()
    checking.may_answer.set()
    await connection.settle()
    assert connection.answer == b""
    assert unread.total == 0


async def test_a_check_that_fails_is_an_error_of_the_server(
    connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    connections.sender = RuntimeError("no view")
    connection = connections.connect()
    await connection.send(head(LARGE, "/rest_api/process_result"))
    status, _, body = connection.answer.partition(b"\r\n")
    assert status.startswith(b"HTTP/1.1 500")
    assert b"no view" not in body
    assert "no view" in caplog.text


async def test_a_check_that_takes_long_is_given_up(checking: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamlayer_site.server.connections.CHECK_SECONDS", 0)
    connection = checking.connect()
    await connection.send(head(LARGE))
    assert connection.refusal == (503, "try_again")


async def test_the_rest_of_a_body_that_is_refused_is_dropped(connections: Connections, unread: UnreadBodies) -> None:
    connection = connections.connect()
    await connection.send(head(None) + b"f4240\r\n" + bytes(900_000))
    assert unread.total == 900_000
    connection.protocol.wrappedProtocol.requests[0].max_bytes = 950_000
    await connection.send(bytes(100_000))
    assert connection.refusal == (413, "body_too_large")
    assert unread.total == 0
    connections.clock.advance(LINGER_SECONDS - 0.1)
    assert connection.transport.connected


@pytest.mark.django_db
async def test_bodies_that_take_too_much_space_are_refused_and_reported(
    connections: Connections, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.UNREAD_BODY_BYTES = 1_000_000
    for last in range(2):
        await connections.connect(address=f"192.0.2.{last}").send(head(LARGE * 10) + bytes(499_999))
    connection = connections.connect()
    await connection.send(head(LARGE) + bytes(LARGE))
    assert connection.refusal == (507, "storage_full")
    assert "Bodies that were not read yet take 999998 bytes" in caplog.text


async def test_what_an_address_sends_at_once_is_limited(connections: Connections, settings: Settings) -> None:
    settings.UNREAD_BODY_BYTES = 1_000_000
    connections.sender = Sender(known=False)
    first, second = connections.connect(), connections.connect()
    await first.send(head(LARGE * 10) + bytes(250_000))
    await second.send(head(LARGE) + bytes(LARGE))
    assert second.refusal == (429, "too_many_uploads")
    assert b"Retry-After: 5\r\n" in second.answer
    first.transport.loseConnection()
    third = connections.connect()
    await third.send(head(LARGE) + bytes(LARGE))
    assert connections.bodies == [bytes(LARGE)]


async def test_a_body_that_cannot_be_stored_is_refused_before_it_is_sent(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(**options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bodies, "TemporaryFile", no_space)
    connection = connections.connect()
    await connection.send(head(LARGE, "/sd-inpaint/inpaint", Expect="100-continue"))
    assert connection.answer.startswith(b"HTTP/1.1 507")
    assert b'{"detail":' in connection.answer


@pytest.mark.django_db
def test_readyz_says_that_bodies_take_too_much_space(monkeypatch: pytest.MonkeyPatch, unread: UnreadBodies) -> None:
    assert find_problems() == {}
    monkeypatch.setattr(unread, "was_full", lambda: True)
    assert find_problems() == {"uploads": "take too much space"}
