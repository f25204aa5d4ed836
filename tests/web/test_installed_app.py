"""The pages as an installed app: its manifest, the script that receives shared photos, and what works without it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from accounts.models import User
from inpainting.core.codecs.accepted import ACCEPT_ATTRIBUTE, CONTENT_TYPES, SUFFIXES


def manifest(client: Client) -> dict[str, Any]:
    response = client.get("/app.webmanifest")
    assert response["Content-Type"] == "application/manifest+json"
    content: dict[str, Any] = response.json()
    return content


def test_the_manifest_names_icons_of_their_sizes(client: Client) -> None:
    icons = manifest(client)["icons"]
    assert {icon.get("purpose") for icon in icons} == {None, "maskable"}
    for icon in icons:
        path = finders.find(icon["src"].removeprefix("/static/"))
        assert isinstance(path, str)
        with Image.open(path) as image:
            assert f"{image.width}x{image.height}" == icon["sizes"]
            assert image.get_format_mimetype() == icon["type"]


def test_the_app_takes_the_files_that_the_editor_takes(client: Client) -> None:
    content = manifest(client)
    [shared] = content["share_target"]["params"]["files"]
    assert tuple(shared["accept"]) == CONTENT_TYPES
    [handler] = content["file_handlers"]
    assert set(handler["accept"]) == set(CONTENT_TYPES)
    assert {suffix for suffixes in handler["accept"].values() for suffix in suffixes} == set(SUFFIXES)


def test_every_page_names_the_manifest(client: Client) -> None:
    assert b'<link rel="manifest" href="/app.webmanifest">' in client.get("/accounts/login/").content


def test_the_service_worker_is_at_the_root_and_is_asked_for_each_time(client: Client) -> None:
    response = client.get("/service-worker.js")
    assert response["Content-Type"] == "text/javascript"
    assert response["Cache-Control"] == "no-cache"
    script = response.content.decode()
    assert 'from "/static/js/pending_photo.js"' in script
    assert manifest(client)["share_target"]["action"] in script


@pytest.mark.django_db
def test_a_page_asks_for_a_photo_that_was_shared_without_a_service_worker(client: Client) -> None:
    """Also a visitor, and without a CSRF token, which no browser sends with a shared photo."""
    sent = {"photo": SimpleUploadedFile("a.png", b"x" * 1000)}
    response = Client(enforce_csrf_checks=True).post("/shared-photo/", sent)
    assert response.status_code == 302
    assert response["Location"] == "/shared-photo/"
    page = client.get("/shared-photo/").content.decode()
    assert "Choose the photo again" in page
    assert f'type="file" accept="{ACCEPT_ATTRIBUTE}"' in page
    assert client.put("/shared-photo/").status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("host", "is_secure", "sentence"),
    [
        ("127.0.0.1:8000", False, "The menu of the browser installs"),
        ("localhost", False, "The menu of the browser installs"),
        ("paint.example.org", True, "The menu of the browser installs"),
        ("paint.example.org", False, "over HTTPS only"),
    ],
)
def test_the_account_page_says_whether_browsers_install_the_app(
    client: Client, alice: User, settings: Any, host: str, is_secure: bool, sentence: str
) -> None:
    settings.ALLOWED_HOSTS = ["paint.example.org", "127.0.0.1", "localhost"]
    client.force_login(alice)
    page = client.get("/account/", headers={"Host": host}, secure=is_secure)
    assert sentence in page.content.decode()
