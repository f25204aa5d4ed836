"""Downloading an image by URL from real servers on loopback: the bytes, and the error code of each failure."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from ipaddress import ip_network

import pytest

from inpainting.core.errors import InvalidRequest
from inpainting.net import OutboundPolicy, download_image, is_allowed_url
from inpainting.net.connecting import NetworkTransport, is_own_address
from inpainting.net.image_download import NOT_ALLOWED
from tests.net.fake_network import (
    OTHER_PUBLIC,
    PUBLIC,
    PUBLIC_IPV6,
    FakeNetwork,
    Handler,
    Listener,
    PublicPeerSocket,
    answer,
    authority,
    raw,
    silent,
)
from tests.net.urls import PRIVATE, REFUSED

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
NAME = "pictures.example"
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def fetch(url: str, network: FakeNetwork | None = None, policy: OutboundPolicy | None = None) -> bytes:
    transport = None if network is None else network.transport()
    return download_image(url, field="image", policy=policy or OutboundPolicy(), transport=transport)


def refusal(url: str, network: FakeNetwork | None = None, policy: OutboundPolicy | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        fetch(url, network, policy)
    assert refused.value.field == "image"
    return refused.value


def not_allowed(url: str, network: FakeNetwork | None = None, policy: OutboundPolicy | None = None) -> None:
    refused = refusal(url, network, policy)
    assert (refused.code, refused.message) == ("url_not_allowed", NOT_ALLOWED)
    assert (refused.limit, refused.actual) == (None, None)


def from_server(handle: Handler, policy: OutboundPolicy | None = None) -> bytes:
    """Download from a server with a public address that responds with `handle`."""
    with Listener(handle) as server:
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server})
        return fetch(f"http://{NAME}/cat.png", network, policy)


def refusal_of(handle: Handler, policy: OutboundPolicy | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        from_server(handle, policy)
    return refused.value


# What comes back


def test_it_returns_the_body_and_sends_the_host_header() -> None:
    with Listener(answer("200 OK", IMAGE)) as server:
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server})
        assert fetch(f"http://{NAME}/a%20b.png?size=1&x", network) == IMAGE
    head = server.requests[0].decode()
    assert head.startswith("GET /a%20b.png?size=1&x HTTP/1.1\r\n")
    assert f"\r\nhost: {NAME}\r\n" in head.lower()
    assert "\r\naccept-encoding: identity\r\n" in head.lower()
    assert "cookie" not in head.lower()
    assert "authorization" not in head.lower()


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x89PNG\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n\x89PNGabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n\x89PNGabcand more than was promised",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n\r\n\x89PNGabc",
    ],
)
def test_it_reads_every_framing_of_a_body(whole: bytes) -> None:
    assert from_server(raw(whole)) == b"\x89PNGabc"


def test_it_takes_exactly_the_limit() -> None:
    assert from_server(answer("200 OK", IMAGE), OutboundPolicy(max_bytes=len(IMAGE))) == IMAGE


def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with Listener(answer("200 OK", b"from the proxy")) as proxy, Listener(answer("200 OK", IMAGE)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server})
        assert fetch(f"http://{NAME}/", network) == IMAGE
        assert proxy.visitors() == 0


def test_it_tries_the_next_address_and_resolves_the_name_once() -> None:
    with Listener(answer("200 OK", IMAGE)) as server:
        network = FakeNetwork({NAME: [[PUBLIC_IPV6, PUBLIC]]}, {(PUBLIC, 80): server})
        assert fetch(f"http://{NAME}/", network) == IMAGE
    assert network.connections == [(PUBLIC_IPV6, 80), (PUBLIC, 80)]
    assert network.resolved == [NAME]


# Which addresses are allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_packet_reaches_a_private_address_in_any_notation(host: str) -> None:
    with Listener(answer("200 OK", IMAGE), host=host) as private:
        policy = OutboundPolicy(allowed_ports=frozenset({private.port}))
        for url in PRIVATE:
            not_allowed(url.rstrip("/") + f":{private.port}/", None, policy)
        not_allowed(f"http://localhost:{private.port}/", None, policy)
        not_allowed(f"http://%6cocalhost:{private.port}/", None, policy)
        assert private.visitors() == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "127%2e0.0.1", "[::ffff:127.0.0.1]"]
)
def test_all_notations_work_for_an_allowed_network(host: str) -> None:
    with Listener(answer("200 OK", IMAGE)) as private:
        policy = OutboundPolicy(allowed_networks=LOOPBACK, allowed_ports=frozenset({private.port}))
        if ":" in host:  # connecting would need a dual-stack socket
            assert is_allowed_url(f"http://{host}:{private.port}/", policy)
            return
        assert fetch(f"http://{host}:{private.port}/", None, policy) == IMAGE
        assert private.visitors() == 1
        assert f"host: 127.0.0.1:{private.port}\r\n".encode() in private.requests[0]


def test_an_allowed_network_allows_no_other_address() -> None:
    with Listener(answer("200 OK", IMAGE), host="127.0.0.2") as private:
        policy = OutboundPolicy(allowed_networks=(ip_network("127.0.0.1/32"),), allowed_ports=frozenset({private.port}))
        not_allowed(f"http://127.0.0.2:{private.port}/", None, policy)
        assert private.visitors() == 0


@pytest.mark.parametrize("url", REFUSED)
def test_all_refused_urls_have_the_same_message(url: str) -> None:
    network = FakeNetwork()
    not_allowed(url, network)
    assert (network.resolved, network.connections) == ([], [])


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
        [PUBLIC, OTHER_PUBLIC, "1.1.1.1", "9.9.9.9", "127.0.0.1"],
        [PUBLIC_IPV6, "::ffff:127.0.0.1"],
        [PUBLIC, "fe80::1%eth0"],
        ["64:ff9b::a9fe:a9fe"],
        ["169.254.169.254"],
    ],
)
def test_one_blocked_address_refuses_the_name(answers: list[str]) -> None:
    with Listener(answer("200 OK", IMAGE)) as server:
        network = FakeNetwork({NAME: [answers]}, dict.fromkeys(itertools.product(answers, [80]), server))
        not_allowed(f"http://{NAME}/", network)
        assert server.visitors() == 0


def test_dns_rebinding_has_no_effect() -> None:
    with Listener(answer("200 OK", IMAGE)) as server, Listener(answer("200 OK", b"secret")) as private:
        network = FakeNetwork({NAME: [[PUBLIC], ["127.0.0.1"]]}, {(PUBLIC, 80): server, ("127.0.0.1", 80): private})
        assert fetch(f"http://{NAME}/", network) == IMAGE
        assert network.resolved == [NAME]
        assert private.visitors() == 0


def test_a_redirect_resolves_and_checks_the_name_again() -> None:
    with Listener(answer("302 Found", location="/again")) as server, Listener(answer("200 OK", b"secret")) as private:
        network = FakeNetwork({NAME: [[PUBLIC], ["127.0.0.1"]]}, {(PUBLIC, 80): server, ("127.0.0.1", 80): private})
        not_allowed(f"http://{NAME}/", network)
        assert server.visitors() == 1
        assert private.visitors() == 0


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1", OTHER_PUBLIC])
def test_nothing_is_sent_to_a_peer_with_another_address(peer: str) -> None:
    def connect(address: str, port: int, seconds: float) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", server.port))
        other = PublicPeerSocket(plain.family, plain.type, fileno=plain.detach())
        other.peer = (peer, port)
        return other

    with Listener(answer("200 OK", IMAGE)) as server:
        transport = NetworkTransport(
            resolve=lambda host, port: [PUBLIC], connect=connect, is_own_address=lambda address: False
        )
        with pytest.raises(InvalidRequest) as refused:
            download_image(f"http://{NAME}/", field="image", policy=OutboundPolicy(), transport=transport)
    assert refused.value.message == NOT_ALLOWED
    assert server.requests == []


def test_the_sites_own_address_and_name_are_refused() -> None:
    with Listener(answer("200 OK", IMAGE)) as server:
        machines = {(PUBLIC, 80): server}
        not_allowed(f"http://{NAME}/", FakeNetwork({NAME: [[PUBLIC]]}, machines, own=PUBLIC))
        not_allowed(f"http://{PUBLIC}/", FakeNetwork({}, machines, own=PUBLIC))
        policy = OutboundPolicy(own_names=frozenset({NAME}))
        not_allowed(f"http://{NAME.upper()}./", FakeNetwork({NAME: [[PUBLIC]]}, machines), policy)
        assert server.visitors() == 0


def test_own_addresses_are_recognised() -> None:
    assert is_own_address("127.0.0.1")
    assert not is_own_address("192.0.2.1")


# Redirects


def test_it_follows_three_redirects_to_other_names_and_up_to_https() -> None:
    with (
        Listener(answer("200 OK", IMAGE), tls=authority().serving("c.example")) as last,
        Listener(answer("307 Temporary Redirect", location="https://c.example/x.png")) as third,
        Listener(answer("301 Moved Permanently", location="//b.example/z")) as second,
        Listener(answer("302 Found", location="/y")) as first,
    ):
        machines = {(PUBLIC, 80): first, (OTHER_PUBLIC, 80): second, ("1.1.1.1", 80): third, ("1.1.1.1", 443): last}
        names = {"a.example": [[PUBLIC], [OTHER_PUBLIC]], "b.example": [["1.1.1.1"]], "c.example": [["1.1.1.1"]]}
        network = FakeNetwork(names, machines, trusted=authority().trusting())
        assert fetch("http://a.example/", network) == IMAGE
    assert second.requests[0].startswith(b"GET /y HTTP")


def test_a_redirect_loop_ends_after_three_redirects() -> None:
    with Listener(answer("302 Found", location="/round")) as server:
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server})
        not_allowed(f"http://{NAME}/", network)
        assert server.visitors() == 4


@pytest.mark.parametrize(
    "location",
    [
        *PRIVATE[:12],
        "http://localhost/",
        "ftp://files.example/",
        "http://user@other.example/",
        "http://other.example:22/",
    ],
)
def test_redirects_are_checked_like_the_url_itself(location: str) -> None:
    with Listener(answer("302 Found", location=location.encode().decode("latin-1"))) as server:
        names = {NAME: [[PUBLIC]], "localhost": [["127.0.0.1"]], "other.example": [[PUBLIC]]}
        network = FakeNetwork(names, {(PUBLIC, 80): server})
        not_allowed(f"http://{NAME}/", network)
    assert network.connections == [(PUBLIC, 80)]


def test_a_redirect_to_a_private_address_is_refused() -> None:
    with Listener(answer("200 OK", b"secret")) as private:
        with Listener(answer("302 Found", location=f"http://127.0.0.1:{private.port}/")) as server:
            network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 80): server, ("127.0.0.1", private.port): private})
            not_allowed(f"http://{NAME}/", network, OutboundPolicy(allowed_ports=frozenset({private.port})))
        assert private.visitors() == 0


def test_a_redirect_never_goes_from_https_down_to_http() -> None:
    with (
        Listener(answer("200 OK", IMAGE)) as plain,
        Listener(answer("302 Found", location=f"http://{NAME}/"), tls=authority().serving(NAME)) as secret,
    ):
        machines = {(PUBLIC, 80): plain, (PUBLIC, 443): secret}
        not_allowed(f"https://{NAME}/", FakeNetwork({NAME: [[PUBLIC]]}, machines, trusted=authority().trusting()))
        assert plain.visitors() == 0


# Certificates


def fetch_encrypted(serving: ssl.SSLContext) -> bytes:
    with Listener(answer("200 OK", IMAGE), tls=serving) as server:
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 443): server}, trusted=authority().trusting())
        return fetch(f"https://{NAME}/", network)


def test_tls_sends_the_host_name_and_checks_the_certificate() -> None:
    names: list[str | None] = []
    serving = authority().serving(NAME)
    serving.sni_callback = lambda connection, name, context: names.append(name)
    assert fetch_encrypted(serving) == IMAGE
    assert names == [NAME]


@pytest.mark.parametrize("fault", ["another name", "expired", "another authority"])
def test_an_invalid_certificate_is_a_tls_error(fault: str) -> None:
    serving = {
        "another name": lambda: authority().serving("other.example"),
        "expired": lambda: authority().serving(NAME, valid_days=-1),
        "another authority": lambda: authority("Another authority").serving(NAME),
    }[fault]()
    with pytest.raises(InvalidRequest) as refused:
        fetch_encrypted(serving)
    assert refused.value.code == "url_tls_error"


def test_a_server_without_tls_is_a_tls_error() -> None:
    with Listener(silent, greeting=b"220 mail.example ESMTP\r\n") as server:
        network = FakeNetwork({NAME: [[PUBLIC]]}, {(PUBLIC, 443): server}, trusted=authority().trusting())
        assert refusal(f"https://{NAME}/", network).code == "url_tls_error"


def test_the_real_context_checks_names_and_certificates() -> None:
    context = NetworkTransport().tls()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


# Failures


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "204 No Content", "304 Not Modified"])
def test_other_statuses_are_reported(status: str) -> None:
    refused = refusal_of(raw(f"HTTP/1.1 {status}\r\n\r\n".encode()))
    assert (refused.code, refused.actual) == ("url_fetch_failed", int(status[:3]))


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_truncated_or_invalid_response_is_a_failed_fetch(whole: bytes) -> None:
    assert refusal_of(raw(whole)).code == "url_fetch_failed"


def test_a_refused_connection_is_a_failed_fetch() -> None:
    refused = refusal(f"http://{NAME}/", FakeNetwork({NAME: [[PUBLIC, OTHER_PUBLIC]]}))
    assert (refused.code, refused.actual) == ("url_fetch_failed", None)


def test_an_unknown_host_is_not_found() -> None:
    assert refusal("http://nowhere.example/", FakeNetwork()).code == "url_not_found"
    assert refusal("http://empty.example/", FakeNetwork({"empty.example": [[]]})).code == "url_not_found"


def test_a_content_length_above_the_limit_is_refused_before_the_body() -> None:
    refused = refusal_of(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 33554433\r\n\r\n"))
    assert (refused.code, refused.limit, refused.actual) == ("url_too_large", 33_554_432, 33_554_433)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_endless_body_is_cut_at_the_limit(chunked: bool) -> None:
    sent = 0

    def pour(visitor: socket.socket, request: bytes) -> None:
        nonlocal sent
        visitor.sendall(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n"))
        part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n" if chunked else b"x" * 0x10000
        while sent < 256 * 2**20:
            visitor.sendall(part)
            sent += len(part)

    refused = refusal_of(pour, OutboundPolicy(max_bytes=2**20, total_seconds=60))
    assert (refused.code, refused.limit) == ("url_too_large", 2**20)
    assert sent < 64 * 2**20  # what was in the socket buffers when the connection was closed


SLOW_RESPONSES = {
    "in the status line": b"HTTP/1.1 200 OK" + b"K" * 400 + b"\r\nContent-Length: 0\r\n\r\n",
    "in the headers": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"x" * 400 + b"\r\n\r\n",
    "in 1xx responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b"x" * 400,
    "in the chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 80 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("part", SLOW_RESPONSES)
def test_a_slow_response_ends_at_the_deadline(part: str) -> None:
    def trickle(visitor: socket.socket, request: bytes) -> None:
        for byte in SLOW_RESPONSES[part]:
            visitor.sendall(bytes([byte]))
            time.sleep(0.005)

    refused = refusal_of(trickle, OutboundPolicy(total_seconds=0.5))
    assert (refused.code, refused.limit) == ("url_timeout", 0.5)


def test_the_deadline_includes_redirects() -> None:
    def think(visitor: socket.socket, request: bytes) -> None:
        time.sleep(0.4)
        answer("302 Found", location="/x")(visitor, request)

    assert refusal_of(think, OutboundPolicy(total_seconds=1.0)).code == "url_timeout"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server_is_a_timeout(scheme: str) -> None:
    with Listener(silent) as server:
        machines = {(PUBLIC, 80): server, (PUBLIC, 443): server}
        network = FakeNetwork({NAME: [[PUBLIC]]}, machines, trusted=authority().trusting())
        assert refusal(f"{scheme}://{NAME}/", network, OutboundPolicy(total_seconds=0.2)).code == "url_timeout"


def test_a_connection_timeout_is_a_timeout() -> None:
    timeouts: list[float] = []

    def connect(address: str, port: int, seconds: float) -> socket.socket:
        timeouts.append(seconds)
        raise TimeoutError

    transport = NetworkTransport(lambda host, port: [PUBLIC] * 9, connect, lambda address: False)
    with pytest.raises(InvalidRequest) as refused:
        download_image(f"http://{NAME}/", field="image", policy=OutboundPolicy(), transport=transport)
    assert refused.value.code == "url_timeout"
    assert timeouts == [3.0] * 4


def test_a_silent_name_server_is_a_timeout() -> None:
    answered = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        answered.wait(2)
        return [PUBLIC]

    transport = NetworkTransport(resolve, FakeNetwork().connect, lambda address: False)
    try:
        with pytest.raises(InvalidRequest) as refused:
            download_image(
                f"http://{NAME}/", field="image", policy=OutboundPolicy(dns_seconds=0.1), transport=transport
            )
        assert refused.value.code == "url_timeout"
    finally:
        answered.set()
