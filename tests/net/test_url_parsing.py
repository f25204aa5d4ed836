"""The strict parser for outbound URLs."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inpainting.net import OutboundPolicy, is_allowed_url
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.url_parsing import Target, parse_url, resolve_redirect
from tests.net.urls import PRIVATE, REFUSED
from tests.support.strategies import examples

LIMITS = OutboundPolicy()

READ = {
    "http://example.com": "http://example.com/",
    "https://example.com/": "https://example.com/",
    "HTTPS://EXAMPLE.com/A%20b?q=1&r=/#part": "https://example.com/A%20b?q=1&r=/",
    "http://example.com?q": "http://example.com/?q",
    "http://example.com:80/": "http://example.com/",
    "http://example.com:/": "http://example.com/",
    "http://example.com:443/": "http://example.com:443/",
    "https://example.com:080/": "https://example.com:80/",
    "http://example.com./x": "http://example.com/x",
    "http://my_bucket.s3.example.com/x": "http://my_bucket.s3.example.com/x",
    "http://%65xample.com/": "http://example.com/",
    "http://bücher.example/é": "http://xn--bcher-kva.example/%C3%A9",
    "http://faß.de/": "http://xn--fa-hia.de/",
    "http://example。com/": "http://example.com/",
    "http://ｅｘａｍｐｌｅ．ｃｏｍ/": "http://example.com/",
    "http://1e100.net/": "http://1e100.net/",
    "http://134744072/": "http://8.8.8.8/",
    "http://8.8.2056/": "http://8.8.8.8/",
    "http://0x8.010.8.8/": "http://8.8.8.8/",
    "http://8.8.8.8./": "http://8.8.8.8/",
    "http://[2606:4700:4700:0::1111]/": "http://[2606:4700:4700::1111]/",
    "http://[::FFFF:8.8.8.8]:443/": "http://[::ffff:808:808]:443/",
    f"http://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/": f"http://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/",
}


@pytest.mark.parametrize(("url", "target"), READ.items())
def test_urls_are_parsed_to_the_target_that_is_connected_to(url: str, target: str) -> None:
    assert str(parse_url(url, LIMITS)) == target


@pytest.mark.parametrize("url", REFUSED)
def test_ambiguous_urls_are_refused(url: str) -> None:
    with pytest.raises(NetworkError) as refused:
        parse_url(url, LIMITS)
    assert refused.value.failure is Failure.NOT_ALLOWED
    assert not is_allowed_url(url, LIMITS)


@pytest.mark.parametrize("url", PRIVATE)
def test_private_addresses_are_refused_in_every_notation(url: str) -> None:
    assert parse_url(url, LIMITS).is_address
    assert not is_allowed_url(url, LIMITS)


@pytest.mark.parametrize("url", READ)
def test_public_urls_are_allowed(url: str) -> None:
    assert is_allowed_url(url, LIMITS)


def test_the_administrators_networks_and_ports_are_allowed() -> None:
    home = OutboundPolicy(allowed_networks=(ip_network("192.168.1.0/24"),), allowed_ports=frozenset({5678}))
    assert is_allowed_url("http://192.168.1.5:5678/hook", home)
    assert not is_allowed_url("http://192.168.2.5:5678/hook", home)
    assert not is_allowed_url("http://192.168.1.5:5679/hook", home)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://localhost/",
            "http://%6cocalhost/",
            "http://LOCALHOST./",
            "http://ⓛocalhost/",
            "https://localhost:443/",
        ),
        *("http://loc\u00adalhost/", "http://anything.localhost/", "http://a.b.LocalHost/", "http://localhost。/"),
        *("http://localhost.localdomain/", "http://localhost6/", "http://ip6-localhost/", "http://ip6-loopback/"),
    ],
)
def test_names_of_this_machine_are_refused_unless_loopback_is_allowed(url: str) -> None:
    assert not is_allowed_url(url, LIMITS)
    for network in ("127.0.0.0/8", "::1/128"):
        assert is_allowed_url(url, OutboundPolicy(allowed_networks=(ip_network(network),)))
    assert not is_allowed_url(url, OutboundPolicy(allowed_networks=(ip_network("10.0.0.0/8"),)))


@pytest.mark.parametrize("name", ["localhost.example.com", "mylocalhost", "localhosts.org"])
def test_other_names_with_that_word_are_allowed(name: str) -> None:
    assert is_allowed_url(f"http://{name}/", LIMITS)


@pytest.mark.parametrize(
    "escape", ["http://%6cocalhost/", "http://LOCALHOST./", "http://ⓛocalhost/", "http://loc\u00adalhost/"]
)
def test_an_escaped_name_is_decoded(escape: str) -> None:
    assert parse_url(escape, LIMITS) == Target("http", "localhost", 80, "/")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b?c", "https://example.com/b?c"),
        ("c", "https://example.com/a/c"),
        ("../c", "https://example.com/c"),
        ("//other.example/x", "https://other.example/x"),
        ("https://other.example/x#y", "https://other.example/x"),
        ("?q", "https://example.com/a/b?q"),
        ("", "https://example.com/a/b"),
    ],
)
def test_a_redirect_is_resolved_against_its_url(location: str, target: str) -> None:
    assert str(resolve_redirect(parse_url("https://example.com/a/b", LIMITS), location, LIMITS)) == target


@pytest.mark.parametrize(
    "location",
    [
        *("http://example.com/", "HTTP://example.com/", "ftp://example.com/", "file:///etc/passwd", "data:,x"),
        *(
            "//user@example.com/",
            "https://example.com:22/",
            "/a\tb",
            "/\r\nx",
            "//exa\nmple.com/",
            "\\\\evil",
            "http://[",
            "//[",
        ),
    ],
)
def test_a_redirect_is_checked_and_never_leaves_https(location: str) -> None:
    with pytest.raises(NetworkError) as refused:
        resolve_redirect(parse_url("https://example.com/a/b", LIMITS), location, LIMITS)
    assert refused.value.failure is Failure.NOT_ALLOWED


@given(
    st.text(alphabet=st.characters() | st.sampled_from("htps:/.@[]%0127x。\\"), max_size=40),
    st.sampled_from(["", "http://"]),
)
@example("[::1%]", "http://")
@settings(max_examples=examples(300), deadline=None)
def test_parsing_is_idempotent(text: str, start: str) -> None:
    try:
        target = parse_url(start + text, LIMITS)
    except NetworkError:
        return
    assert str(target).isascii()
    assert parse_url(str(target), LIMITS) == target


@pytest.mark.parametrize(
    "wrong",
    [
        {"total_seconds": 0},
        {"max_bytes": 0},
        {"dns_seconds": float("nan")},
        {"max_redirects": -1},
        {"allowed_ports": {0}},
    ],
)
def test_invalid_policies_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|a port is"):
        OutboundPolicy(**wrong)  # type: ignore[arg-type]
