"""From a target to a connected socket: each name looked up once, every answer judged, and what was judged dialled."""

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

from inpainting.net.addresses import opened_by, refuses
from inpainting.net.failures import Failed, Failure
from inpainting.net.limits import Limits
from inpainting.net.urls import Target

MOST_ADDRESSES_DIALLED = 4
# A name server that never answers holds its thread for as long as the system's resolver likes; this many, no more.
LOOKUPS = threading.BoundedSemaphore(32)


class Deadline:
    """One moment that a whole conversation must end by, however slowly its parts drip."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._end = self._start + seconds

    def left(self, at_most: float = float("inf")) -> float:
        """Seconds left, more than 0. Raises Failed(TIMEOUT) when there are none."""
        left = self._end - self._clock()
        if left <= 0:
            raise Failed(Failure.TIMEOUT)
        return min(left, at_most)

    def elapsed(self) -> float:
        return self._clock() - self._start


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name, by the system's resolver. Raises socket.gaierror when there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in found))


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to an address, never to a name."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return connection


def is_own(address: str) -> bool:
    """Whether the address is one of this machine's own. Connecting a datagram socket sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return bool(ip_address(probe.getsockname()[0]) == ip_address(address))
    except OSError:  # no way there at all
        return False


@cache
def system_tls() -> ssl.SSLContext:
    """Certificates and names checked, against the authorities that this system trusts (reading them takes 25 ms)."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Outside:
    """How the network is reached: the real one unless a test puts another in its place."""

    look_up: Callable[[str, int], Sequence[str]] = look_up
    connect: Callable[[str, int, float], socket.socket] = connect
    is_own: Callable[[str], bool] = is_own
    tls: Callable[[], ssl.SSLContext] = system_tls


@dataclass(frozen=True, slots=True)
class Connection:
    socket: socket.socket
    address: str  # the one that was judged, dialled, and found at the other end


@contextmanager
def connected(target: Target, limits: Limits, outside: Outside, deadline: Deadline) -> Iterator[Connection]:
    """A connection to the target, closed at the end; encrypted, and its certificate checked, if the target says https.

    Raises Failed: NOT_ALLOWED if any address of the name is refused, before a packet is sent to any of them.
    """
    addresses = _judged_addresses(target, limits, outside, deadline)
    plain, address = _dial(addresses, target.port, limits, outside, deadline)
    with closing(plain):
        peer = _peer_of(plain)
        if ip_address(peer) != ip_address(address) or refuses(peer, allowed=limits.allowed_networks):
            raise Failed(Failure.NOT_ALLOWED)
        if target.scheme == "http":
            yield Connection(plain, address)
            return
        with closing(_encrypted(plain, target.host, outside, deadline)) as secret:
            yield Connection(secret, address)


def _judged_addresses(target: Target, limits: Limits, outside: Outside, deadline: Deadline) -> list[str]:
    if target.is_address:
        addresses = [target.host]
    else:
        addresses = list(_look_up_within(target, outside, deadline.left(limits.dns_seconds)))
        if not addresses:
            raise Failed(Failure.DNS_FAILED)
    own_name = target.host in limits.own_names
    for address in addresses:
        if opened_by(address, limits.allowed_networks):
            continue
        if refuses(address) or own_name or outside.is_own(address):
            raise Failed(Failure.NOT_ALLOWED)
    return addresses


def _look_up_within(target: Target, outside: Outside, seconds: float) -> Sequence[str]:
    """The system's resolver takes no time limit, so it works on a thread that we stop waiting for."""
    answers: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(outside.look_up(target.host, target.port))
        except OSError:  # gaierror, or no resolver to be reached
            answers.put(None)
        finally:
            LOOKUPS.release()

    if not LOOKUPS.acquire(timeout=seconds):
        raise Failed(Failure.TIMEOUT)
    threading.Thread(target=ask, daemon=True, name="look-up").start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty as late:
        raise Failed(Failure.TIMEOUT) from late
    if found is None:
        raise Failed(Failure.DNS_FAILED)
    return found


def _dial(
    addresses: Sequence[str], port: int, limits: Limits, outside: Outside, deadline: Deadline
) -> tuple[socket.socket, str]:
    """The first address that answers; the last one's failure when none does."""
    failure = Failure.CONNECT_FAILED
    for address in addresses[:MOST_ADDRESSES_DIALLED]:
        try:
            return outside.connect(address, port, deadline.left(limits.connect_seconds)), address
        except TimeoutError:
            failure = Failure.TIMEOUT
        except OSError:
            failure = Failure.CONNECT_FAILED
    raise Failed(failure)


def _peer_of(plain: socket.socket) -> str:
    try:
        return str(plain.getpeername()[0])
    except OSError as gone:
        raise Failed(Failure.CLOSED) from gone


def _encrypted(plain: socket.socket, name: str, outside: Outside, deadline: Deadline) -> ssl.SSLSocket:
    plain.settimeout(deadline.left())
    try:
        return outside.tls().wrap_socket(plain, server_hostname=name)
    except TimeoutError as late:
        raise Failed(Failure.TIMEOUT) from late
    except ssl.SSLError as wrong:
        raise Failed(Failure.TLS_FAILED) from wrong
    except OSError as gone:
        raise Failed(Failure.CLOSED) from gone
