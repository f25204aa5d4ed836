"""`POST /api/upload-mask`: the published answer and errors, and the link that stands for the mask."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import ApiKey, Scope, User
from inpainting.models import Generation, UploadedImage
from tests.api.bodies import shape_a, upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/upload-mask"


@pytest.fixture
def link(alices_program: Client, mask_png: bytes) -> str:
    answer = alices_program.post(URL, {"file": upload(mask_png, name="my mask.png")})
    return str(answer.json()["url"])


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_the_answer_has_the_published_keys(alices_program: Client, alice: User, mask_png: bytes, url: str) -> None:
    answer = alices_program.post(url, {"file": upload(mask_png, name="my mask.png")})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["size"], body["message"]) == ("success", len(mask_png), "Mask uploaded")
    assert body["url"].startswith("http://testserver/inputs/")
    assert body["url"].endswith("/my%20mask.png")
    assert body["filename"] == "my mask.png"
    stored = UploadedImage.objects.get()
    assert stored.owner == alice
    assert abs(stored.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(hours=1)


def test_the_link_stands_for_the_mask(
    alices_program: Client, link: str, photo_png: bytes, hole: NDArray[np.uint8]
) -> None:
    answer = alices_program.post("/api/img2img", {**shape_a(photo_png, b"", engine="quick-fill"), "mask": link})
    assert answer.status_code == 200, answer.content
    assert np.array_equal(Generation.objects.get().mask.read_pixels(), hole)


def test_the_link_of_another_user_is_refused(bobs_program: Client, link: str, photo_png: bytes) -> None:
    answer = bobs_program.post("/api/img2img", {**shape_a(photo_png, b""), "mask": link})
    assert (answer.status_code, answer.json()["code"]) == (400, "url_not_allowed")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (None, "No file provided"),
        ("", "No file selected"),
        ("no base64!", "Invalid mask file: it is not base64, a data URL with base64, or a URL."),
        (upload(b"GIF89a", name="mask.gif", content_type="image/gif"), "Only PNG files are supported"),
        (upload(b"GIF89a", name="mask.png"), "Invalid mask file: Mask file must be PNG format"),
        (
            upload(b"\x89PNG\r\n\x1a\n" + bytes(10 * 2**20), name="mask.png"),
            "Invalid mask file: Mask file size must be 10 MB or less",
        ),
    ],
)
def test_errors_have_the_published_messages(alices_program: Client, part: Any, message: str) -> None:
    answer = alices_program.post(URL, {} if part is None else {"file": part})
    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["message"]) == ("error", message)
    assert not UploadedImage.objects.exists()


def test_a_key_with_the_scope_is_needed(alice: User, mask_png: bytes) -> None:
    for key, status in (("", 401), (ApiKey.issue(alice, scopes=[Scope.READ])[1], 403)):
        assert Client(headers={"X-API-Key": key}).post(URL, {"file": BytesIO(mask_png)}).status_code == status


def test_a_coloured_mask_keeps_its_values(alices_program: Client) -> None:
    pixels = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    alices_program.post(URL, {"file": upload(png(pixels), name="mask.png")})
    assert np.array_equal(UploadedImage.objects.get().read().pixels, pixels)
