"""The largest images with the largest masks: the memory and the time of painting are bounded."""

from __future__ import annotations

import io
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from json import dumps, loads

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.attacks.images import HEIGHT, WIDTH, large_gif
from tests.attacks.measurement import MB, Measurement
from tests.support.installation import Installation

pytestmark = pytest.mark.attack

Bytes = NDArray[np.uint8]


def encoded(image: Image.Image, file_format: str) -> str:
    data = io.BytesIO()
    image.save(data, file_format)
    return b64encode(data.getvalue()).decode()


def kept_corner() -> Bytes:
    """64x64, of which one sixteenth is kept (white); the server enlarges it."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:16, :16] = 255
    return mask


def checkerboard() -> Bytes:
    return (np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 * 255).astype(np.uint8)


def body(mask: Bytes) -> bytes:
    """The request for the image with this mask."""
    images = {"image": encoded(large_gif(), "GIF"), "mask": encoded(Image.fromarray(mask), "PNG")}
    return dumps({**images, "prompt": "", "engine": "quick-fill"}).encode()


@pytest.fixture
def server_environment() -> dict[str, str]:
    return {"DREAMLAYER_WORKERS": "2"}


def results(server: Installation) -> list[tuple[str, int]]:
    """Status and changed pixels outside the mask of each ended generation, or -1."""
    query = """SELECT status, coalesce(outside_mask_changed_pixels, -1) FROM inpainting_generation
        LEFT JOIN inpainting_generatedimage ON generation_id = inpainting_generation.id WHERE finished_at IS NOT NULL"""
    with closing(sqlite3.connect(server.folder / "dreamlayer.sqlite3", timeout=20)) as database:
        return database.execute(query).fetchall()


@pytest.mark.full
@pytest.mark.parametrize("mask", [kept_corner, checkerboard])
def test_two_of_the_largest_images_at_once(server: Installation, server_key: str, mask: Callable[[], Bytes]) -> None:
    data = body(mask())
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    with Measurement(server) as measured:
        started = time.monotonic()
        for _ in range(2):
            status, answer = server.get("/api/img2img", key=server_key, data=data, headers=headers)
            assert status == 202, answer
        server.wait_until(lambda: results(server), seconds=500)
        print(f"\npainted in {time.monotonic() - started:.1f} s")
    assert results(server)[0] == ("succeeded", 0)
    assert measured.extra_memory < 1500 * MB
    assert measured.slowest_page < 10


@pytest.mark.full
@pytest.mark.parametrize("server_environment", [{"DREAMLAYER_MAX_PAINT_MEGAPIXELS": "20"}])
def test_more_than_the_limit_is_refused_before_it_costs(server: Installation, server_key: str) -> None:
    data = body(kept_corner())
    with Measurement(server) as measured:
        status, answer = server.get(
            "/api/img2img", key=server_key, data=data, headers={"Content-Type": "application/json"}
        )
    assert (status, loads(answer)["code"]) == (400, "too_much_to_paint")
    assert (loads(answer)["limit"], loads(answer)["actual"]) == (20, 37.5)
    assert measured.extra_memory < 600 * MB
    assert measured.slowest_page < 5
