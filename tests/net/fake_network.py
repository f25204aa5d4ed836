"""A fake internet for the tests: real sockets on loopback that appear to have public addresses."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from inpainting.net import NetworkTransport

PUBLIC, OTHER_PUBLIC, PUBLIC_IPV6 = "93.184.216.34", "8.8.4.4", "2606:4700:4700::1111"
Handler = Callable[[socket.socket, bytes], None]
SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def answer(status: str, body: bytes = b"", **headers: str) -> Handler:
    """Return a handler that sends a response and closes. Header names are written with underscores."""
    lines = {"content_length": str(len(body)), **headers}
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return raw(head.encode() + b"\r\n" + body)


def raw(data: bytes) -> Handler:
    return lambda visitor, request: visitor.sendall(data)


def silent(visitor: socket.socket, request: bytes) -> None:
    while visitor.recv(1024):
        pass


class Listener:
    """A server on loopback. `visitors()` counts the connections; `requests` holds what they sent.

    greeting: bytes sent before the request, as mail servers do.
    """

    def __init__(
        self, handle: Handler, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, greeting: bytes = b""
    ) -> None:
        self.requests: list[bytes] = []
        self._handle = handle
        self._greeting = greeting
        self._tls = tls
        self._seen: list[object] = []
        self._own_connections: set[object] = set()
        self._news = threading.Condition()
        self._stopping = False
        self._socket = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        socket.create_connection((self.host, self.port)).close()
        for thread in self._threads:
            thread.join(timeout=20)
        self._socket.close()

    def visitors(self) -> int:
        """Connect, so that all earlier connections have been accepted, and count those of others."""
        with socket.create_connection((self.host, self.port)) as own, self._news:
            self._own_connections.add(own.getsockname())
            assert self._news.wait_for(lambda: own.getsockname() in self._seen, timeout=20)
            return len([name for name in self._seen if name not in self._own_connections])

    def _accept(self) -> None:
        while True:
            visitor, name = self._socket.accept()
            if self._stopping:
                visitor.close()
                return
            with self._news:
                self._seen.append(name)
                self._news.notify_all()
            thread = threading.Thread(target=self._serve, args=(visitor,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, visitor: socket.socket) -> None:
        with visitor, suppress(OSError):  # the client may disconnect at any time
            if self._tls is not None:
                with self._tls.wrap_socket(visitor, server_side=True) as secret:
                    self._talk(secret)
            else:
                self._talk(visitor)

    def _talk(self, visitor: socket.socket) -> None:
        visitor.sendall(self._greeting)
        request = read_request(visitor)
        if request:
            self.requests.append(request)
            self._handle(visitor, request)


def read_request(visitor: socket.socket) -> bytes:
    """Read a request with its body, or less if the client disconnects."""
    request = b""
    while b"\r\n\r\n" not in request or len(request.partition(b"\r\n\r\n")[2]) < promised_length(request):
        part = visitor.recv(65536)
        if not part:
            return request
        request += part
    return request


def promised_length(request: bytes) -> int:
    lines = request.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


class PublicPeerSocket(socket.socket):
    """A connection to loopback whose `getpeername` returns a public address."""

    peer: tuple[str, int]

    def getpeername(self) -> tuple[str, int]:
        return self.peer


@dataclass
class FakeNetwork:
    """Host names with their addresses, and the listener behind each address.

    names: a list of addresses for each lookup of a name, so that answers can change. own: this machine's address.
    """

    names: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    machines: Mapping[tuple[str, int], Listener] = field(default_factory=dict)
    trusted: ssl.SSLContext | None = None
    own: str = ""
    resolved: list[str] = field(default_factory=list)
    connections: list[tuple[str, int]] = field(default_factory=list)

    def transport(self) -> NetworkTransport:
        return NetworkTransport(self.resolve, self.connect, lambda address: address == self.own, self.tls)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.resolved.append(host)
        answers = self.names[host]
        return answers[min(self.resolved.count(host), len(answers)) - 1]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connections.append((address, port))
        if (address, port) not in self.machines:
            raise ConnectionRefusedError
        listener = self.machines[address, port]
        plain = socket.create_connection((listener.host, listener.port), timeout=seconds)
        abroad = PublicPeerSocket(plain.family, plain.type, fileno=plain.detach())
        abroad.peer = (address, port)
        return abroad

    def tls(self) -> ssl.SSLContext:
        assert self.trusted is not None
        return self.trusted


@dataclass(frozen=True)
class Authority:
    """A certificate authority for one test run."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def trusting(self) -> ssl.SSLContext:
        """Return a client context that trusts only this authority, as strict in every Python as the default of 3.13."""
        context = ssl.create_default_context(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    def serving(self, name: str, *, valid_days: int = 1) -> ssl.SSLContext:
        """Return a server context with a certificate for `name`; a negative number of days makes it expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=valid_days)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, end) - datetime.timedelta(days=2))
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory() as folder:
            chain = Path(folder, "chain.pem")
            chain.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
            context.load_cert_chain(chain)
        return context


@cache
def authority(name: str = "Test authority") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(SIGNS_CERTIFICATES, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
