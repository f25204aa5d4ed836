"""Host names and addresses of this machine, for ALLOWED_HOSTS when the server listens on all interfaces."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
ALL_INTERFACES = {"0.0.0.0", "::", "[::]", ""}  # noqa: S104 - compared with, not bound to


def is_loopback(bind_host: str) -> bool:
    """Return True for an address that only this machine can reach: localhost, 127.0.0.0/8, ::1."""
    if bind_host == "localhost":
        return True
    try:
        return ip_address(bind_host.strip("[]")).is_loopback
    except ValueError:  # a name, which may resolve to any address
        return False


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def own_hosts(bind_host: str) -> list[str]:
    """Return the Host headers to accept for a server bound to `bind_host`, never a wildcard."""
    if bind_host not in ALL_INTERFACES:
        bare = bind_host.strip("[]")
        return [*LOOPBACK, f"[{bare}]" if ":" in bare else bare]
    name = socket.gethostname()
    hosts = {*LOOPBACK, name.lower(), f"{name.lower()}.local", socket.getfqdn().lower()}
    with suppress(socket.gaierror):  # the resolver may not know this machine's name
        hosts.update(str(address[4][0]) for address in socket.getaddrinfo(name, None, family=socket.AF_INET))
    # The address of the interface with the default route. Connecting a datagram socket sends no packet.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):  # there may be no route
        probe.connect(("192.0.2.1", 9))
        hosts.add(probe.getsockname()[0])
    return sorted(hosts)
