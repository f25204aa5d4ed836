"""The address by which a client is counted."""

from __future__ import annotations

from typing import Any

import pytest

from dreamlayer_site.client_address import client_address


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(peer: str, counted: str) -> None:
    assert client_address(peer, "198.51.100.7") == counted


@pytest.mark.parametrize("header", ["198.51.100.7", "203.0.113.9,198.51.100.7", "nonsense, 198.51.100.7 "])
def test_the_last_address_of_a_proxy_counts(settings: Any, header: str) -> None:
    settings.BEHIND_TLS = True
    assert client_address("127.0.0.1", header) == "198.51.100.7"
    assert client_address("127.0.0.1", "") == "127.0.0.1"
    assert client_address("127.0.0.1", "198.51.100.7, nonsense") == "127.0.0.1"
