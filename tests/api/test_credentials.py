"""Content Credentials: what they say of each kind of result, that other programs verify them, and who signed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c2pa import C2paError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from PIL import Image

from accounts.models import User
from inpainting.core.codecs import read_png_texts
from inpainting.core.credentials import VOCABULARY
from inpainting.generations import shares
from inpainting.media import signing
from inpainting.media.results import provenance_of
from inpainting.models import GeneratedImage, Generation
from tests.api.signed_results import by_a_network, last_action, manifest_of, painted, read, signed
from tests.support.photo_metadata import with_metadata, xmp_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

FORMATS = ("png", "jpeg", "webp")


@pytest.mark.parametrize("format", FORMATS)
def test_a_signed_file_has_the_pixels_of_the_unsigned_one_and_says_how_it_was_made(
    alices_program: Client, photo_png: bytes, mask_png: bytes, format: str
) -> None:
    url = painted(alices_program, photo_png, mask_png)
    by_a_network()
    data, plain = signed(alices_program, url, format), alices_program.get(f"{url}?format={format}").getvalue()
    pixels, expected = (np.asarray(Image.open(io.BytesIO(file))) for file in (data, plain))
    assert np.array_equal(pixels, expected)
    address = f"{VOCABULARY}compositeWithTrainedAlgorithmicMedia"
    manifest = manifest_of(data, format)
    action = last_action(manifest)
    assert action["digitalSourceType"] == address
    assert action["action"] == "c2pa.edited"
    assert re.fullmatch(r"\d+\.\d % of the image was repainted\.", action["description"])
    assert action["parameters"] == {"org.dreamlayer.engine": "erase", "org.dreamlayer.model": "migan"}
    [source] = manifest["ingredients"]
    assert source["relationship"] == "parentOf"
    assert source["instance_id"] == f"sha256:{Generation.objects.get().source.sha256}"
    assert f"<Iptc4xmpExt:DigitalSourceType>{address}<".encode() in xmp_of(data)
    assert b"thumbnail" not in data
    with pytest.raises(C2paError):
        read(plain, format)


def test_nothing_in_a_manifest_is_about_a_person(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    url = painted(alices_program, photo_png, mask_png)
    data = signed(alices_program, url, query="&embed_settings=false")
    manifest_of(data)
    text = read(data).detailed_json()
    assert not [word for word in ("secret", "alice", "photo.png") if word in text.lower()]
    assert b"secret wish" not in data
    assert read_png_texts(signed(alices_program, url, query="&embed_settings=true"))["dreamlayer"]
    assert read_png_texts(signed(alices_program, url))["dreamlayer"]  # as stored


@pytest.mark.parametrize("format", FORMATS)
def test_rights_that_were_kept_are_in_the_signed_file_too(
    alices_program: Client, photo_png: bytes, mask_png: bytes, format: str
) -> None:
    photo = with_metadata(Image.open(io.BytesIO(photo_png)).convert("RGB"), "JPEG")
    url = painted(alices_program, photo, mask_png, keep_metadata="all")
    plain = xmp_of(alices_program.get(f"{url}?format={format}").getvalue())
    assert b"dc:creator" in plain
    packet = xmp_of(signed(alices_program, url, format))
    assert plain[plain.index(b"<dc:creator>") : plain.index(b"</dc:creator>")] in packet
    assert b"DigitalSourceType" in packet
    assert b"DigitalSourceType" not in plain


@pytest.mark.parametrize(
    ("changes", "coverage", "expected"),
    [
        ({"engine": "quick-fill", "model": ""}, 0.1, "humanEdits"),
        ({"engine": "erase", "model": "migan"}, 0.1, "compositeWithTrainedAlgorithmicMedia"),
        ({"engine": "upscale", "model": "lanczos"}, 1.0, "humanEdits"),
        ({"engine": "upscale", "model": "realesrgan-x2"}, 1.0, "compositeWithTrainedAlgorithmicMedia"),
        ({"engine": "diffusion", "model": "sd", "strength": 1.0}, 1.0, "trainedAlgorithmicMedia"),
        (
            {"engine": "diffusion", "model": "sd", "strength": 0.5},
            1.0,
            "compositeWithTrainedAlgorithmicMedia",
        ),
        (
            {"engine": "diffusion", "model": "sd", "strength": 1.0},
            0.9,
            "compositeWithTrainedAlgorithmicMedia",
        ),
        (
            {"engine": "diffusion", "model": "kontext", "strength": 1.0, "ignored": ["strength"]},
            1.0,
            "compositeWithTrainedAlgorithmicMedia",
        ),
    ],
)
def test_the_digital_source_type_of_each_kind_of_result(
    alices_program: Client, photo_png: bytes, mask_png: bytes, changes: dict[str, Any], coverage: float, expected: str
) -> None:
    url = painted(alices_program, photo_png, mask_png)
    kept = {name: value for name, value in changes.items() if name != "strength"}
    settings = {**Generation.objects.get().settings, "strength": changes.get("strength")}
    image = by_a_network(**kept, settings=settings)
    GeneratedImage.objects.update(report={**image.report, "coverage": coverage})
    document = alices_program.get(url.removesuffix("images/0/")).json()
    assert document["images"][0]["digital_source_type"] == VOCABULARY + expected
    image.refresh_from_db()
    provenance = replace(provenance_of(image), is_enlarged=changes["engine"] == "upscale")
    manifest = manifest_of(signing.sign(image.read_bytes(), "png", provenance))
    action = last_action(manifest)
    assert action["digitalSourceType"] == VOCABULARY + expected
    is_made = expected == "trainedAlgorithmicMedia"
    assert is_made is (action["action"] == "c2pa.created")
    assert is_made is not bool(manifest.get("ingredients"))


def test_a_changed_file_is_not_verified(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    data = bytearray(signed(alices_program, painted(alices_program, photo_png, mask_png)))
    place = data.index(b"IDAT") + 100
    data[place] ^= 1
    results = read(bytes(data)).get_validation_results()
    assert results is not None
    assert "assertion.dataHash.mismatch" in [entry["code"] for entry in results["activeManifest"]["failure"]]


def test_pages_offer_credentials_where_a_network_painted(
    alices_program: Client, alice: User, photo_png: bytes, mask_png: bytes, client: Client, settings: Any
) -> None:
    alices_browser = Client()
    alices_browser.force_login(alice)
    url = painted(alices_program, photo_png, mask_png)
    query, generation = "content_credentials=true", Generation.objects.get()
    page = generation_page(alices_browser, generation)
    shared = f"/shared/{shares.token(shares.share(GeneratedImage.objects.get(), days=1))}/"
    assert query not in page
    assert "Content Credentials" not in client.get(shared).content.decode()
    by_a_network()
    assert query in generation_page(alices_browser, generation)
    shared_page = client.get(shared).content.decode()
    assert "Content Credentials" in shared_page
    assert "other programs show an unknown signer" in shared_page
    assert "Other programs show an unknown signer." in alices_browser.get("/?edit").content.decode()
    [picture] = re.findall(r'class="button primary" href="([^"]+)"', shared_page)
    manifest_of(client.get(picture).getvalue())
    settings.CONTENT_CREDENTIALS = False
    assert query not in generation_page(alices_browser, generation)
    assert "Content Credentials" not in client.get(shared).content.decode()
    with pytest.raises(C2paError):
        read(client.get(picture).getvalue())
    refused = alices_program.get(f"{url}?content_credentials=true")
    assert refused.status_code == 400
    assert refused.json()["code"] == "field_invalid"
    assert b'id="credentials" disabled' in alices_browser.get("/?edit").content
    settings.CONTENT_CREDENTIALS, settings.CONTENT_CREDENTIALS_PEM = True, "/of/an/authority.pem"
    for answer in (client.get(shared), alices_browser.get("/?edit")):
        assert "an unknown signer" not in answer.content.decode()


def generation_page(client: Client, generation: Generation) -> str:
    return client.get(reverse("generation", args=[generation.pk])).content.decode()


def test_the_identity_of_a_site_is_derived_from_its_secret_key() -> None:
    first, again, other = (signing.derive_identity(key) for key in ("one key", "one key", "another key"))
    assert first == again
    assert first.chain != other.chain
    assert b"one key" not in first.chain


@pytest.fixture
def own_pem(tmp_path: Path) -> Path:
    """A P-256 key with its certificate, and with that of the authority which has signed it."""
    leaf, root = x509.load_pem_x509_certificates(signing.derive_identity("authority").chain)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(subject: str, public_key: ec.EllipticCurvePublicKey, like: x509.Certificate) -> bytes:
        issuer, subject_name = signing.name("an authority"), signing.name(subject)
        builder = x509.CertificateBuilder(issuer, subject_name, public_key, x509.random_serial_number(), *signing.VALID)
        for extension in like.extensions:
            if extension.oid not in (ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.SUBJECT_KEY_IDENTIFIER):
                builder = builder.add_extension(extension.value, extension.critical)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "credentials.pem"
    path.write_bytes(
        private
        + certificate("Example News", key.public_key(), leaf)
        + certificate("an authority", authority.public_key(), root)
    )
    return path


def test_a_site_signs_with_its_own_certificate_and_sends_those_that_lead_to_an_authority(
    alices_program: Client, photo_png: bytes, mask_png: bytes, settings: Any, own_pem: Path
) -> None:
    settings.CONTENT_CREDENTIALS_PEM = str(own_pem)
    call_command("check")
    data = signed(alices_program, painted(alices_program, photo_png, mask_png))
    manifest = manifest_of(data)
    assert manifest["signature_info"]["common_name"] == "DreamLayer, Example News"
    assert manifest["signature_info"]["alg"] == "Es256"
    chain = x509.load_pem_x509_certificates(own_pem.read_bytes())
    assert [found.public_bytes(serialization.Encoding.DER) in data for found in chain] == [True, True]


def test_the_check_refuses_a_file_without_a_key_and_its_certificate(
    settings: Any, own_pem: Path, tmp_path: Path
) -> None:
    pem = own_pem.read_bytes()
    other = signing.derive_identity("another").chain
    broken = {"missing": None, "empty": b"", "no-key": pem[pem.index(b"-----BEGIN CERT") :], "foreign": other}
    broken["foreign"] = pem[: pem.index(b"-----BEGIN CERT")] + other
    key = serialization.load_pem_private_key(pem, password=None)
    form, locked = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"a password")
    broken["locked"] = key.private_bytes(serialization.Encoding.PEM, form, locked) + other
    for name, content in broken.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        settings.CONTENT_CREDENTIALS_PEM = str(path)
        with pytest.raises(CommandError, match=r"(?s)DREAMLAYER_CONTENT_CREDENTIALS_PEM is .*HINT: It is a PEM file"):
            call_command("check")
