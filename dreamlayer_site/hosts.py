"""The names and addresses by which this machine may be asked for when it listens on all of them."""

from __future__ import annotations

import socket
from contextlib import suppress

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
EVERYWHERE = {"0.0.0.0", "::", "[::]", ""}  # noqa: S104 - compared with, not bound to


def own_hosts(bind_host: str) -> list[str]:
    """Host headers to accept for a server bound to `bind_host`: never a wildcard."""
    if bind_host not in EVERYWHERE:
        return [*LOOPBACK, bind_host]
    name = socket.gethostname()
    hosts = {*LOOPBACK, name.lower(), f"{name.lower()}.local", socket.getfqdn().lower()}
    with suppress(socket.gaierror):  # a machine that its own resolver does not know still has its loopback names
        hosts.update(str(address[4][0]) for address in socket.getaddrinfo(name, None, family=socket.AF_INET))
    # The address of the interface that faces out; connecting a datagram socket sends nothing.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):  # no route out: none to add
        probe.connect(("192.0.2.1", 9))
        hosts.add(probe.getsockname()[0])
    return sorted(hosts)
