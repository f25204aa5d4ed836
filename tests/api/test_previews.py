"""Previews: WebP copies for pages, made at the first request, stored, and deleted with the image."""

from __future__ import annotations

import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

from accounts.models import User
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.generations.delete import delete, delete_all_of_user
from inpainting.media import conversions
from inpainting.media.previews import thumbnail_of
from inpainting.models import GeneratedImage, Generation, Mask, SourceImage
from inpainting.models.images import (
    PREVIEW,
    THUMBNAIL,
    PreviewedImage,
    StoredImage,
    ThumbnailedImage,
)
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)

Generate = Callable[..., Generation]
MEGABYTE = 1_000_000


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


def grass(width: int, height: int) -> NDArray[np.uint8]:
    """[height, width, 3] RGB: as rich in detail as a photo of a meadow, at every scale."""
    rng = np.random.default_rng(3)
    detail: NDArray[Any] = np.zeros((height, width, 3), np.float32)
    for share in (1, 4, 16, 64):
        grain = rng.normal(0, 22, (height // share + 1, width // share + 1, 3)).astype(np.float32)
        detail += cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(detail + np.array([90, 120, 60]), 0, 255).astype(np.uint8)


def replace_file(canonical: StoredImage, pixels: NDArray[np.uint8]) -> None:
    """Store other pixels, RGB or grey, in the place of those of the row."""
    image = CanonicalImage(pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis])
    canonical.write(png(pixels), image)
    if isinstance(canonical, ThumbnailedImage):
        canonical.thumbnail = ""  # made from the new file when it is requested
    canonical.save()


class ImageSources(HTMLParser):
    """The addresses of the images that a page loads. Those "before" are loaded when a card is pointed at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img" and values.get("class") != "before":
            self.found.add(values["src"] or "")


def loaded_bytes(client: Client, path: str) -> int:
    """Bytes of a page and of the images of generations in it."""
    html = client.get(path).content
    images = {address for address in ImageSources(html.decode()).found if not address.startswith("/static/")}
    assert images
    return len(html) + sum(len(b"".join(client.get(address))) for address in images)


def test_a_preview_is_made_once_and_stored(alice: User, alices_program: Client, generate: Generate) -> None:
    generation = generate(alice)
    before = files()
    content = alices_program.get(f"/api/generations/{generation.pk}/").json()
    (image,) = content["images"]
    for link, row in (
        (content["source_preview"], generation.source),
        (content["mask_preview"], generation.mask),
        (image["preview"], generation.images.get()),
    ):
        first = alices_program.get(link)
        assert first["Content-Type"] == "image/webp"
        assert first["Cache-Control"].startswith("private")
        data = first.getvalue()
        assert Image.open(io.BytesIO(data)).size == (96, 64), "never enlarged"
        row.refresh_from_db()
        assert Path(row.preview.path).read_bytes() == data
        assert alices_program.get(link)["ETag"] == first["ETag"]
    assert len(files() - before) == 3
    assert alices_program.get(image["thumbnail"]).status_code == 200
    assert alices_program.get(content["source_thumbnail"]).status_code == 200


def test_a_preview_of_a_large_image_has_at_most_1600_pixels_a_side(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    generation = generate(alice)
    replace_file(generation.source, grass(2400, 600))
    data = alices_program.get(f"/api/generations/{generation.pk}/source/preview/").getvalue()
    assert Image.open(io.BytesIO(data)).size == (1600, 400)


@pytest.mark.parametrize("remove", [delete, lambda generation: delete_all_of_user(generation.owner)])
def test_a_preview_is_deleted_with_its_image(
    alice: User, alices_program: Client, generate: Generate, photo: NDArray[np.uint8], remove: Callable[..., object]
) -> None:
    before = files()
    generation = generate(alice, **dict.fromkeys(CONDITIONING_IMAGES, CanonicalImage(photo)))
    for part in ("source", "mask", *(name.replace("_", "-") for name in CONDITIONING_IMAGES), "images/0"):
        assert alices_program.get(f"/api/generations/{generation.pk}/{part}/preview/").status_code == 200
    assert remove(Generation.objects.get())
    assert files() == before


def test_a_preview_that_is_made_while_its_row_is_deleted_leaves_no_file(alice: User, generate: Generate) -> None:
    before = files()
    generation = generate(alice)
    rows: list[PreviewedImage] = [SourceImage.objects.get(), Mask.objects.get(), GeneratedImage.objects.get()]
    assert delete(generation)
    for row in rows:
        assert not row.store_reduced("preview", b"made too late")
    assert files() == before


def test_the_second_of_two_concurrent_previews_is_not_kept(alice: User, generate: Generate) -> None:
    generate(alice)
    first, second = SourceImage.objects.get(), SourceImage.objects.get()
    assert first.store_reduced("preview", b"first")
    before = files()
    assert not second.store_reduced("preview", b"second")
    assert files() == before
    assert Path(SourceImage.objects.get().preview.path).read_bytes() == b"first"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OperationalError("database is locked")])
def test_a_preview_that_cannot_be_stored_is_sent_nevertheless(
    alice: User, alices_program: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    generation = generate(alice)

    def fail(*args: object) -> bool:
        raise error

    monkeypatch.setattr(PreviewedImage, "store_reduced", fail)
    answer = alices_program.get(f"/api/generations/{generation.pk}/source/preview/")
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(answer.getvalue())).size == (96, 64)


def test_previews_are_made_one_at_a_time(
    alice: User, alices_program: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversions, "WAIT_SECONDS", 0)
    url = f"/api/generations/{generate(alice).pk}/source/preview/"
    with conversions.converting():
        answer = alices_program.get(url)
        assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "try_again", "5")
    assert alices_program.get(url).status_code == 200


def test_a_missing_file_has_no_preview(alice: User, alices_program: Client, generate: Generate) -> None:
    generation = generate(alice)
    Path(generation.source.file.path).unlink()
    answer = alices_program.get(f"/api/generations/{generation.pk}/source/preview/")
    assert (answer.status_code, answer.json()["code"]) == (410, "result_expired")


def test_a_page_of_24_detailed_generations_is_smaller_than_600_kilobytes(
    client: Client, alice: User, generate: Generate
) -> None:
    first = generate(alice)
    detailed = grass(1200, 900)
    replace_file(first.source, detailed)
    replace_file(first.images.get(), detailed)
    image = first.images.get()
    assert 0 < thumbnail_of(image).size <= THUMBNAIL.max_bytes
    for _ in range(23):
        again = first.copy_for_rerun()
        again.status = first.status
        again.save_new()
        image.pk, image.generation = uuid4(), again
        image.save(force_insert=True)
    client.force_login(alice)
    assert loaded_bytes(client, "/history/") < 600_000


def test_the_page_of_24_megapixels_is_smaller_than_1500_kilobytes(
    client: Client, alice: User, generate: Generate
) -> None:
    generation = generate(alice)
    detailed = np.tile(grass(1200, 1000), (4, 5, 1))
    replace_file(generation.source, detailed)
    replace_file(generation.images.get(), detailed)
    strokes = np.zeros((4000, 6000), np.uint8)
    cv2.circle(strokes, (3000, 2000), 900, 255, -1)
    replace_file(generation.mask, cv2.blur(strokes, (99, 99)).astype(np.uint8))
    client.force_login(alice)
    assert loaded_bytes(client, f"/generations/{generation.pk}/") < 1.5 * MEGABYTE
    assert generation.images.get().file.size > 20 * MEGABYTE
    assert GeneratedImage.objects.get().preview.size <= PREVIEW.max_bytes
