"""A URL as text becomes a target, or nothing: one strict reading, so that what is checked is what is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes, urljoin

import idna

from inpainting.net.addresses import refuses
from inpainting.net.failures import Failed, Failure
from inpainting.net.limits import Limits

MAX_URL_CHARACTERS = 8_192
MAX_HOST_CHARACTERS = 253  # RFC 1035 section 2.3.4, without the root's dot
# Spaces, controls, lone surrogates, and the backslash that browsers read as a slash: readers disagree on all of them.
DISPUTED = re.compile("[\x00-\x20\x7f-\xa0\\\\\u2028\u2029\ufeff\ud800-\udfff]")
URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<rest>[^#]*)", re.IGNORECASE)
AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:@]+)(?::(?P<port>[0-9]{0,5}))?")
# RFC 1123 section 2.1, and the underscore that many picture hosts use.
NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. `host`: a lower-case ASCII name, or an IP address in its one usual form, without brackets."""

    scheme: str
    host: str
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


def read_url(url: str, limits: Limits) -> Target:
    """The target of an http or https URL on a port that is open to us. Raises Failed(NOT_ALLOWED) for anything else."""
    whole = URL.match(url)
    if len(url) > MAX_URL_CHARACTERS or DISPUTED.search(url) or whole is None:
        raise Failed(Failure.NOT_ALLOWED)
    authority = AUTHORITY.fullmatch(whole["authority"])
    if authority is None:
        raise Failed(Failure.NOT_ALLOWED)
    scheme = whole["scheme"].lower()
    port = int(authority["port"] or DEFAULT_PORTS[scheme])
    if port not in limits.ports:
        raise Failed(Failure.NOT_ALLOWED)
    path = whole["rest"] if whole["rest"].startswith("/") else f"/{whole['rest']}"
    path = "".join(letter if letter.isascii() else quote(letter) for letter in path)
    return Target(scheme, _read_host(authority["host"]), port, path)


def follow(target: Target, location: str, limits: Limits) -> Target:
    """Where a redirect leads, by the same rules; never from https down to http. Raises Failed(NOT_ALLOWED)."""
    if DISPUTED.search(location):  # before joining, which would take some of them out in silence
        raise Failed(Failure.NOT_ALLOWED)
    try:
        joined = urljoin(str(target), location)
    except ValueError as wrong:  # brackets that do not close
        raise Failed(Failure.NOT_ALLOWED) from wrong
    following = read_url(joined, limits)
    if target.scheme == "https" and following.scheme == "http":
        raise Failed(Failure.NOT_ALLOWED)
    return following


def may_be_called(url: str, limits: Limits) -> bool:
    """Whether this URL could ever be called, as far as its text tells: nothing is looked up and nothing is sent.

    For a webhook's URL on the day it is given; the addresses behind its name are judged at each delivery.
    """
    try:
        target = read_url(url, limits)
    except Failed:
        return False
    return not (target.is_address and refuses(target.host, allowed=limits.allowed_networks))


def _read_host(text: str) -> str:
    """The host as whatever connects would understand it: escapes, look-alike dots and odd numbers resolved."""
    if text.startswith("["):
        try:
            return _ipv6_text(IPv6Address(text[1:-1]))
        except AddressValueError as wrong:
            raise Failed(Failure.NOT_ALLOWED) from wrong
    if len(text) > 3 * MAX_HOST_CHARACTERS:  # each character escaped; longer is refused before it costs anything
        raise Failed(Failure.NOT_ALLOWED)
    try:
        host = unquote_to_bytes(text).decode("utf-8")
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError as wrong:  # idna's own errors are among them
        raise Failed(Failure.NOT_ALLOWED) from wrong
    host = host.lower().removesuffix(".")
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        return str(_read_ipv4(host))
    if NAME.fullmatch(host) is None:
        raise Failed(Failure.NOT_ALLOWED)
    return host


def _ipv6_text(address: IPv6Address) -> str:
    """The shortest form, in hexadecimal throughout: Python 3.13 writes IPv4-mapped addresses as ::ffff:8.8.8.8."""
    if address.ipv4_mapped is None:
        return str(address)
    high, low = divmod(int(address.ipv4_mapped), 2**16)
    return f"::ffff:{high:x}:{low:x}"


def _read_ipv4(host: str) -> IPv4Address:
    """127.1, 0177.0.0.1, 0x7f.1 and 2130706433 are all 127.0.0.1 (https://url.spec.whatwg.org/#concept-ipv4-parser)."""
    parts = host.split(".")
    if len(parts) > 4 or not all(NUMBER.fullmatch(part) for part in parts):
        raise Failed(Failure.NOT_ALLOWED)
    try:
        *high, low = [_read_number(part) for part in parts]
    except ValueError as wrong:  # an 8 or 9 in an octal number
        raise Failed(Failure.NOT_ALLOWED) from wrong
    if any(number > 255 for number in high) or low >= 256 ** (4 - len(high)):
        raise Failed(Failure.NOT_ALLOWED)
    return IPv4Address(low + sum(number << 8 * (3 - place) for place, number in enumerate(high)))


def _read_number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)
