"""Deep-Image's requests that paint nothing: without a background, and on a blurred canvas."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import User
from inpainting.api.concurrency_limits import limit_segmentations
from inpainting.core.codecs import decode_image
from inpainting.models import Generation
from tests.compat.deep_image import PHOTO_URL, download, outpainting, post, refused, serve_images

pytestmark = pytest.mark.django_db(transaction=True)
RED = (220, 20, 20)


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    """[64, 96, 3]: a red disc on a grey wall."""
    pixels = np.full((64, 96, 3), 190, np.uint8) + np.random.default_rng(3).integers(0, 8, (64, 96, 3)).astype(np.uint8)
    cv2.circle(pixels, (48, 32), 16, RED, -1)
    return pixels


@pytest.fixture
def program(
    alices_key: str, monkeypatch: pytest.MonkeyPatch, scene: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> Client:
    serve_images(monkeypatch, scene, hole)
    return Client(headers={"x-api-key": alices_key})


def result(program: Client, body: dict[str, Any]) -> tuple[NDArray[Any], dict[str, Any], str]:
    """The pixels of the result, the answer's `meta`, and the ending of the link."""
    content = post(program, body).json()
    assert content["status"] == "complete", content
    url = content["result_url"]
    return decode_image(download(url)).image.pixels, content["meta"], url.rpartition(".")[2]


def removing(**fields: Any) -> dict[str, Any]:
    return {"url": PHOTO_URL, "background": {"remove": "auto", **fields}}


def test_the_background_becomes_transparent_and_the_object_stays(program: Client, scene: NDArray[np.uint8]) -> None:
    pixels, meta, kind = result(program, removing())
    assert (pixels.shape, kind) == ((64, 96, 4), "png")
    assert np.array_equal(pixels[:, :, :3], scene)
    alpha = pixels[:, :, 3]
    assert alpha[26:38, 42:54].mean() > 200
    assert alpha[:8].mean() < 50
    assert "The background was removed by the segmenter saliency." in meta["warnings"]
    assert meta["ignored"] == []


def test_an_image_without_an_object_is_reported(
    program: Client, monkeypatch: pytest.MonkeyPatch, hole: NDArray[np.uint8]
) -> None:
    serve_images(monkeypatch, np.full((64, 96, 3), 100, np.uint8), hole)
    pixels, meta, _ = result(program, removing())
    assert not pixels[:, :, 3].any()
    assert "The segmenter saliency found no object; all of the image was removed." in meta["warnings"]


@pytest.mark.parametrize(("sent", "colour"), [("#00FF40", (0, 255, 64)), ("auto", (255, 255, 255))])
def test_the_background_gets_a_colour(program: Client, sent: str, colour: tuple[int, int, int]) -> None:
    pixels, meta, _ = result(program, removing(color=sent))
    assert pixels.shape == (64, 96, 3)
    assert np.abs(pixels[:4, :4].astype(int) - colour).max() < 40
    assert np.abs(pixels[30:34, 46:50].astype(int) - RED).max() < 40
    assert meta["ignored"] == []


def test_a_format_without_alpha_gets_white(program: Client) -> None:
    pixels, _, kind = result(program, {**removing(color="transparent"), "output_format": "jpg"})
    assert (pixels.shape, kind) == ((64, 96, 3), "jpg")
    assert pixels[:4, :4].mean() > 220


def test_the_result_fits_within_the_requested_size(program: Client) -> None:
    assert result(program, {**removing(), "width": 192, "height": 400})[0].shape == (128, 192, 4)


def test_removals_are_limited_as_segmentations_are(program: Client, alice: User, settings: Settings) -> None:
    settings.SEGMENTATIONS_PER_USER = 1
    with limit_segmentations(alice):
        assert refused(post(program, removing()), 429)["code"] == "TOO_MANY_REQUESTS"
    assert not Generation.objects.exists()


def test_a_key_is_needed(program: Client) -> None:
    assert post(Client(), removing()).status_code == 403
    assert post(Client(headers={"x-api-key": "wrong"}), removing()).status_code == 404


def test_a_canvas_is_filled_with_a_blurred_copy(program: Client, scene: NDArray[np.uint8]) -> None:
    pixels, meta, _ = result(program, outpainting(width=200, height=64, fit={"canvas": "blur"}))
    assert pixels.shape == (64, 200, 3)
    assert np.array_equal(pixels[:, 52:148], scene), "the image is in the middle"
    side = pixels[:, :48].astype(int)
    assert np.abs(side - 190).mean() < 60, "its colours"
    assert np.abs(np.diff(side, axis=1)).max() <= np.abs(np.diff(scene[:, :40].astype(int), axis=1)).max(), "blurred"
    assert meta["engine"] == "quick-fill"
    assert meta["ignored"] == []


def test_another_task_lists_what_it_does_not_read(program: Client) -> None:
    body = outpainting(background={"remove": "auto", "color": "#ffffff"})
    assert set(result(program, body)[1]["ignored"]) == {"background.remove", "background.color"}
