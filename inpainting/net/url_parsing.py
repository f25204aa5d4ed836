"""One strict parser for outbound URLs, so that the host that is checked is the host that is connected to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes, urljoin

import idna

from inpainting.net.addresses import is_blocked
from inpainting.net.network_errors import Failure, NetworkError
from inpainting.net.outbound_policy import OutboundPolicy

MAX_URL_CHARACTERS = 8_192
MAX_HOST_CHARACTERS = 253  # RFC 1035 section 2.3.4, without the trailing dot
# Spaces, control characters, lone surrogates, and the backslash, which browsers treat as a slash: parsers disagree.
AMBIGUOUS_CHARACTERS = re.compile("[\x00-\x20\x7f-\xa0\\\\\u2028\u2029\ufeff\ud800-\udfff]")
URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<rest>[^#]*)", re.IGNORECASE)
AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:@]+)(?::(?P<port>[0-9]{0,5}))?")
# RFC 1123 section 2.1, and the underscore, which many image hosts use.
NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
LOOPBACK_NAME = re.compile(r"(?:.*\.)?localhost|localhost\.localdomain|localhost[46]|ip6-(?:localhost|loopback)")
"""RFC 6761 section 6.3, and the names in the /etc/hosts of Debian and Fedora."""
LOOPBACK = ("127.0.0.1", "::1")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL."""

    scheme: str
    host: str  # a lower-case ASCII name, or an IP address in its canonical form, without brackets
    port: int
    path: str  # with the query; ASCII, starts with a slash

    @property
    def is_address(self) -> bool:
        return ":" in self.host or NUMBER.fullmatch(self.host.rpartition(".")[2]) is not None

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.path}"


def parse_url(url: str, policy: OutboundPolicy) -> Target:
    """Parse an http or https URL with an allowed port. Raises NetworkError(NOT_ALLOWED) for anything else."""
    whole = URL.match(url)
    if len(url) > MAX_URL_CHARACTERS or AMBIGUOUS_CHARACTERS.search(url) or whole is None:
        raise NetworkError(Failure.NOT_ALLOWED)
    authority = AUTHORITY.fullmatch(whole["authority"])
    if authority is None:
        raise NetworkError(Failure.NOT_ALLOWED)
    scheme = whole["scheme"].lower()
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if port not in policy.ports:
        raise NetworkError(Failure.NOT_ALLOWED)
    path = whole["rest"] if whole["rest"].startswith("/") else f"/{whole['rest']}"
    path = "".join(letter if letter.isascii() else quote(letter) for letter in path)
    return Target(scheme, _parse_host(authority["host"]), port, path)


def resolve_redirect(target: Target, location: str, policy: OutboundPolicy) -> Target:
    """Parse a Location header by the same rules. Raises NetworkError(NOT_ALLOWED), also for https to http."""
    if AMBIGUOUS_CHARACTERS.search(location):  # before `urljoin`, which silently removes some of them
        raise NetworkError(Failure.NOT_ALLOWED)
    try:
        joined = urljoin(str(target), location)
    except ValueError as error:  # unbalanced brackets
        raise NetworkError(Failure.NOT_ALLOWED) from error
    following = parse_url(joined, policy)
    if target.scheme == "https" and following.scheme == "http":
        raise NetworkError(Failure.NOT_ALLOWED)
    return following


def host_of(url: str, policy: OutboundPolicy) -> str:
    """Return the host of a URL in its canonical form, however it is spelled; "" for a URL that is not allowed."""
    try:
        return parse_url(url, policy).host
    except NetworkError:
        return ""


def is_allowed_url(url: str, policy: OutboundPolicy) -> bool:
    """Return whether the text of a URL is allowed, without resolving its host. Names of this machine are refused.

    Used when a webhook URL is submitted; the addresses of its host are checked at each delivery.
    """
    try:
        target = parse_url(url, policy)
    except NetworkError:
        return False
    if target.is_address:
        addresses: tuple[str, ...] = (target.host,)
    elif LOOPBACK_NAME.fullmatch(target.host):
        addresses = LOOPBACK
    else:
        return True
    return not all(is_blocked(address, allowed=policy.allowed_networks) for address in addresses)


def _parse_host(text: str) -> str:
    """Return the host that a connecting client would use: percent escapes, Unicode and numeric IPv4 forms decoded."""
    if text.startswith("["):
        try:
            return _ipv6_text(IPv6Address(text[1:-1]))
        except AddressValueError as error:
            raise NetworkError(Failure.NOT_ALLOWED) from error
    if len(text) > 3 * MAX_HOST_CHARACTERS:  # every character percent-encoded
        raise NetworkError(Failure.NOT_ALLOWED)
    try:
        host = unquote_to_bytes(text).decode("utf-8")
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError as error:  # idna's errors are subclasses
        raise NetworkError(Failure.NOT_ALLOWED) from error
    host = host.lower().removesuffix(".")
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        return str(_parse_ipv4(host))
    if NAME.fullmatch(host) is None:
        raise NetworkError(Failure.NOT_ALLOWED)
    return host


def _ipv6_text(address: IPv6Address) -> str:
    """Return the compressed form, hexadecimal in every Python version: 3.13 formats IPv4-mapped as ::ffff:8.8.8.8."""
    if address.ipv4_mapped is None:
        return str(address)
    high, low = divmod(int(address.ipv4_mapped), 2**16)
    return f"::ffff:{high:x}:{low:x}"


def _parse_ipv4(host: str) -> IPv4Address:
    """Parse all forms: 127.1, 0177.0.0.1, 0x7f.1 and 2130706433 are 127.0.0.1 (url.spec.whatwg.org, IPv4 parser)."""
    parts = host.split(".")
    if len(parts) > 4 or not all(NUMBER.fullmatch(part) for part in parts):
        raise NetworkError(Failure.NOT_ALLOWED)
    try:
        *high, low = [_parse_number(part) for part in parts]
    except ValueError as error:  # an 8 or 9 in an octal number
        raise NetworkError(Failure.NOT_ALLOWED) from error
    if any(number > 255 for number in high) or low >= 256 ** (4 - len(high)):
        raise NetworkError(Failure.NOT_ALLOWED)
    return IPv4Address(low + sum(number << 8 * (3 - place) for place, number in enumerate(high)))


def _parse_number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)
