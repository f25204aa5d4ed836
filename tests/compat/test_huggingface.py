"""The inference API of Hugging Face: one address for each model, images in base64 or as the whole body."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from inpainting.core.request import InpaintRequest
from inpainting.models import Generation, InferenceModel
from tests.conftest import png
from tests.contracts.dialect import DialectContract

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

STATUSES = {503: 424}
"""Status of the contract -> the service's, for a model that is missing."""


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(client: Client, inputs: Any, name: str = "auto", **values: Any) -> Any:
    return client.post(f"/hf/{name}", {"inputs": inputs, "parameters": values}, content_type="application/json")


def post_bytes(client: Client, data: bytes, name: str, content_type: str = "image/png", **headers: str) -> Any:
    return client.generic("POST", f"/hf/{name}", data, content_type=content_type, headers=headers)


def image_of(response: Any) -> NDArray[np.uint8]:
    assert (response.status_code, response["Content-Type"]) == (200, "image/png"), response.content
    return np.asarray(Image.open(BytesIO(response.content)))


def error(response: Any, status: int) -> str:
    """Check the shape of an error, and return its text."""
    assert response.status_code == status, response.content
    assert list(response.json()) == ["error", "estimated_time"][: 2 if status == 503 else 1]
    found: str = response.json()["error"]
    assert isinstance(found, str)
    return found


@pytest.fixture
def photo_text(photo_png: bytes) -> str:
    return text(photo_png)


class TestHuggingFace(DialectContract):
    dialect = "huggingface"
    below_the_prefix = "/hf/"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        values = {"mask_image": text(mask), "prompt": "a rose", "seed": seed}
        body = {"inputs": text(photo), "parameters": values}
        return client.post("/hf/auto", body, content_type="application/json", headers=headers)

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        return post(client, text(photo), name, mask_image=text(mask))

    def result(self, response: Any) -> object:
        assert image_of(response).shape == (64, 96, 3)
        return Generation.objects.latest("created_at").pk

    def check_error(self, response: Any, status: int) -> None:
        error(response, STATUSES.get(status, status))


def test_only_the_white_part_of_the_mask_is_repainted(
    alices_program: Client, photo: NDArray[np.uint8], photo_text: str, hole: NDArray[np.uint8]
) -> None:
    answer = post(alices_program, photo_text, mask_image=text(png(hole)), prompt="")
    where = np.any(image_of(answer) != photo, axis=2)
    assert np.count_nonzero(where[hole == 0]) == 0
    assert np.count_nonzero(where[hole == 255]) > 100
    assert answer["X-DreamLayer-Engine"] == "quick-fill"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"prompt": "a rose", "steps": None, "guidance_scale": None, "strength": None}),
        ({"negative_prompt": "blurry"}, {"negative_prompt": "blurry"}),
        ({"num_inference_steps": 20}, {"steps": 20}),
        ({"guidance_scale": 5}, {"guidance_scale": 5.0}),
        ({"strength": 0.7}, {"strength": 0.7}),
        ({"strength": None}, {"strength": None}),
        ({"seed": 5}, {"seed": 5}),
    ],
)
def test_a_parameter_reaches_the_model(
    alices_program: Client,
    photo_text: str,
    hole: NDArray[np.uint8],
    diffusion_requests: list[InpaintRequest],
    values: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    answer = post(alices_program, photo_text, "tiny", mask_image=text(png(hole)), **{"prompt": "a rose", **values})
    assert image_of(answer).shape == (64, 96, 3)
    requested = Generation.objects.get().requested_settings.settings
    assert {name: requested.get(name) for name in expected} == expected
    assert (answer["X-DreamLayer-Model"], answer["X-DreamLayer-Ignored"]) == ("tiny", "")


def test_the_target_size_is_that_of_the_result(
    alices_program: Client, photo_text: str, hole: NDArray[np.uint8]
) -> None:
    size = {"width": 128, "height": 80}
    answer = post(alices_program, photo_text, mask_image=text(png(hole)), target_size=size)
    assert image_of(answer).shape == (80, 128, 3)


def test_what_has_no_effect_is_listed(alices_program: Client, photo_text: str, hole: NDArray[np.uint8]) -> None:
    answer = post(alices_program, photo_text, mask_image=text(png(hole)), scheduler="x", width=64, steps=3, seed=1)
    assert answer["X-DreamLayer-Ignored"] == "scheduler, steps, width"


def test_without_a_mask_the_whole_image_is_repainted(
    alices_program: Client, photo_text: str, diffusion_requests: list[InpaintRequest]
) -> None:
    assert image_of(post(alices_program, photo_text, prompt="a lawn", strength=0.4)).shape == (64, 96, 3)
    (request,) = diffusion_requests
    assert (request.mask.min(), request.settings.strength) == (255, 0.4)


@pytest.mark.parametrize(("values", "size"), [({}, (512, 320)), ({"width": 128, "height": 64}, (128, 64))])
@pytest.mark.parametrize("words", ["a cat", "猫" * 70, "photo" * 20 + " of a cat"])
def test_words_are_painted(
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    values: dict[str, int],
    size: tuple[int, int],
    words: str,
) -> None:
    InferenceModel.objects.filter(slug="tiny").update(width=512, height=320)
    answer = post(alices_program, words, "tiny", strength=0.3, **values)
    height, width, _ = image_of(answer).shape
    assert ((width, height), diffusion_requests[0].settings.prompt) == (size, words)
    assert answer["X-DreamLayer-Ignored"] == "strength"


@pytest.mark.parametrize("name", ["auto", "image-to-image", "tiny", "tiny/", "org/tiny"])
def test_a_name_stands_for_a_model(
    alices_program: Client, photo_text: str, hole: NDArray[np.uint8], diffusion_requests: object, name: str
) -> None:
    InferenceModel.objects.filter(slug="tiny").update(aliases=["org/tiny"])
    answer = post(alices_program, photo_text, name, mask_image=text(png(hole)), prompt="a rose")
    assert answer["X-DreamLayer-Model"] == "tiny"


def test_a_model_that_nobody_has_is_a_404_unless_the_site_lets_the_server_choose(
    alices_program: Client, photo_text: str, hole: NDArray[np.uint8], settings: Settings
) -> None:
    mask = text(png(hole))
    assert "no model of that name" in error(post(alices_program, photo_text, "org/none", mask_image=mask), 404)
    settings.COMPAT_ANY_MODEL = ["huggingface"]
    assert image_of(post(alices_program, photo_text, "org/none", mask_image=mask)).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("inputs", "values", "named"),
    [
        (text(b"no image" * 20), {}, "Invalid image"),
        ("{photo}", {"mask_image": "!"}, "Invalid mask"),
        ("{photo}", {"mask_image": 5}, "mask_image"),
        ("{photo}", {"num_inference_steps": 0}, "num_inference_steps"),
        ("{photo}", {"guidance_scale": "high"}, "guidance_scale"),
        ("{photo}", {"strength": 1.5}, "strength"),
        ("{photo}", {"target_size": {"width": 100}}, "target_size"),
        ("a cat", {"width": 10}, "width"),
        (5, {}, "inputs"),
    ],
)
def test_an_invalid_request_is_a_400(
    alices_program: Client, photo_text: str, inputs: Any, values: dict[str, Any], named: str
) -> None:
    sent = photo_text if inputs == "{photo}" else inputs
    assert named in error(post(alices_program, sent, **values), 400)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("body", ['{"inputs": "a cat", "parameters": []}', '{"inputs": "a', "[]"])
def test_a_body_that_cannot_be_read_is_a_400(alices_program: Client, body: str) -> None:
    error(alices_program.post("/hf/auto", body, content_type="application/json"), 400)


# Tasks


@pytest.mark.parametrize("is_json", [True, False])
def test_an_image_is_described_as_each_client_reads_it(alices_program: Client, photo_png: bytes, is_json: bool) -> None:
    def describe(**headers: str) -> Any:
        data = json.dumps({"inputs": text(photo_png)}).encode() if is_json else photo_png
        kind = "application/json" if is_json else "image/png"
        return post_bytes(alices_program, data, "image-to-text", kind, **headers).json()

    (found,) = describe()
    assert list(found) == ["generated_text"]
    assert found["generated_text"]
    assert describe(**{"User-Agent": "@huggingface/inference/4.13.30"}) == found


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", ""])
def test_the_masks_of_objects_are_found(
    alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes, content_type: str
) -> None:
    (found,) = post_bytes(alices_program, photo_png, "image-segmentation", content_type).json()
    assert (found["label"], list(found)) == ("object", ["label", "score", "mask"])
    assert 0 <= found["score"] <= 1
    mask = Image.open(BytesIO(base64.b64decode(found["mask"])))
    assert (mask.mode, mask.size) == ("L", photo.shape[1::-1])


def test_a_segmenter_by_its_name_that_is_not_installed_is_refused(alices_program: Client, photo_png: bytes) -> None:
    assert "pull_model" in error(
        post_bytes(
            alices_program,
            photo_png,
            "sam-vit-base",
        ),
        424,
    )


@pytest.mark.parametrize("name", ["image-to-text", "image-segmentation"])
@pytest.mark.parametrize("data", [b"", b"no image"])
def test_a_task_without_an_image_is_a_400(alices_program: Client, name: str, data: bytes) -> None:
    error(post_bytes(alices_program, data, name), 400)


def test_a_task_needs_a_key(db: None, photo_png: bytes) -> None:
    error(post_bytes(Client(), photo_png, "image-to-text"), 401)
