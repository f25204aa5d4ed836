"""TIFF, BMP, AVIF and HEIC at the inputs of the APIs: as files, as base64, behind URLs and as conditioning images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

from inpainting.models import Generation
from tests.api.bodies import shape_a, shape_c, text, upload
from tests.core import heifs, hostile, tiffs
from tests.support.matrix import first_alone

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS: dict[str, tuple[Callable[[NDArray[np.uint8]], bytes], str]] = {
    "TIFF": (lambda photo: tiffs.by_tifffile(photo.astype(np.uint16) * 257, photometric="rgb"), "image/tiff"),
    "BMP": (lambda photo: hostile.saved(Image.fromarray(photo), "BMP"), "image/bmp"),
    "AVIF": (heifs.avif, "image/avif"),
    "HEIC": (heifs.heic, ""),  # browsers often know no type for it
}


def check_source(photo: NDArray[np.uint8]) -> None:
    """The last generation has succeeded, from the photo as its source."""
    generation = Generation.objects.latest("created_at")
    assert generation.status == "succeeded"
    assert generation.source is not None
    source = generation.source.read()
    values = source.pixels.astype(np.float64) / np.iinfo(source.pixels.dtype).max * 255
    assert np.abs(values - photo).mean() < 3


@pytest.mark.parametrize("format", WRITERS)
def test_a_file_is_accepted(alices_program: Client, photo: NDArray[np.uint8], mask_png: bytes, format: str) -> None:
    write, content_type = WRITERS[format]
    sent = upload(write(photo), name=f"IMG_1.{format}", content_type=content_type)
    answer = alices_program.post("/api/img2img", shape_a(b"", mask_png, image=sent, engine="quick-fill"))
    assert answer.status_code == 200, answer.content
    check_source(photo)


@pytest.mark.parametrize("format", WRITERS)
def test_base64_is_accepted(alices_program: Client, photo: NDArray[np.uint8], mask_png: bytes, format: str) -> None:
    body = shape_c(b"", mask_png, input_image=text(WRITERS[format][0](photo)), engine="quick-fill")
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    check_source(photo)


@pytest.mark.parametrize("format", WRITERS)
def test_a_url_is_accepted(
    alices_program: Client, photo: NDArray[np.uint8], mask_png: bytes, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, *, field: str, policy: Any) -> bytes:
        return WRITERS[format][0](photo)

    monkeypatch.setattr("inpainting.api.images.download_image", download)
    body = shape_c(b"", mask_png, input_image="https://pictures.example/photo", engine="quick-fill")
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    check_source(photo)


@pytest.mark.parametrize("format", first_alone(*WRITERS))
def test_the_dialects_accept_it(alices_key: str, photo: NDArray[np.uint8], mask_png: bytes, format: str) -> None:
    body = {
        "key": alices_key,
        "model_id": "lazymixv4-inpaint",
        "init_image": text(WRITERS[format][0](photo)),
        "mask_image": text(mask_png),
        "prompt": "a stone path",
    }
    answer = Client().post("/api/v6/images/inpaint", body, content_type="application/json")
    assert answer.json()["status"] in ("success", "processing"), answer.content


def test_masks_stay_png(alices_program: Client, photo_png: bytes, photo: NDArray[np.uint8]) -> None:
    body = shape_a(photo_png, b"", mask=upload(heifs.heic(photo), name="mask.png"))
    answer = alices_program.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "mask_type_unsupported")
