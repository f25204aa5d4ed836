"""Content Credentials that an uploaded photo brings along: what a result says of them, and where its manifests go."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from inpainting.api.compat.mcp.uploads import link_of
from inpainting.core.codecs import decode_image
from inpainting.core.metadata import SourceCredentials
from inpainting.generations import shares
from inpainting.generations.uploads import store_upload
from inpainting.media.source_credentials import stored_credentials, with_credentials
from inpainting.models import GeneratedImage, Generation, SourceImage
from tests.api.bodies import text
from tests.api.painting import answer_for
from tests.api.signed_results import by_a_network, manifest_of, painted, read, signed
from tests.support.signed_photos import STORE, sign, signed_photo, with_changed_credentials

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

FORMATS = ("png", "jpeg", "webp")
NOT_VALID = "The image's Content Credentials are not valid."


@pytest.mark.parametrize("format", FORMATS)
def test_a_result_says_that_the_credentials_of_its_source_were_valid(
    alices_program: Client, mask_png: bytes, format: str
) -> None:
    url = painted(alices_program, signed_photo(format), mask_png)
    for delivered in FORMATS:
        data = signed(alices_program, url, delivered)
        [source] = manifest_of(data, delivered)["ingredients"]
        assert source["description"] == "Its Content Credentials were valid."
        assert source["instance_id"] == f"sha256:{SourceImage.objects.get().sha256}"
        assert "active_manifest" not in source
        assert b"Acme One" not in data


@pytest.mark.parametrize("format", FORMATS)
def test_the_whole_manifest_is_in_the_result_with_keep_metadata(
    alices_program: Client, mask_png: bytes, format: str
) -> None:
    photo = signed_photo(format)
    url = painted(alices_program, photo, mask_png, keep_metadata="copyright")
    by_a_network()
    for delivered in FORMATS:
        data = signed(alices_program, url, delivered)
        manifest, reader = manifest_of(data, delivered), read(data, delivered)
        [source] = manifest["ingredients"]
        assert source["relationship"] == "parentOf"
        assert reader.get_validation_state() == "Valid"
        manifests = json.loads(reader.json())["manifests"]
        assert len(manifests) == 2
        assert manifests[source["active_manifest"]]["claim_generator_info"][0]["name"] == "Acme One"
        failures = source["validation_results"]["activeManifest"]["failure"]
        assert [entry["code"] for entry in failures] == ["signingCredential.untrusted"]
        plain = alices_program.get(f"{url}?format={delivered}").getvalue()
        assert STORE not in plain
    image = GeneratedImage.objects.get()
    for file in (image.file, image.preview, image.thumbnail):
        assert not file or STORE not in Path(file.path).read_bytes()


@pytest.mark.parametrize("choice", [None, "all"])
def test_credentials_that_are_not_valid_are_warned_about(
    alices_program: Client, mask_png: bytes, choice: str | None
) -> None:
    fields = {"keep_metadata": choice} if choice else {}
    url = painted(alices_program, with_changed_credentials(signed_photo("jpeg")), mask_png, **fields)
    answer = alices_program.get(url.removesuffix("images/0/")).json()
    assert NOT_VALID in answer["metadata"]["warnings"]
    data = signed(alices_program, url)
    [source] = manifest_of(data)["ingredients"]
    assert read(data).get_validation_state() == "Valid"
    if "active_manifest" in source:
        results = source["validation_results"]["activeManifest"]
        assert {entry["code"] for entry in results["failure"]} > {"signingCredential.untrusted"}
    else:
        assert source["description"] == "Its Content Credentials were not valid."


def test_a_photo_without_credentials_says_nothing_of_them(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    url = painted(alices_program, photo_png, mask_png, keep_metadata="all")
    [source] = manifest_of(signed(alices_program, url))["ingredients"]
    assert "description" not in source
    assert "source_credentials_valid" not in GeneratedImage.objects.get().report


def test_running_again_and_links_keep_what_was_stored(
    alices_program: Client, alice: User, mask_png: bytes, rf: Any
) -> None:
    answer = answer_for(alices_program, signed_photo("jpeg"), mask_png, engine="quick-fill")
    again = f"/api/generations/{answer['id']}/run-again/"
    changes = json.dumps({"keep_metadata": "all"})
    assert alices_program.post(again, changes, content_type="application/json").status_code == 202
    photo = signed_photo("png")
    image = with_credentials(decode_image(photo), photo).image
    request = rf.get("/")
    request.user = alice
    uploaded = link_of(store_upload(alice, image, keep_for=timedelta(hours=1)), "image", request)
    for link in (f"/api/generations/{answer['id']}/source/", uploaded):
        body = {"input_image": link, "mask": text(mask_png), "prompt": "a lawn", "engine": "quick-fill"}
        response = alices_program.post("/api/img2img", json.dumps(body), content_type="application/json")
        assert response.status_code == 200, response.content
    found = [stored_credentials(source.read_bytes()) for source in SourceImage.objects.all()]
    assert found == [SourceCredentials(is_valid=True)] * 4
    reports = [image.report.get("source_credentials_valid") for image in GeneratedImage.objects.all()]
    assert reports == [True] * 4


def test_manifests_that_may_say_a_place_are_kept_with_it_alone(alices_program: Client, mask_png: bytes) -> None:
    context = {"exif": "http://ns.adobe.com/exif/1.0/"}
    position = {"label": "c2pa.metadata", "data": {"@context": context, "exif:GPSLatitude": "39,21.102N"}}
    warning = (
        "The image's Content Credentials may say where it was taken, so only keep_metadata=all_with_gps keeps them."
    )
    for choice, is_kept in (("all", False), ("all_with_gps", True)):
        url = painted(alices_program, signed_photo("jpeg", position), mask_png, keep_metadata=choice)
        assert (b"GPSLatitude" in signed(alices_program, url)) is is_kept
        stored = Generation.objects.latest("created_at")
        assert (b"GPSLatitude" in stored.source.read_bytes()) is is_kept
        assert (warning in stored.warnings) is not is_kept


def test_another_programs_chunk_is_not_believed(alices_program: Client, mask_png: bytes) -> None:
    answer = answer_for(alices_program, signed_photo("jpeg"), mask_png, engine="quick-fill", keep_metadata="all")
    stored = alices_program.get(f"/api/generations/{answer['id']}/source/").getvalue()
    assert b"inGr" in stored
    painted(alices_program, stored, mask_png)
    newest = Generation.objects.latest("created_at")
    assert stored_credentials(newest.source.read_bytes()) is None


def test_a_site_without_credentials_reads_none(alices_program: Client, mask_png: bytes, settings: Any) -> None:
    settings.CONTENT_CREDENTIALS = False
    painted(alices_program, with_changed_credentials(signed_photo("jpeg")), mask_png)
    generation = Generation.objects.get()
    assert (generation.warnings, stored_credentials(generation.source.read_bytes())) == ([], None)


def test_those_of_a_mask_are_not_read(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    painted(alices_program, photo_png, with_changed_credentials(sign(mask_png, "png")))
    assert "Content Credentials" not in str(Generation.objects.get().warnings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (bytes, "the photo before had valid Content Credentials"),
        (with_changed_credentials, "the photo before had Content Credentials that were not valid"),
    ],
)
def test_a_shared_page_says_what_the_photo_had(
    alices_program: Client, mask_png: bytes, client: Client, change: Any, expected: str
) -> None:
    painted(alices_program, change(signed_photo("jpeg")), mask_png)
    shared = f"/shared/{shares.token(shares.share(GeneratedImage.objects.get(), days=1))}/"
    assert "photo before had" not in client.get(shared).content.decode()  # as its result is not signed in pages
    by_a_network()
    assert expected in client.get(shared).content.decode()
