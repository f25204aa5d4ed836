"""The policy for outbound requests: allowed addresses, time limits and size limits."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from inpainting.net.addresses import Network

DEFAULT_OPEN_PORTS = frozenset({80, 443})


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """The rules of one outbound request. Raises ValueError for values out of range."""

    # `allowed_networks`, `allowed_ports`: allowed by the administrator besides public addresses and ports 80 and 443.
    allowed_networks: tuple[Network, ...] = ()
    allowed_ports: frozenset[int] = frozenset()
    # Host names of this site, in lower case; refused unless their addresses are in allowed_networks.
    own_names: frozenset[str] = frozenset()
    max_bytes: int = 32 * 2**20
    max_redirects: int = 3
    total_seconds: float = 15.0  # from parsing the URL to the last byte, redirects included
    connect_seconds: float = 3.0  # per address
    dns_seconds: float = 3.0

    def __post_init__(self) -> None:
        for port in self.allowed_ports:
            if not 1 <= port <= 65_535:
                raise ValueError(f"a port must be 1 to 65535, got {port}")
        for name in ("max_bytes", "total_seconds", "connect_seconds", "dns_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.max_redirects < 0:
            raise ValueError(f"max_redirects must be 0 or more, got {self.max_redirects}")

    @property
    def ports(self) -> frozenset[int]:
        return DEFAULT_OPEN_PORTS | self.allowed_ports


def site_policy() -> OutboundPolicy:
    """Return the policy of this site's settings: ALLOWED_NETWORKS, ALLOWED_PORTS and ALLOWED_HOSTS."""
    return OutboundPolicy(
        allowed_networks=tuple(settings.ALLOWED_NETWORKS),
        allowed_ports=frozenset(settings.ALLOWED_PORTS),
        own_names=frozenset(name.lower() for name in settings.ALLOWED_HOSTS),
    )
