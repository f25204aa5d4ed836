"""The Content Credentials of files that are read: whether they are valid, and that damaged ones stop nothing."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from PIL import Image

from inpainting.core.codecs import DecodedImage, decode_image, encode_png
from inpainting.core.codecs.intake import STORED_LIMITS
from inpainting.core.errors import InvalidImage
from inpainting.core.metadata import SourceCredentials
from inpainting.media import signing, source_credentials
from inpainting.media.source_credentials import with_credentials
from tests.core import hostile
from tests.support.signed_photos import signed_photo, store_of, with_changed_credentials

FORMATS = ("png", "jpeg", "webp", "tiff", "gif", "avif")
LENGTHS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")
NOT_VALID = "The image's Content Credentials are not valid."


def read(data: bytes) -> DecodedImage:
    return with_credentials(decode_image(data), data)


def credentials_of(data: bytes) -> SourceCredentials:
    credentials = read(data).image.metadata.credentials
    assert credentials is not None
    return credentials


@pytest.mark.parametrize("format", FORMATS)
def test_the_credentials_of_a_file_are_verified_and_kept(format: str) -> None:
    data = signed_photo(format)
    credentials = credentials_of(data)
    assert credentials.is_valid
    assert b"Acme One" in credentials.archive
    assert NOT_VALID not in read(data).warnings


@pytest.mark.parametrize("format", FORMATS)
def test_changed_pixels_and_changed_manifests_are_not_valid(format: str) -> None:
    signed = signed_photo(format)
    data, place = bytearray(signed), store_of(signed)
    assert not credentials_of(with_changed_credentials(signed)).is_valid
    if format in ("jpeg", "gif"):  # whose pixels come last; those of the others are checked when they are decoded
        data[-100 if len(data) > place.stop + 200 else place.start - 100] ^= 1
        changed = read(bytes(data))
        assert changed.image.metadata.credentials is not None
        assert not changed.image.metadata.credentials.is_valid
        assert NOT_VALID in changed.warnings


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_manifests_are_not_valid_and_never_an_error(format: str) -> None:
    source, data = np.random.default_rng(7), signed_photo(format)
    place = store_of(data)
    seen = set()
    for kind in ("bytes", "length", "noise", "zeros", "end", "truncated") * 10:
        damaged, at = bytearray(data), int(source.integers(place.start, place.stop - 4))
        if kind == "bytes":
            for _ in range(5):
                damaged[source.integers(place.start, place.stop)] = source.integers(256)
        elif kind == "length":
            damaged[at : at + 4] = LENGTHS[source.integers(len(LENGTHS))]
        elif kind == "truncated":
            del damaged[at:]
        else:
            stop = place.stop if kind == "end" else min(place.stop, at + 200)
            damaged[at:stop] = bytes(stop - at) if kind != "noise" else source.bytes(stop - at)
        try:
            decoded = decode_image(bytes(damaged))
        except InvalidImage:  # as the structure of the file is damaged too
            continue
        found = with_credentials(decoded, bytes(damaged)).image.metadata.credentials
        seen.add(found and found.is_valid)
    assert False in seen


def test_files_without_credentials_are_left_as_they_are() -> None:
    plain = io.BytesIO()
    Image.new("RGB", (8, 6)).save(plain, "PNG")
    for data in (plain.getvalue(), hostile.tiny_png(hostile.chunk(b"teSt", b"\0\0\1\0jumb\0\0\0\x1ejumdc2pa"))):
        decoded = decode_image(data)
        assert with_credentials(decoded, data) is decoded


def test_large_credentials_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = signed_photo("jpeg")
    sizes = store_of(data).stop - store_of(data).start, len(credentials_of(data).archive)
    assert sizes[0] < 5000 < sizes[1] < 10_000
    for limit in (10_000, 5000, 1000):
        monkeypatch.setattr(source_credentials, "MAX_BYTES", limit)
        found = read(data)
        expected = f"The image's Content Credentials have more than {limit} bytes; they were left out."
        assert (found.image.metadata.credentials is None) is (limit < 10_000)
        assert found.warnings == ((expected,) if limit < 10_000 else ())


def test_only_a_stored_file_says_that_credentials_were_valid() -> None:
    credentials = SourceCredentials(is_valid=True, archive=b"archive")
    image = decode_image(hostile.tiny_png()).image
    png = encode_png(image, credentials=credentials)
    assert decode_image(png, limits=STORED_LIMITS).image.metadata.credentials == credentials
    assert decode_image(png).image.metadata.credentials is None
    assert read(png).image.metadata.credentials is None


@pytest.mark.parametrize(("choice", "is_kept"), [(None, False), ("copyright", True), ("all", True)])
def test_manifests_are_kept_whole_or_not_at_all(choice: str | None, is_kept: bool) -> None:
    plain = read(signed_photo("jpeg")).image.metadata
    position = {"@context": {"exif": "http://ns.adobe.com/exif/1.0/"}, "exif:GPSLatitude": "39,21.102N"}
    with_place = read(signed_photo("jpeg", {"label": "c2pa.metadata", "data": position})).image.metadata
    for metadata, expected in ((plain, is_kept), (with_place, False)):
        kept = metadata.select(choice)
        assert metadata.credentials is not None
        assert kept.credentials == (metadata.credentials if expected else SourceCredentials(is_valid=True))
        assert kept.is_empty is not expected
        assert metadata.select("all_with_gps").credentials == metadata.credentials


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """The paths that a web server on port `requests[0]` was asked for."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.append(str(server.server_port))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield seen
        server.shutdown()


def test_a_manifest_that_is_elsewhere_is_not_fetched(requests: list[str]) -> None:
    data = signed_photo("png", remote_url=f"http://127.0.0.1:{requests[0]}/manifest.c2pa")
    assert f"127.0.0.1:{requests[0]}".encode() in data
    marked = data[:33] + hostile.chunk(b"teSt", b"\0\0\1\0jumb\0\0\0\x1ejumdc2pa") + data[33:]
    assert read(marked).image.metadata.credentials in (None, SourceCredentials(is_valid=False))
    assert requests[1:] == []


def test_no_server_is_asked_whether_a_certificate_was_revoked(requests: list[str]) -> None:
    authority, own = (signing.derive_key("a camera", purpose) for purpose in ("authority", "signer"))
    first, last = x509.load_pem_x509_certificates(signing.derive_identity("a camera").chain)
    address = x509.UniformResourceIdentifier(f"http://127.0.0.1:{requests[0]}/")
    responder = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, address)
    builder = x509.CertificateBuilder(first.issuer, first.subject, own.public_key(), 7, *signing.VALID)
    for extension in first.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    builder = builder.add_extension(x509.AuthorityInformationAccess([responder]), critical=False)
    chain = b"".join(map(signing.certificate_pem, (builder.sign(authority, None), last)))
    identity = signing.SigningIdentity("ed25519", signing.key_pem(own), chain)
    assert credentials_of(signed_photo("jpeg", identity=identity)).is_valid
    assert requests[1:] == []
