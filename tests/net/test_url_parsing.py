"""The strict parser for outbound URLs."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inpainting.net import OutboundPolicy, is_allowed_url
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.url_parsing import Target, parse_url, resolve_redirect

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

REFUSED = [
    *("", "/", "example.com", "//example.com/", "http:", "http:/example.com", "http://", "http:///x", "http://?q"),
    *(
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "data:image/png;base64,aGk=",
        "ws://example.com",
    ),
    *(
        "javascript:alert(1)",
        "httpx://example.com/",
        "jar:http://example.com!/",
        "http+unix://%2fvar%2frun%2fdocker.sock/",
    ),
    *("http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/", "http://:@example.com/"),
    *("http://example.com@127.0.0.1/", "http://example.com%40127.0.0.1/", "http://a@b@example.com/"),
    *("http://example.com:22/", "http://example.com:6379/", "http://example.com:0/", "http://example.com:65536/"),
    *("http://example.com:8080/", "http://example.com:-80/", "http://example.com:80:80/", "http://example.com:٨٠/"),
    *("http://example.com/\r\nX: y", "http://example.com\r\n/", "http://exa\tmple.com/", "http://example.com/\x00"),
    *(
        " http://example.com/",
        "http://example.com/ ",
        "http://example.com/a b",
        "http://exam ple.com/",
        "\thttp://a.b/",
    ),
    *("http://example.com\\@127.0.0.1/", "http:\\\\example.com/", "http://example.com/\\x", "http://example.com%5c/"),
    *(
        "http://example.com%00.evil.com/",
        "http://example.com%0d%0a/",
        "http://example.com%2f/",
        "http://example.com%3a80/",
    ),
    *("http://example%2525.com/", "http://example%25.com/", "http://%/", "http://%ff/", "http://exa%zzmple.com/"),
    *(
        "http://[::1",
        "http://::1/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[]/",
    ),
    *("http://[example.com]/", "http://[127.0.0.1]/", "http://[::1]:22/", "http://[1::2::3]/", "http://[[::1]]/"),
    *("http://256.1.1.1/", "http://1.2.3.4.5/", "http://08.0.0.1/", "http://1.2.3.256/", "http://4294967296/"),
    *(
        "http://1..2/",
        "http://0x100000000/",
        "http://1.2.65536/",
        "http://foo.1/",
        "http://foo.0x7f/",
        "http://1.2.3.4../",
    ),
    *(
        "http://a..b/",
        "http://.example.com/",
        "http://example.com../",
        "http://-a.com/",
        "http://a-.com/",
        "http://*.a.com/",
    ),
    *(f"http://{'a' * 64}.com/", f"http://{'a.' * 126}ab/", f"http://{'a' * 1025}/", f"http://{'%61' * 254}/"),
    *(
        "http://℀.example/",
        "http://example.com／evil/",
        "http://a\u2028b.com/",
        "http://a\ud800.com/",
        "http://a.com/\ud800",
    ),
    "http://example.com/" + "x" * 8192,
]

# Loopback, the metadata service and a private machine, in every spelling (attacks 79 to 95).
PRIVATE = [
    *(
        "http://127.0.0.1",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://127.0.1/",
    ),
    *(
        "http://0x7f000001/",
        "http://017700000001/",
        "http://0X7F.0x0.0.1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://0x/",
    ),
    *("http://127.0.0.1./", "http://127。0。0。1/", "http://127．0｡0。1/", "http://１２７.0.0.1/", "http://①②⑦.0.0.1/"),
    *("http://%31%32%37.0.0.1/", "http://127%2e0%2e0%2e1/", "http://169.254.169%2e254/", "http://169.254.169.254/"),
    *(
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://169.16689662/",
        "http://0251.0376.0251.0376/",
        "http://10.1/",
    ),
    *("http://192.168.1/", "http://100.64.0.1/", "http://[::1]/", "http://[::]/", "http://[0:0:0:0:0:0:0:1]/"),
    *(
        "http://[::ffff:10.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
    ),
    *("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[2a01:1:2:3:0:5efe:a00:1]/", "http://[fd00:ec2::254]/"),
    *(
        "http://[fe80::1]/",
        "http://[::127.0.0.1]/",
        "http://[ff02::1]/",
        "http://[fec0::1]/",
        "http://⑯⑨。②⑤④。⑯⑨｡②⑤④/",
    ),
]


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
@settings(max_examples=300, deadline=None)
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
