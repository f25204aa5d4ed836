"""The admin: reviewing generations, managing keys and users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import ApiKey, User
from inpainting.models import Generation

Generate = Callable[..., Generation]


@pytest.fixture
def administrator(client: Client, db: None) -> User:
    administrator = User.objects.create_superuser("boss@example.com", "a long one")
    client.force_login(administrator)
    return administrator


def test_source_mask_and_result_are_shown_side_by_side(
    client: Client, administrator: User, alice: User, generate: Generate
) -> None:
    generation = generate(alice, prompt="a lawn")
    assert client.get("/admin/inpainting/generation/?q=alice").status_code == 200
    page = client.get(f"/admin/inpainting/generation/{generation.pk}/change/").content.decode()
    for which in ("source", "mask", "0"):
        url = f"/admin/inpainting/generation/{generation.pk}/picture/{which}/"
        assert url in page
        assert client.get(url)["Content-Type"] == "image/png"
    assert client.get(f"/admin/inpainting/generation/{generation.pk}/picture/7/").status_code == 404
    Path(generation.mask.file.path).unlink()
    assert client.get(f"/admin/inpainting/generation/{generation.pk}/picture/mask/").status_code == 410


def test_only_reviewers_see_the_images(client: Client, alice: User, generate: Generate) -> None:
    url = f"/admin/inpainting/generation/{generate(alice).pk}/picture/source/"
    client.force_login(alice)
    assert client.get(url).status_code != 200
    staff = User.objects.create_user("staff@example.com", is_staff=True)  # staff, but without the right to view
    client.force_login(staff)
    assert client.get(url).status_code == 404


def test_an_administrator_revokes_keys_and_creates_users(client: Client, administrator: User, alices_key: str) -> None:
    key = ApiKey.objects.get()
    client.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None
    form = {"email": "dora@example.com", "password1": "a rather long one 42", "password2": "a rather long one 42"}
    assert client.post("/admin/accounts/user/add/", form).status_code == 302
    assert User.objects.get(email="dora@example.com").check_password("a rather long one 42")
