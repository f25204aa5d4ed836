"""The IP addresses that outbound requests may reach: public ones, also embedded in IPv6 transition addresses.

The standard library's `is_global` and `is_private` differ between Python versions and accept multicast, site-local and
translated addresses. The tables here follow the registries of special-purpose addresses (RFC 6890;
https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SPECIAL_IPV4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # behind a provider's NAT, RFC 6598; Alibaba's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's WireServer: a public address that is routed to the host itself
        "169.254.0.0/16",  # link-local; the clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated by RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]

# All global unicast addresses that IANA allocates are in 2000::/3 (RFC 4291 section 2.4), with these exceptions.
GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL_IPV6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, anycast relays
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: the nearest relay decides where the packet goes
        "3ffe::/16",  # 6bone, returned to IANA (RFC 3701)
        "3fff::/20",  # documentation, RFC 9637
    )
]
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how an IPv6-only host reaches IPv4 addresses
TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
# RFC 5214 section 6.1: these 32 bits, then an IPv4 address. The two masked bits are "universal" and "group".
ISATAP, ISATAP_MASK = 0x0000_5EFE, 0xFCFF_FFFF


def is_blocked(address: str, *, allowed: Iterable[Network] = ()) -> bool:
    """Return whether requests to `address`, an IPv4 or IPv6 address as text, are blocked.

    allowed: special networks that the administrator allows. An IPv4 address embedded in an IPv6 address must be allowed
        by itself. Text that is not an address and addresses with a zone index are blocked.
    """
    try:
        outer = ip_address(address)
    except ValueError:
        return True
    if isinstance(outer, IPv6Address) and outer.scope_id is not None:
        return True
    allowed_networks = tuple(allowed)
    return any(_is_special(part) and not _is_in(part, allowed_networks) for part in _embedded_addresses(outer))


def is_allowed_by_exception(address: str, allowed: Iterable[Network]) -> bool:
    """Return whether the address is reachable only because the administrator allowed its network."""
    return is_blocked(address) and not is_blocked(address, allowed=allowed)


def _embedded_addresses(address: Address) -> Iterator[Address]:
    """Yield the address itself and each IPv4 address that a tunnel or translator would extract from it."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:  # the kernel connects over IPv4
        yield address.ipv4_mapped
        return
    yield address
    bits = int(address)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (bits >> 32) & ISATAP_MASK == ISATAP or address in NAT64 or address in TRANSLATED:
        yield IPv4Address(bits & 0xFFFF_FFFF)


def _is_special(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return _is_in(address, SPECIAL_IPV4)
    if address in NAT64:
        return False  # depends on the embedded IPv4 address alone
    return address not in GLOBAL_UNICAST or _is_in(address, SPECIAL_IPV6)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
