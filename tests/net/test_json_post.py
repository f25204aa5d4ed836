"""Posting a message once: the response with the start of its body, or the failure. Redirects are not followed."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_network

import h11
import pytest

from inpainting.net import Failure, OutboundPolicy, PostFailure, PostResponse, post_json
from tests.net.fake_network import PUBLIC, FakeNetwork, Handler, Listener, answer, authority, raw, silent

NAME = "hooks.example"
URL = f"http://{NAME}/hook?a=b"
SIGNED = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": "v1,c2lnbmVk"}
BODY = b'{"type":"generation.succeeded"}'


def post(
    url: str, network: FakeNetwork, *, deadline_seconds: float = 15.0, policy: OutboundPolicy | None = None
) -> PostResponse | PostFailure:
    return post_json(
        url,
        BODY,
        SIGNED,
        deadline_seconds=deadline_seconds,
        policy=policy or OutboundPolicy(),
        transport=network.transport(),
    )


def posted_to(handle: Handler, *, deadline_seconds: float = 15.0) -> PostResponse | PostFailure:
    with Listener(handle) as server:
        return post(URL, FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server}), deadline_seconds=deadline_seconds)


def failure(sent: PostResponse | PostFailure) -> Failure:
    assert isinstance(sent, PostFailure)
    return sent.failure


def test_body_and_headers_are_sent_unchanged() -> None:
    with Listener(answer("200 OK", b"thanks")) as server:
        sent = post(URL, FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server}))
    assert isinstance(sent, PostResponse)
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
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 443): server}, trusted=authority().trusting())
        sent = post(f"https://{NAME}/", network)
    assert isinstance(sent, PostResponse)
    assert sent.status == 204


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_returned_and_not_followed(status: str) -> None:
    with Listener(answer("200 OK")) as elsewhere:
        sent = posted_to(answer(status, location=f"http://127.0.0.1:{elsewhere.port}/"))
        assert isinstance(sent, PostResponse)
        assert sent.status == int(status[:3])
        assert elsewhere.visitors() == 0


@pytest.mark.parametrize("status", ["400 Bad Request", "410 Gone", "500 Oh", "503 Later"])
def test_an_error_status_is_returned(status: str) -> None:
    sent = posted_to(answer(status, b"no", retry_after="120"))
    assert isinstance(sent, PostResponse)
    assert (sent.status, sent.body_start, sent.retry_after) == (int(status[:3]), b"no", "120")


def test_512_bytes_of_an_endless_body_are_kept() -> None:
    sent_bytes = 0

    def pour(visitor: socket.socket, request: bytes) -> None:
        nonlocal sent_bytes
        visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent_bytes < 100 * 2**20:
            visitor.sendall(b"y" * 65536)
            sent_bytes += 65536

    sent = posted_to(pour)
    assert isinstance(sent, PostResponse)
    assert sent.body_start == b"y" * 512
    assert sent_bytes < 50 * 2**20


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ],
)
def test_a_truncated_body_is_still_a_response(reply: bytes) -> None:
    sent = posted_to(raw(reply))
    assert isinstance(sent, PostResponse)
    assert (sent.status, sent.body_start) == (200, b"part")


def test_a_slow_body_ends_at_the_deadline() -> None:
    def trickle(visitor: socket.socket, request: bytes) -> None:
        visitor.sendall(b"HTTP/1.1 202 Accepted\r\n\r\n")
        for _ in range(400):
            visitor.sendall(b"z")
            time.sleep(0.02)

    sent = posted_to(trickle, deadline_seconds=1.5)
    assert isinstance(sent, PostResponse)
    assert sent.status == 202
    assert 0 < len(sent.body_start) < 400


def test_the_body_from_an_allowed_network_is_not_kept() -> None:
    with Listener(answer("200 OK", b"the router's password")) as home:
        policy = OutboundPolicy(allowed_networks=(ip_network("127.0.0.0/8"),), allowed_ports=frozenset({home.port}))
        sent = post_json(f"http://localhost:{home.port}/", BODY, SIGNED, deadline_seconds=15, policy=policy)
        assert isinstance(sent, PostResponse)
        assert (sent.status, sent.body_start) == (200, b"")
        assert home.requests[0].endswith(BODY)


def test_private_addresses_are_refused() -> None:
    with Listener(answer("200 OK")) as private:
        policy = OutboundPolicy(allowed_ports=frozenset({private.port}))
        for host in ("127.0.0.1", "localhost", "0x7f.1", "[::ffff:7f00:1]"):
            url = f"http://{host}:{private.port}/"
            sent = post_json(url, BODY, SIGNED, deadline_seconds=15, policy=policy)
            assert failure(sent) is Failure.NOT_ALLOWED
        network = FakeNetwork({NAME: [["127.0.0.1"]]}, {("127.0.0.1", 80): private})
        assert failure(post(URL, network)) is Failure.NOT_ALLOWED
        assert private.visitors() == 0


def test_every_failure_is_reported_by_its_name() -> None:
    known = {NAME: [[PUBLIC]]}
    assert failure(post("ftp://hooks.example/", FakeNetwork())) is Failure.NOT_ALLOWED
    assert failure(post(URL, FakeNetwork())) is Failure.DNS_FAILED
    assert failure(post(URL, FakeNetwork(known))) is Failure.CONNECT_FAILED
    assert failure(posted_to(silent, deadline_seconds=0.2)) is Failure.TIMEOUT
    assert failure(posted_to(raw(b""))) is Failure.CLOSED
    assert failure(posted_to(raw(b"HTTP/1.1 200 O"))) is Failure.CLOSED
    assert failure(posted_to(raw(b"+PONG\r\n+PONG\r\n\r\n"))) is Failure.BAD_ANSWER
    with Listener(answer("200 OK"), tls=authority("Another authority").serving(NAME)) as server:
        network = FakeNetwork(known, {(PUBLIC, 443): server}, trusted=authority().trusting())
        assert failure(post(f"https://{NAME}/", network)) is Failure.TLS_FAILED


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x y": "z"}])
def test_invalid_headers_are_not_sent(headers: dict[str, str]) -> None:
    with Listener(answer("200 OK")) as server:
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server})
        with pytest.raises(h11.LocalProtocolError):
            post_json(URL, BODY, headers, deadline_seconds=15, policy=OutboundPolicy(), transport=network.transport())
    assert server.requests == []
