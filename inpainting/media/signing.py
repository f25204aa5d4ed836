"""Signs results with Content Credentials (C2PA): with the key of this site, or with one that an authority certified."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from inpainting.core.codecs.formats import CONTENT_TYPES
from inpainting.core.credentials import LIBRARY_SETTINGS, PROGRAM, Provenance

VALID = datetime(2026, 1, 1, tzinfo=UTC), datetime(2056, 1, 1, tzinfo=UTC)
"""Of the site's own certificates. Fixed, so that every process makes the same ones."""
ALGORITHMS = {SECP256R1: "es256", SECP384R1: "es384", SECP521R1: "es512"}
"""The algorithm of C2PA for the curve of a key (specification 2.2, section 13.2.1)."""
PAUSE_SECONDS = 300
"""Without time stamps, after a server gave none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """A private key, and the certificates that lead from it to an authority."""

    algorithm: str
    private_key: bytes  # PEM, PKCS 8
    chain: bytes  # PEM, the certificate of the key first


def sign(data: bytes, format: str, provenance: Provenance) -> bytes:
    """Return the file with a signed manifest of its origin. Its pixels, and all else in it, stay as they are.

    format: of the file, a choice of `output_format`.
    """
    # Loaded with the first signature: 23 MB that a site without any does not need.
    from c2pa import C2paError

    url = timestamps.url()
    try:
        return sign_once(data, format, provenance, timestamp_url=url)
    except C2paError as error:
        if not url:
            raise
        logger.warning("Signing without time stamps for %d seconds: %s", PAUSE_SECONDS, error)
        timestamps.pause()
        return sign_once(data, format, provenance)


class TimestampServer:
    """The server that says when a signature was made (RFC 3161), if the site has one.

    A download never fails for the lack of a time stamp. The library waits 30 seconds for a server that is silent, so
    after a failure it is left alone for PAUSE_SECONDS.
    """

    def __init__(self) -> None:
        self._paused_until = -math.inf

    def url(self) -> str:
        """Return its address; "" without one and during a pause."""
        address: str = settings.CONTENT_CREDENTIALS_TIMESTAMP_URL
        return "" if self.is_paused else address

    @property
    def is_paused(self) -> bool:
        """Whether signatures lack the time stamp that they should have."""
        return time.monotonic() < self._paused_until

    def pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS


timestamps = TimestampServer()


def sign_once(data: bytes, format: str, provenance: Provenance, *, timestamp_url: str = "") -> bytes:
    """See `sign`.

    timestamp_url: of a server of RFC 3161; "" for none.
    Raises C2paError, also where that server gives no time stamp.
    """
    from c2pa import Builder, C2paSignerInfo, Context, Settings, Signer

    identity = site_identity(settings.SECRET_KEY, settings.CONTENT_CREDENTIALS_PEM)
    media_type, signed = CONTENT_TYPES[format], io.BytesIO()
    manifest = {**provenance.manifest(version("dreamlayer")), "format": media_type}
    url = timestamp_url.encode() or None
    info = C2paSignerInfo(identity.algorithm.encode(), identity.chain, identity.private_key, url)
    context = Context.builder().with_settings(Settings.from_dict(LIBRARY_SETTINGS)).build()
    with context, Signer.from_info(info) as signer, Builder(json.dumps(manifest), context) as builder:
        if provenance.archive:
            builder.add_ingredient_from_archive(io.BytesIO(provenance.archive))
        builder.sign(signer, media_type, io.BytesIO(data), signed)
    return signed.getvalue()


@cache
def site_identity(secret_key: str, path: str) -> SigningIdentity:
    """Return the identity of this site.

    secret_key: of the site. Without a file, key and certificates are derived from it, so that all processes of a site
        have the same ones and there is nothing more to keep.
    path: of a PEM file with a private key and its certificates; "" for none.
    Raises ValueError for a file that holds no such key.
    """
    return read_identity(Path(path).read_bytes()) if path else derive_identity(secret_key)


def read_identity(pem: bytes) -> SigningIdentity:
    """Return the identity in a PEM file: a private key without a password, and its certificates, its own one first.

    Raises ValueError where one of them is missing, and for a kind of key that C2PA does not admit.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError("the private key has a password") from error
    chain = x509.load_pem_x509_certificates(pem)
    if isinstance(key, Ed25519PrivateKey):
        algorithm = "ed25519"
    elif isinstance(key, EllipticCurvePrivateKey) and type(key.curve) in ALGORITHMS:
        algorithm = ALGORITHMS[type(key.curve)]
    else:
        raise ValueError("the private key is neither an Ed25519 key nor one of the curves P-256, P-384 and P-521")
    if chain[0].public_key() != key.public_key():
        raise ValueError("the first certificate is not that of the private key")
    return SigningIdentity(algorithm, key_pem(key), b"".join(map(certificate_pem, chain)))


def derive_identity(secret_key: str) -> SigningIdentity:
    """Return a key with the certificate of an authority of its own, both derived from the secret key (RFC 5869).

    The certificates have what C2PA asks of them (specification 2.2, section 14.5.1). Ed25519 signs the same bytes with
    the same signature (RFC 8032), so they are the same whenever they are made.
    """
    authority, own = derive_key(secret_key, "authority"), derive_key(secret_key, "signer")
    digest = hashlib.sha256(own.public_key().public_bytes_raw()).hexdigest()
    issuer, subject = name("own authority"), name(f"site {digest[:12]}")
    certificates = (
        certificate(subject, own.public_key(), issuer, authority, is_authority=False),
        certificate(issuer, authority.public_key(), issuer, authority, is_authority=True),
    )
    return SigningIdentity("ed25519", key_pem(own), b"".join(map(certificate_pem, certificates)))


def derive_key(secret_key: str, purpose: str) -> Ed25519PrivateKey:
    derivation = HKDF(hashes.SHA256(), 32, salt=None, info=f"dreamlayer content credentials {purpose}".encode())
    return Ed25519PrivateKey.from_private_bytes(derivation.derive(secret_key.encode()))


def name(common: str) -> x509.Name:
    attributes = {NameOID.ORGANIZATION_NAME: PROGRAM, NameOID.COMMON_NAME: f"{PROGRAM}, {common}"}
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in attributes.items()])


def certificate(
    subject: x509.Name, key: Ed25519PublicKey, issuer: x509.Name, issuers: Ed25519PrivateKey, *, is_authority: bool
) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        **dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False),
        encipher_only=False,
        decipher_only=False,
    )
    serial = int.from_bytes(hashlib.sha256(key.public_bytes_raw()).digest()[:16])
    builder = (
        x509.CertificateBuilder(issuer, subject, key, serial, *VALID)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuers, algorithm=None)


def key_pem(key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.PEM)
