"""Resolving, checking and connecting: each host name is resolved once, and every resolved address is checked."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address

from inpainting.net.addresses import is_allowed_by_exception, is_blocked
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.outbound_policy import OutboundPolicy
from inpainting.net.url_parsing import Target

MAX_ADDRESSES_TRIED = 4
# A lookup blocks its thread until the system's resolver gives up, so concurrent lookups are limited.
RUNNING_LOOKUPS = threading.BoundedSemaphore(32)


class Deadline:
    """One point in time by which all steps of a request must have ended."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._end = self._start + seconds

    def seconds_left(self, at_most: float = float("inf")) -> float:
        """Return the seconds left, more than 0. Raises NetworkError(TIMEOUT) after the deadline."""
        left = self._end - self._clock()
        if left <= 0:
            raise NetworkError(Failure.TIMEOUT)
        return min(left, at_most)

    def elapsed(self) -> float:
        return self._clock() - self._start


def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a host name, using the system's resolver. Raises socket.gaierror if there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """Open a TCP connection to an IP address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return connection


def is_own_address(address: str) -> bool:
    """Return whether the address belongs to this machine. Connecting a datagram socket sends no packet."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return bool(ip_address(probe.getsockname()[0]) == ip_address(address))
    except OSError:  # no route to the address
        return False


@cache
def system_tls() -> ssl.SSLContext:
    """Return a context that checks certificates and host names. Cached: loading the system's CAs takes 25 ms."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class NetworkTransport:
    """The operating system's network functions; tests replace them."""

    resolve: Callable[[str, int], Sequence[str]] = resolve
    connect: Callable[[str, int, float], socket.socket] = connect
    is_own_address: Callable[[str], bool] = is_own_address
    tls: Callable[[], ssl.SSLContext] = system_tls


@dataclass(frozen=True, slots=True)
class Connection:
    socket: socket.socket
    address: str  # the peer's; it has passed the policy


@contextmanager
def open_connection(
    target: Target, policy: OutboundPolicy, transport: NetworkTransport, deadline: Deadline
) -> Iterator[Connection]:
    """Connect to the target, with TLS and certificate check for https, and close the connection on exit.

    The host name is resolved once, every address is checked, and the connection is made to a checked address, so a
    second DNS answer cannot redirect it. Raises NetworkError; NOT_ALLOWED if any address of the name is blocked, before
    a packet is sent to any of them.
    """
    addresses = _allowed_addresses(target, policy, transport, deadline)
    raw_socket, address = _connect_to_first(addresses, target.port, policy, transport, deadline)
    with closing(raw_socket):
        peer = _peer_address(raw_socket)
        if ip_address(peer) != ip_address(address) or is_blocked(peer, allowed=policy.allowed_networks):
            raise NetworkError(Failure.NOT_ALLOWED)
        if target.scheme == "http":
            yield Connection(raw_socket, address)
            return
        with closing(_start_tls(raw_socket, target.host, transport, deadline)) as tls_socket:
            yield Connection(tls_socket, address)


def _allowed_addresses(
    target: Target, policy: OutboundPolicy, transport: NetworkTransport, deadline: Deadline
) -> list[str]:
    if target.is_address:
        addresses = [target.host]
    else:
        addresses = list(_resolve_within(target, transport, deadline.seconds_left(policy.dns_seconds)))
        if not addresses:
            raise NetworkError(Failure.DNS_FAILED)
    own_name = target.host in policy.own_names
    for address in addresses:
        if is_allowed_by_exception(address, policy.allowed_networks):
            continue
        if is_blocked(address) or own_name or transport.is_own_address(address):
            raise NetworkError(Failure.NOT_ALLOWED)
    return addresses


def _resolve_within(target: Target, transport: NetworkTransport, seconds: float) -> Sequence[str]:
    """Resolve on another thread, because `getaddrinfo` has no timeout."""
    results: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(transport.resolve(target.host, target.port))
        except OSError:  # gaierror, or the resolver cannot be reached
            results.put(None)
        finally:
            RUNNING_LOOKUPS.release()

    if not RUNNING_LOOKUPS.acquire(timeout=seconds):
        raise NetworkError(Failure.TIMEOUT)
    threading.Thread(target=look_up, daemon=True, name="dns-lookup").start()
    try:
        found = results.get(timeout=seconds)
    except queue.Empty as error:
        raise NetworkError(Failure.TIMEOUT) from error
    if found is None:
        raise NetworkError(Failure.DNS_FAILED)
    return found


def _connect_to_first(
    addresses: Sequence[str], port: int, policy: OutboundPolicy, transport: NetworkTransport, deadline: Deadline
) -> tuple[socket.socket, str]:
    """Connect to the first address that accepts. Raises the failure of the last attempt if none does."""
    failure = Failure.CONNECT_FAILED
    for address in addresses[:MAX_ADDRESSES_TRIED]:
        try:
            return transport.connect(address, port, deadline.seconds_left(policy.connect_seconds)), address
        except TimeoutError:
            failure = Failure.TIMEOUT
        except OSError:
            failure = Failure.CONNECT_FAILED
    raise NetworkError(failure)


def _peer_address(raw_socket: socket.socket) -> str:
    try:
        return str(raw_socket.getpeername()[0])
    except OSError as error:
        raise NetworkError(Failure.CLOSED) from error


def _start_tls(raw_socket: socket.socket, name: str, transport: NetworkTransport, deadline: Deadline) -> ssl.SSLSocket:
    raw_socket.settimeout(deadline.seconds_left())
    try:
        return transport.tls().wrap_socket(raw_socket, server_hostname=name)
    except TimeoutError as error:
        raise NetworkError(Failure.TIMEOUT) from error
    except ssl.SSLError as error:
        raise NetworkError(Failure.TLS_FAILED) from error
    except OSError as error:
        raise NetworkError(Failure.CLOSED) from error
