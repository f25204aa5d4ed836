"""Signed links to results, and keys that end theirs."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import ApiKey, User
from inpainting.api.media.links import SIGNER
from inpainting.models import GeneratedImage
from tests.api.ended_keys import KEY_ENDS, end_key

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.


@pytest.fixture
def images(photo_png: bytes, mask_png: bytes) -> dict[str, SimpleUploadedFile]:
    return {
        "image": SimpleUploadedFile("input.png", photo_png, "image/png"),
        "mask": SimpleUploadedFile("mask.png", mask_png, "image/png"),
    }


def link_made_by(client: Client, images: dict[str, SimpleUploadedFile]) -> str:
    answer = client.post("/api/img2img", {**images, "prompt": ""})
    assert answer.status_code == 200
    return urlsplit(answer.json()["images"][0]).path


@pytest.mark.parametrize("how", KEY_ENDS)
@pytest.mark.parametrize("ends_links", [True, False])
def test_links_end_with_a_key_that_ends_its_links(
    alice: User, images: dict[str, SimpleUploadedFile], how: str, ends_links: bool
) -> None:
    key, text = ApiKey.issue(alice, ends_links=ends_links)
    link = link_made_by(Client(headers={"X-API-Key": text}), images)
    assert Client().get(link).status_code == 200
    end_key(key, how)
    answer = Client().get(link)
    assert answer.status_code == (404 if ends_links else 200)
    if ends_links:
        altered = Client().get(f"/images/{SIGNER.sign('0' * 32)}.png")
        assert (answer.json()["code"], answer.content) == ("not_found", altered.content)


def test_the_key_cannot_be_removed_from_a_link(alice: User, images: dict[str, SimpleUploadedFile]) -> None:
    key, text = ApiKey.issue(alice, ends_links=True)
    link = link_made_by(Client(headers={"X-API-Key": text}), images)
    assert f"-{key.pk}." in link
    assert Client().get(link.replace(f"-{key.pk}.", ".")).status_code == 404


def test_links_of_a_page_do_not_depend_on_a_key(
    client: Client, alice: User, images: dict[str, SimpleUploadedFile]
) -> None:
    key, _ = ApiKey.issue(alice, ends_links=True)
    client.force_login(alice)
    link = link_made_by(client, images)
    key.revoke()
    assert Client().get(link).status_code == 200
    assert link.startswith(f"/images/{GeneratedImage.objects.get().pk.hex}.")


def test_its_own_link_of_an_ended_key_is_no_input_image(
    alice: User, alices_program: Client, images: dict[str, SimpleUploadedFile]
) -> None:
    key, text = ApiKey.issue(alice, ends_links=True)
    link = link_made_by(Client(headers={"X-API-Key": text}), images)
    body = {"mask": images["mask"], "image": f"http://testserver{link}", "prompt": ""}
    images["mask"].seek(0)
    assert alices_program.post("/api/img2img", body).status_code == 200
    key.revoke()
    images["mask"].seek(0)
    answer = alices_program.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "url_not_allowed")
