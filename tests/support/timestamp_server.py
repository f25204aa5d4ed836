"""A server of time stamps (RFC 3161), whose answers OpenSSL makes."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from inpainting.media import signing

CONFIGURATION = """
[server]
serial = {folder}/serial
signer_cert = {folder}/server.pem
signer_key = {folder}/server.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@dataclass
class TimestampService:
    """`answers`: what it does with each query: time (a time stamp), status (an error of HTTP), noise (other bytes)."""

    folder: Path
    answers: str = "time"
    queries: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tsr"

    def answer(self, query: bytes) -> tuple[int, bytes]:
        self.queries.append(query)
        if self.answers != "time":
            return (500 if self.answers == "status" else 200), b"noise"
        (self.folder / "query").write_bytes(query)
        options = ["-reply", "-queryfile", "query", "-config", "configuration", "-section", "server"]
        made = subprocess.run(["openssl", "ts", *options], cwd=self.folder, capture_output=True, check=True)
        return 200, made.stdout


@contextmanager
def timestamp_service(folder: Path) -> Iterator[TimestampService]:
    """Run a server with a key and a certificate of its own in an empty folder."""
    write_identity(folder)
    (folder / "serial").write_text("01")
    (folder / "configuration").write_text(CONFIGURATION.format(folder=folder))
    service = TimestampService(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = service.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield service
        server.shutdown()


def write_identity(folder: Path) -> None:
    """Write a key, and its certificate of an authority for time stamps alone (RFC 3161, section 2.3)."""
    authority, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    issuer, now = signing.name("authority of time stamps"), datetime.now(UTC)
    dates = now - timedelta(days=1), now + timedelta(days=9)
    own = x509.CertificateBuilder(issuer, signing.name("time stamps"), key.public_key(), 7, *dates)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
        (x509.KeyUsage(True, *[False] * 8), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False),
    ):
        own = own.add_extension(extension, critical)
    (folder / "server.pem").write_bytes(signing.certificate_pem(own.sign(authority, hashes.SHA256())))
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
