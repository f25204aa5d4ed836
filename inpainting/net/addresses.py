"""Which IP addresses may be called: public ones, looked at through every wrapping an IPv4 address can travel in.

The standard library's `is_global` and `is_private` change from one Python to the next and let multicast, site-local and
translated addresses pass, so the tables are our own, from the registries of special-purpose addresses (RFC 6890;
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
        "168.63.129.16/32",  # Azure's WireServer: a public number that never leaves the host
        "169.254.0.0/16",  # link-local; the clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, withdrawn by RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]

# All of IPv6 that is handed out lies in 2000::/3 (RFC 4291 section 2.4); what is special inside it is named here.
GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL_IPV6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, anycast relays
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: where it comes out is for the nearest relay to say
        "3ffe::/16",  # the 6bone, given back (RFC 3701)
        "3fff::/20",  # documentation, RFC 9637
    )
]
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the way out for a machine that has IPv6 alone
TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
# RFC 5214 section 6.1: these 32 bits, then an IPv4 address. The two bits masked out mean "universal" and "group".
ISATAP, ISATAP_MASK = 0x0000_5EFE, 0xFCFF_FFFF


def refuses(address: str, *, allowed: Iterable[Network] = ()) -> bool:
    """Whether nothing may be sent to `address`, an IPv4 or IPv6 address as text.

    `allowed`: an administrator's networks, open although they are special. They open an address for itself alone: what
    another address carries inside is judged on its own. Text that is no address, or names an interface, is refused.
    """
    try:
        outer = ip_address(address)
    except ValueError:
        return True
    if isinstance(outer, IPv6Address) and outer.scope_id is not None:
        return True
    opened = tuple(allowed)
    return any(_special(part) and not _within(part, opened) for part in _parts(outer))


def opened_by(address: str, allowed: Iterable[Network]) -> bool:
    """Whether it is an administrator's network alone that lets this address be called."""
    return refuses(address) and not refuses(address, allowed=allowed)


def _parts(address: Address) -> Iterator[Address]:
    """The address itself, then each IPv4 address that a tunnel or translator would take out of it."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:  # no address of its own: the kernel connects by IPv4
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


def _special(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return _within(address, SPECIAL_IPV4)
    if address in NAT64:
        return False  # as good as what it carries
    return address not in GLOBAL_UNICAST or _within(address, SPECIAL_IPV6)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
