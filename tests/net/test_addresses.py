"""The address rules as tables: blocked addresses, their allowed neighbours, and every IPv6 form that embeds IPv4."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpainting.net.addresses import SPECIAL_IPV4, is_allowed_by_exception, is_blocked
from tests.support.strategies import examples


def table(text: str) -> list[str]:
    return text.split()


REFUSED = table("""
0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255
127.0.0.0 127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2
169.254.255.255 172.16.0.0 172.16.0.1 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.170 192.0.0.192 192.0.0.255 192.0.2.0
192.0.2.1 192.0.2.255 192.88.99.0 192.88.99.1 192.88.99.255 192.168.0.0 192.168.0.1 192.168.255.255 198.18.0.0
198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.0 224.0.0.1 239.255.255.255 240.0.0.0
240.0.0.1 255.255.255.254 255.255.255.255
:: ::1 ::2 ::ffff ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 100:: 100::1 100:0:0:1::1 1fff:ffff:: 64:ff9a::1 64:ff9b:1::1
64:ff9b:1::808:808 64:ff9b:0:0:0:1:808:808 64:ff9c::1 2001::1 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1
2001:20::1 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8:: 2001:db8::1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 2002::
2002:808:808::1 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3ffe::1 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff::
3fff::1 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff 4000:: 4000::1 5f00::1 8000::1 c000::1 f000::1 fc00:: fc00::1 fd00::1
fd00:ec2::254 fd20:ce::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe00::1 fe80:: fe80::1 fe80::1%1 fe80::1%eth0
febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff fec0:: fec0::1 feff::1 ff00:: ff01::1 ff02::1 ff05::2 ff0e::1
ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2606:4700::1111%eth0
::ffff:0.0.0.0 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe ::ffff:100.64.0.1
::ffff:192.168.1.1 ::ffff:224.0.0.1 ::ffff:255.255.255.255 ::ffff:168.63.129.16
64:ff9b:: 64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::10.0.0.1 64:ff9b::c0a8:101 64:ff9b::e000:1
2002:7f00:1:: 2002:7f00:1::1 2002:a9fe:a9fe:: 2002:a00:1::1 2002:c0a8:101::c0a8:101
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:7f00:1:8000:63bf:f7f7:f7f7 2001:0:808:808:0:0:80ff:fffe
2a01:1:2:3:0:5efe:a00:1 2a01:1:2:3:0:5efe:10.0.0.1 2a01:1:2:3:200:5efe:7f00:1 2606:4700::5efe:a9fe:a9fe
2606:4700::100:5efe:c0a8:1 2606:4700::300:5efe:c0a8:1 2606:4700::200:5efe:0:0 ::ffff:0:7f00:1 ::ffff:0:808:808
""")

PASSED = table("""
1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0
192.0.1.255 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255
198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 185.199.108.133
2000::1 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200::1 2001:4860:4860::8888
2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2001:ffff::1 2003::1 2400:cb00::1 2606:4700:4700::1111
2620:fe::fe 2a00:1450:4001:81b::200e 2a01:1:2:3::1 3ffd:ffff::1 3fff:1000::1
3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::ffff:8.8.8.8 ::ffff:93.184.216.34 64:ff9b::808:808 64:ff9b::93.184.216.34
2a01:1:2:3:0:5efe:808:808 2a01:1:2:3:200:5efe:808:808 2a01:1:2:3:0:5eff:a00:1 2a01:1:2:3:400:5efe:a00:1
""")

NO_ADDRESSES = ["", "localhost", "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "1.2.3.4.5", "[::1]", "::1 ", "::g"]


def test_the_tables_have_no_duplicates() -> None:
    assert len(REFUSED) + len(PASSED) >= 150
    assert len({*REFUSED, *PASSED}) == len(REFUSED) + len(PASSED)


@pytest.mark.parametrize("address", REFUSED)
def test_special_addresses_are_blocked(address: str) -> None:
    assert is_blocked(address)


@pytest.mark.parametrize("address", PASSED)
def test_neighbouring_public_addresses_are_allowed(address: str) -> None:
    assert not is_blocked(address)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_text_that_is_no_address_is_blocked(text: str) -> None:
    assert is_blocked(text)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6) | st.ip_addresses(v=6, network="2000::/3"))
@settings(max_examples=examples(300), deadline=None)
def test_the_standard_librarys_private_addresses_are_blocked(address: IPv4Address | IPv6Address) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return  # checked as an IPv4 address
    if not address.is_global or address.is_multicast:
        assert is_blocked(str(address))


EMBEDDINGS: dict[str, Callable[[int], IPv6Address]] = {
    "mapped": lambda inner: IPv6Address(0xFFFF << 32 | inner),
    "translated": lambda inner: IPv6Address(0xFFFF << 48 | inner),
    "nat64": lambda inner: IPv6Address(0x64_FF9B << 96 | inner),
    "6to4": lambda inner: IPv6Address(0x2002 << 112 | inner << 80 | 1),
    "teredo client": lambda inner: IPv6Address(0x2001 << 112 | 0x0808_0808 << 64 | inner ^ 0xFFFF_FFFF),
    "teredo server": lambda inner: IPv6Address(0x2001 << 112 | inner << 64 | 0x0808_0808 ^ 0xFFFF_FFFF),
    "isatap": lambda inner: IPv6Address(0x2A01_0001 << 96 | 0x5EFE << 32 | inner),
    "isatap, universal": lambda inner: IPv6Address(0x2A01_0001 << 96 | 0x0200_5EFE << 32 | inner),
}


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("network", SPECIAL_IPV4, ids=str)
def test_embedded_special_addresses_are_blocked_even_in_an_allowed_network(
    network: IPv4Network, embedding: str
) -> None:
    for inner in (network[0], network[-1]):
        wrapped = str(EMBEDDINGS[embedding](int(inner)))
        assert is_blocked(wrapped)
        assert is_blocked(wrapped, allowed=[ip_network("::/0")])


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_an_allowed_network_allows_an_embedded_public_address(embedding: str) -> None:
    wrapped = str(EMBEDDINGS[embedding](int(ip_address("8.8.4.4"))))
    assert not is_blocked(wrapped, allowed=[ip_network("::/0")])


def test_an_allowed_network_allows_only_its_own_addresses() -> None:
    home = [ip_network("192.168.1.0/24"), ip_network("fd12::/16")]
    assert not is_blocked("192.168.1.7", allowed=home)
    assert not is_blocked("::ffff:192.168.1.7", allowed=home)
    assert not is_blocked("fd12::7", allowed=home)
    assert not is_blocked("8.8.8.8", allowed=home)
    assert is_blocked("192.168.2.7", allowed=home)
    assert is_blocked("192.168.0.255", allowed=home)
    assert is_blocked("fd13::7", allowed=home)
    assert is_blocked("127.0.0.1", allowed=home)
    assert is_blocked("169.254.169.254", allowed=home)


def test_addresses_allowed_by_exception_are_recognised() -> None:
    home = [ip_network("192.168.1.0/24"), ip_network("8.8.8.0/24")]
    assert is_allowed_by_exception("192.168.1.7", home)
    assert not is_allowed_by_exception("8.8.8.8", home)  # public anyway
    assert not is_allowed_by_exception("10.0.0.1", home)
