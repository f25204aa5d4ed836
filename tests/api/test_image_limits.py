"""The limits of the site on images: every way of sending one obeys them, and stored images stay readable."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from inpainting.api.native.mask_objects import budget_of_request, mask_of_object
from inpainting.core.codecs import encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.image_limits import image_limits
from inpainting.models import Generation
from tests.api.bodies import upload
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

WIDTH, HEIGHT = 8200, 24
BEYOND = "at most 8192 a side and 40 megapixels"


@pytest.fixture(scope="module")
def wide() -> bytes:
    """An image wider than the default limit."""
    pixels = np.random.default_rng(0).integers(60, 200, (HEIGHT, WIDTH, 3), np.uint8)
    return encode_png(CanonicalImage(pixels))


@pytest.fixture(scope="module")
def hole() -> bytes:
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[8:14, 100:106] = 0
    return png(mask)


@pytest.fixture
def alices_browser(alice: User) -> Client:
    browser = Client()
    browser.force_login(alice)
    return browser


def raise_limits(settings: Any) -> None:
    settings.MAX_MEGAPIXELS, settings.MAX_SIDE, settings.MAX_IMAGE_MB = 120, 16_384, 512


@pytest.mark.parametrize("path", ["/api/img2img", "/api/plan/"])
def test_a_wider_image_is_painted_where_the_limit_is_raised(
    settings: Any, alices_program: Client, wide: bytes, hole: bytes, path: str
) -> None:
    def answer() -> Any:
        return alices_program.post(path, {"image": upload(wide), "mask": upload(hole), "prompt": "", "seed": 1}).json()

    refused = answer()
    assert (refused["code"], BEYOND in refused["message"]) == ("image_dimensions", True)
    raise_limits(settings)
    accepted = answer()
    assert accepted.get("metadata", accepted)["width"] == WIDTH


def test_a_stored_image_is_read_after_the_limit_was_lowered(
    settings: Any, alices_program: Client, wide: bytes, hole: bytes
) -> None:
    raise_limits(settings)
    body = {"image": upload(wide), "mask": upload(hole), "prompt": "", "seed": 1}
    assert alices_program.post("/api/img2img", body).status_code == 200
    settings.MAX_MEGAPIXELS, settings.MAX_SIDE, settings.MAX_IMAGE_MB = 1, 100, 1
    generation = Generation.objects.get()
    source, result = generation.source.read(), generation.images.get().read()
    assert source.size == result.size
    assert generation.to_request().image.equals(source)
    for part in ("source", "images/0"):
        assert alices_program.get(f"/api/generations/{generation.pk}/{part}/preview/").status_code == 200


@pytest.mark.parametrize("fields", [{"outpaint_left": "8190"}, {"outpaint_size": "16384x64"}])
def test_the_canvas_of_an_outpainting_obeys_the_same_limits(
    settings: Any, alices_program: Client, photo_png: bytes, fields: dict[str, str]
) -> None:
    def answer() -> Any:
        body = {"image": upload(photo_png), "prompt": "", **fields}
        return alices_program.post("/api/plan/", body).json()

    assert answer()["code"] == "image_dimensions"
    raise_limits(settings)
    assert answer()["width"] in (8190 + 96, 16_384)


def test_a_mask_as_an_object_obeys_the_same_limits(settings: Any) -> None:
    sent = {"size": [HEIGHT, WIDTH], "path": "M100 8L106 8L106 14L100 14Z"}
    with pytest.raises(InvalidRequest, match="8192"):
        mask_of_object(sent, "mask", budget_of_request())
    raise_limits(settings)
    assert mask_of_object(sent, "mask", budget_of_request()).shape == (HEIGHT, WIDTH)


def test_a_batch_and_a_draft_obey_the_same_limits(
    settings: Any, alices_program: Client, alices_browser: Client, wide: bytes, hole: bytes
) -> None:
    sha256 = hashlib.sha256(wide).hexdigest()

    def codes() -> list[Any]:
        batch = alices_program.post("/api/batches/", {"images": upload(wide), "masks": upload(hole), "prompt": ""})
        draft = alices_browser.put(f"/api/draft/pictures/{sha256}/", wide, content_type="image/png")
        return [batch.status_code, draft.status_code]

    assert codes() == [400, 400]
    raise_limits(settings)
    assert codes() == [202, 204]


def test_a_file_of_more_bytes_is_refused_by_the_setting(settings: Any, alices_program: Client) -> None:
    settings.MAX_IMAGE_MB = 1
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    mask = png(np.where(noise[:, :, 0] > 250, np.uint8(0), np.uint8(255)))
    body = {"image": upload(encode_png(CanonicalImage(noise))), "mask": upload(mask), "prompt": ""}
    refused = alices_program.post("/api/plan/", body)
    assert (refused.status_code, refused.json()["code"], refused.json()["limit"]) == (413, "image_too_large", 2**20)
    settings.MAX_IMAGE_MB = 2
    body |= {"image": upload(encode_png(CanonicalImage(noise))), "mask": upload(mask)}
    assert alices_program.post("/api/plan/", body).json()["width"] == 700


def test_the_command_line_obeys_the_same_limits(settings: Any, tmp_path: Path, wide: bytes, hole: bytes) -> None:
    image, mask, out = tmp_path / "wide.png", tmp_path / "hole.png", tmp_path / "out.png"
    image.write_bytes(wide)
    mask.write_bytes(hole)
    with pytest.raises(CommandError, match=BEYOND):
        call_command("inpaint", image, mask, "-o", out, "--engine", "quick-fill")
    raise_limits(settings)
    call_command("inpaint", image, mask, "-o", out, "--engine", "quick-fill")
    assert out.exists()


def test_the_pages_show_and_check_the_limits(settings: Any, alices_browser: Client) -> None:
    settings.MAX_MEGAPIXELS, settings.MAX_SIDE, settings.MAX_IMAGE_MB = 120, 16_384, 200
    page = alices_browser.get("/").content.decode()
    assert "up to 200 MB and 120 megapixels" in page.replace("\xa0", " ")
    for shown in ('data-max-side="16384"', 'data-max-pixels="120000000"', f'data-max-image-bytes="{200 * 2**20}"'):
        assert shown in page
        assert shown in alices_browser.get("/batches/").content.decode()
    assert 'data-side="left" min="0" max="16384"' in page


@pytest.mark.parametrize(("megapixels", "others"), [(10, 20e6), (40, 20e6), (41, 41e6), (120, 120e6)])
def test_sixteen_bits_and_cmyk_may_have_all_pixels_where_the_limit_is_raised(
    settings: Any, megapixels: float, others: float
) -> None:
    settings.MAX_MEGAPIXELS = megapixels
    limits = image_limits()
    assert (limits.max_pixels_16_bit, limits.max_pixels_cmyk) == (others, others)
    assert limits.max_jpeg_scan_samples >= 25 * limits.max_pixels
