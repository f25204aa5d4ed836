"""The address of a client, by which connections and downloads are counted."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings


def client_address(peer: str, forwarded_for: str) -> str:
    """Return the peer's address, or the one that the trusted proxy names in X-Forwarded-For.

    The last entry is the proxy's own; earlier ones are whatever the client sent. A host on IPv6 usually has the 2^64
    addresses of a network, so its network is returned (RFC 6177).
    """
    named = forwarded_for.rpartition(",")[2].strip() if settings.BEHIND_TLS else ""
    try:
        address = ip_address(named or peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))
    return str(address)
