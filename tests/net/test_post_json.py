"""Posting a message once: the answer with its beginning, or the name of what went wrong; never a redirect followed."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_network

import h11
import pytest

from inpainting.net import Answer, Failure, Limits, NotDelivered, post_json
from tests.net.outside import PUBLIC, Handler, Listener, World, answer, authority, raw, silent

NAME = "hooks.example"
URL = f"http://{NAME}/hook?a=b"
SIGNED = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": "v1,c2lnbmVk"}
BODY = b'{"type":"generation.succeeded"}'


def post(
    url: str, world: World, *, deadline_seconds: float = 15.0, limits: Limits | None = None
) -> Answer | NotDelivered:
    return post_json(
        url, BODY, SIGNED, deadline_seconds=deadline_seconds, limits=limits or Limits(), outside=world.outside()
    )


def posted_to(handle: Handler, *, deadline_seconds: float = 15.0) -> Answer | NotDelivered:
    with Listener(handle) as server:
        return post(URL, World({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server}), deadline_seconds=deadline_seconds)


def failure(sent: Answer | NotDelivered) -> Failure:
    assert isinstance(sent, NotDelivered)
    return sent.failure


def test_it_sends_the_bytes_and_headers_as_they_were_signed() -> None:
    with Listener(answer("200 OK", b"thanks")) as server:
        sent = post(URL, World({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server}))
    assert isinstance(sent, Answer)
    assert (sent.status, sent.body_start) == (200, b"thanks")
    assert sent.seconds > 0
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == BODY
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /hook?a=b http/1.1"
    assert f"host: {NAME}" in lines
    assert "content-type: application/json" in lines
    assert f"content-length: {len(BODY)}" in lines
    assert "webhook-id: msg_1" in lines
    assert "webhook-signature: v1,c2lnbmvk" in lines


def test_it_posts_over_tls_to_the_name_on_the_certificate() -> None:
    with Listener(answer("204 No Content"), tls=authority().serving(NAME)) as server:
        world = World({NAME: [[PUBLIC]]}, {(PUBLIC, 443): server}, trusted=authority().trusting())
        sent = post(f"https://{NAME}/", world)
    assert isinstance(sent, Answer)
    assert sent.status == 204


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_an_answer_that_the_caller_sees(status: str) -> None:
    with Listener(answer("200 OK")) as elsewhere:
        sent = posted_to(answer(status, location=f"http://127.0.0.1:{elsewhere.port}/"))
        assert isinstance(sent, Answer)
        assert sent.status == int(status[:3])
        assert elsewhere.visitors() == 0


@pytest.mark.parametrize("status", ["400 Bad Request", "410 Gone", "500 Oh", "503 Later"])
def test_a_refusal_is_an_answer_with_its_status(status: str) -> None:
    sent = posted_to(answer(status, b"no", retry_after="120"))
    assert isinstance(sent, Answer)
    assert (sent.status, sent.body_start, sent.retry_after) == (int(status[:3]), b"no", "120")


def test_it_keeps_512_bytes_of_a_reply_without_end() -> None:
    sent_bytes = 0

    def pour(visitor: socket.socket, request: bytes) -> None:
        nonlocal sent_bytes
        visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent_bytes < 100 * 2**20:
            visitor.sendall(b"y" * 65536)
            sent_bytes += 65536

    sent = posted_to(pour)
    assert isinstance(sent, Answer)
    assert sent.body_start == b"y" * 512
    assert sent_bytes < 50 * 2**20


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ],
)
def test_a_receiver_that_leaves_in_the_middle_of_its_reply_has_answered(reply: bytes) -> None:
    sent = posted_to(raw(reply))
    assert isinstance(sent, Answer)
    assert (sent.status, sent.body_start) == (200, b"part")


def test_a_receiver_that_drips_its_reply_has_answered_by_the_deadline() -> None:
    def trickle(visitor: socket.socket, request: bytes) -> None:
        visitor.sendall(b"HTTP/1.1 202 Accepted\r\n\r\n")
        for _ in range(400):
            visitor.sendall(b"z")
            time.sleep(0.02)

    sent = posted_to(trickle, deadline_seconds=1.5)
    assert isinstance(sent, Answer)
    assert sent.status == 202
    assert 0 < len(sent.body_start) < 400


def test_what_an_opened_machine_says_is_not_kept() -> None:
    with Listener(answer("200 OK", b"the router's password")) as home:
        limits = Limits(allowed_networks=(ip_network("127.0.0.0/8"),), allowed_ports=frozenset({home.port}))
        sent = post_json(f"http://localhost:{home.port}/", BODY, SIGNED, deadline_seconds=15, limits=limits)
        assert isinstance(sent, Answer)
        assert (sent.status, sent.body_start) == (200, b"")
        assert home.requests[0].endswith(BODY)


def test_nothing_reaches_a_private_machine() -> None:
    with Listener(answer("200 OK")) as private:
        limits = Limits(allowed_ports=frozenset({private.port}))
        for host in ("127.0.0.1", "localhost", "0x7f.1", "[::ffff:7f00:1]"):
            url = f"http://{host}:{private.port}/"
            sent = post_json(url, BODY, SIGNED, deadline_seconds=15, limits=limits)
            assert failure(sent) is Failure.NOT_ALLOWED
        world = World({NAME: [["127.0.0.1"]]}, {("127.0.0.1", 80): private})
        assert failure(post(URL, world)) is Failure.NOT_ALLOWED
        assert private.visitors() == 0


def test_each_failure_has_its_name() -> None:
    known = {NAME: [[PUBLIC]]}
    assert failure(post("ftp://hooks.example/", World())) is Failure.NOT_ALLOWED
    assert failure(post(URL, World())) is Failure.DNS_FAILED
    assert failure(post(URL, World(known))) is Failure.CONNECT_FAILED
    assert failure(posted_to(silent, deadline_seconds=0.2)) is Failure.TIMEOUT
    assert failure(posted_to(raw(b""))) is Failure.CLOSED
    assert failure(posted_to(raw(b"HTTP/1.1 200 O"))) is Failure.CLOSED
    assert failure(posted_to(raw(b"+PONG\r\n+PONG\r\n\r\n"))) is Failure.BAD_ANSWER
    with Listener(answer("200 OK"), tls=authority("Somebody else").serving(NAME)) as server:
        world = World(known, {(PUBLIC, 443): server}, trusted=authority().trusting())
        assert failure(post(f"https://{NAME}/", world)) is Failure.TLS_FAILED


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x y": "z"}])
def test_headers_that_are_none_never_leave_the_house(headers: dict[str, str]) -> None:
    with Listener(answer("200 OK")) as server:
        world = World({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server})
        with pytest.raises(h11.LocalProtocolError):
            post_json(URL, BODY, headers, deadline_seconds=15, limits=Limits(), outside=world.outside())
    assert server.requests == []
