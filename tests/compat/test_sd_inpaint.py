"""The SD Inpainting API: every field with its values, the exact errors, the image in its exact size."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from accounts.models import User
from inpainting.core.codecs import encode_png
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.core.settings_table import MAX_SEED
from inpainting.models import Generation
from tests.conftest import png
from tests.contracts.dialect import DialectContract

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

URL = "/sd-inpaint/inpaint"
MISSING = {"type": "missing", "msg": "Field required", "input": None}
NOT_AN_INTEGER = "Input should be a valid integer, unable to parse string as an integer"
NOT_A_NUMBER = "Input should be a valid number, unable to parse string as a number"


def file(data: bytes, name: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "image/png")


def body_of(image: bytes, mask: bytes) -> dict[str, Any]:
    return {"image": file(image, "image.png"), "mask": file(mask, "mask.png"), "prompt": "a beautiful red rose"}


@pytest.fixture
def body(photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return body_of(photo_png, png(hole))


def paint(client: Client, fields: dict[str, Any], url: str = URL, **headers: str) -> Any:
    return client.post(url, {name: value for name, value in fields.items() if value is not None}, headers=headers)


def content_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else bytes(answer.content)


def opened(answer: Any) -> Image.Image:
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png"), answer.content
    return Image.open(BytesIO(content_of(answer)))


class TestSdInpaint(DialectContract):
    dialect = "sd-inpaint"
    below_the_prefix = "/sd-inpaint/nowhere"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        return paint(client, {**body_of(photo, mask), "seed": str(seed)}, **headers)

    def result(self, response: Any) -> object:
        opened_size = opened(response).size
        assert opened_size == (96, 64)
        return Generation.objects.latest("created_at").pk

    def check_error(self, response: Any, status: int) -> None:
        assert (response.status_code, list(response.json())) == (status, ["detail"]), response.content
        detail = response.json()["detail"]
        assert isinstance(detail, str)
        if status == 503:
            assert "No diffusion model is installed" in detail or "pull_model" in detail

    def test_a_bearer_token_is_a_key(self, alices_key: str, photo_png: bytes, white: bytes) -> None:
        self.result(self.send(Client(headers={"Authorization": f"Bearer {alices_key}"}), photo_png, white))

    def test_a_failure_names_what_failed(
        self, alices_program: Client, photo_png: bytes, white: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *arguments: 1 / 0)
        response = self.send(alices_program, photo_png, white)
        assert response.json()["detail"].startswith("Inpainting failed: ")

    def test_the_largest_image_to_paint_is_limited(
        self, alices_program: Client, photo_png: bytes, white: bytes, settings: Settings
    ) -> None:
        settings.MAX_PAINT_MEGAPIXELS = 0.0001
        response = self.send(alices_program, photo_png, white)
        self.check_error(response, 400)
        assert "megapixels" in response.json()["detail"]


# The answer


def test_the_answer_is_the_painted_png(
    alices_program: Client, alice: User, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    answer = paint(alices_program, body)
    image = opened(answer)
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (96, 64))
    painted = np.asarray(image)
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole == 255], photo[hole == 255])
    assert answer["Content-Disposition"] == "attachment; filename=sd_inpaint_result.png"
    assert answer["X-DreamLayer-Engine"] == "quick-fill"
    assert answer["X-DreamLayer-Ignored"] == "prompt"
    generation = Generation.objects.get()
    assert (generation.owner, generation.service, generation.source.name) == (alice, "sd-inpaint", "image.png")


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_other_modes_are_answered_as_rgb(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], channels: int, dtype: Any
) -> None:
    pixels = np.concatenate([photo, 200 - photo[:, :, :1] // 2], axis=2)[:, :, -channels:].astype(dtype)
    pixels *= 257 if dtype is np.uint16 else 1
    image = opened(paint(alices_program, body_of(encode_png(CanonicalImage(pixels)), png(hole))))
    assert (image.mode, image.size) == ("RGB", (96, 64))
    colour = pixels[:, :, : 3 if channels > 2 else 1].astype(np.uint16) // (257 if dtype is np.uint16 else 1)
    assert np.array_equal(np.asarray(image)[hole == 0], np.broadcast_to(colour, photo.shape)[hole == 0])


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "LA"])
def test_masks_of_any_mode_are_read(
    alices_program: Client, photo: NDArray[np.uint8], photo_png: bytes, hole: NDArray[np.uint8], mode: str
) -> None:
    data = BytesIO()
    Image.fromarray(hole).convert(mode).save(data, "PNG")
    painted = np.asarray(opened(paint(alices_program, body_of(photo_png, data.getvalue()))))
    assert np.array_equal(np.any(painted != photo, axis=2) & (hole == 0), np.zeros(hole.shape, bool))
    assert np.any(painted != photo)


def test_the_same_request_gives_the_same_image(alices_program: Client, body: dict[str, Any]) -> None:
    def pixels(**fields: str) -> bytes:
        for name in ("image", "mask"):
            body[name].seek(0)
        return opened(paint(alices_program, {**body, **fields})).tobytes()

    assert pixels(seed="-3") == pixels(seed="-3")


# Fields: what works


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"steps": 50, "guidance_scale": 7.5, "seed": 42, "negative_prompt": "", "strength": 1.0}),
        ({"prompt": " "}, {"prompt": " "}),
        ({"prompt": "a rose"}, {"prompt": "a rose"}),
        ({"negative_prompt": "blurry"}, {"negative_prompt": "blurry"}),
        ({"negative_prompt": ""}, {"negative_prompt": ""}),
        ({"num_inference_steps": "1"}, {"steps": 1}),
        ({"num_inference_steps": "150"}, {"steps": 150}),
        ({"num_inference_steps": "50.0"}, {"steps": 50}),
        ({"num_inference_steps": ""}, {"steps": 50}),
        ({"guidance_scale": "1"}, {"guidance_scale": 1.0}),
        ({"guidance_scale": "20.0"}, {"guidance_scale": 20.0}),
        ({"guidance_scale": ""}, {"guidance_scale": 7.5}),
        ({"seed": ""}, {"seed": 42}),
        ({"seed": "7"}, {"seed": 7}),
        ({"seed": "0"}, {"seed": MAX_SEED}),
        ({"seed": "-1"}, {"seed": MAX_SEED - 1}),
        ({"seed": str(2**80)}, {"seed": (2**80 - 1) % MAX_SEED + 1}),
        ({"unknown": "x"}, {"seed": 42}),
    ],
)
def test_a_field_reaches_the_model(
    alices_program: Client,
    body: dict[str, Any],
    diffusion_requests: list[InpaintRequest],
    fields: dict[str, str],
    expected: dict[str, Any],
) -> None:
    answer = paint(alices_program, {**body, **fields})
    assert opened(answer).size == (96, 64)
    (request,) = diffusion_requests
    assert {name: getattr(request.settings, name) for name in expected} == expected
    assert (answer["X-DreamLayer-Engine"], answer["X-DreamLayer-Model"]) == ("diffusion", "tiny")
    assert answer["X-DreamLayer-Ignored"] == ""


def test_grey_is_partial_and_white_is_repainted(
    alices_program: Client, photo_png: bytes, hole: NDArray[np.uint8]
) -> None:
    opened(paint(alices_program, body_of(photo_png, png(hole // 2))))
    assert np.array_equal(Generation.objects.get().mask.read_pixels(), hole // 2)


def test_a_form_without_files_in_urlencoded_form_is_read(alices_program: Client) -> None:
    answer = alices_program.post(URL, "prompt=x&image=y", content_type="application/x-www-form-urlencoded")
    assert [entry["loc"][1] for entry in answer.json()["detail"]] == ["image", "mask"]


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_both_slash_forms_are_served(alices_program: Client, body: dict[str, Any], url: str) -> None:
    assert opened(paint(alices_program, body, url)).size == (96, 64)


# Fields: what is refused


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"mask": None}, [{**MISSING, "loc": ["body", "mask"]}]),
        ({"prompt": ""}, [{**MISSING, "loc": ["body", "prompt"]}]),
        (
            {"image": None, "prompt": None, "seed": "1.5"},
            [
                {**MISSING, "loc": ["body", "image"]},
                {**MISSING, "loc": ["body", "prompt"]},
                {"type": "int_parsing", "loc": ["body", "seed"], "msg": NOT_AN_INTEGER, "input": "1.5"},
            ],
        ),
        (
            {"image": "a text"},
            [
                {
                    "type": "value_error",
                    "loc": ["body", "image"],
                    "msg": "Value error, Expected UploadFile, received: <class 'str'>",
                    "input": "a text",
                    "ctx": {"error": {}},
                }
            ],
        ),
        (
            {"num_inference_steps": "151"},
            [
                {
                    "type": "less_than_equal",
                    "loc": ["body", "num_inference_steps"],
                    "msg": "Input should be less than or equal to 150",
                    "input": "151",
                    "ctx": {"le": 150},
                }
            ],
        ),
        (
            {"num_inference_steps": "0"},
            [
                {
                    "type": "greater_than_equal",
                    "loc": ["body", "num_inference_steps"],
                    "msg": "Input should be greater than or equal to 1",
                    "input": "0",
                    "ctx": {"ge": 1},
                }
            ],
        ),
        (
            {"num_inference_steps": "50.5"},
            [
                {
                    "type": "int_parsing",
                    "loc": ["body", "num_inference_steps"],
                    "msg": NOT_AN_INTEGER,
                    "input": "50.5",
                }
            ],
        ),
        (
            {"guidance_scale": "0.5"},
            [
                {
                    "type": "greater_than_equal",
                    "loc": ["body", "guidance_scale"],
                    "msg": "Input should be greater than or equal to 1",
                    "input": "0.5",
                    "ctx": {"ge": 1.0},
                }
            ],
        ),
        (
            {"guidance_scale": "high"},
            [{"type": "float_parsing", "loc": ["body", "guidance_scale"], "msg": NOT_A_NUMBER, "input": "high"}],
        ),
        (
            {"seed": "abc"},
            [{"type": "int_parsing", "loc": ["body", "seed"], "msg": NOT_AN_INTEGER, "input": "abc"}],
        ),
    ],
)
def test_an_invalid_field_is_a_422(
    alices_program: Client, body: dict[str, Any], fields: dict[str, Any], detail: list[dict[str, Any]]
) -> None:
    answer = paint(alices_program, {**body, **fields})
    assert (answer.status_code, answer.json()) == (422, {"detail": detail})
    assert not Generation.objects.exists()


@pytest.mark.parametrize("sent", ["nan", "inf", "-inf", "20.5"])
def test_numbers_that_are_no_guidance_are_a_422(alices_program: Client, body: dict[str, Any], sent: str) -> None:
    (entry,) = paint(alices_program, {**body, "guidance_scale": sent}).json()["detail"]
    assert (entry["loc"], entry["input"]) == (["body", "guidance_scale"], sent)


def test_a_json_body_has_none_of_the_fields(alices_program: Client) -> None:
    bodies: list[Any] = [{"prompt": "a rose", "image": "x"}, [], "{"]
    for body in bodies:
        answer = alices_program.post(URL, body, content_type="application/json")
        required = [{**MISSING, "loc": ["body", name]} for name in ("image", "mask", "prompt")]
        assert (answer.status_code, answer.json()) == (422, {"detail": required})


def test_unreadable_files_are_a_400_and_the_image_is_read_first(
    alices_program: Client, body: dict[str, Any], photo_png: bytes
) -> None:
    text = b"no image"
    for fields, start in (
        ({"image": file(text, "image.png"), "mask": file(text, "mask.png")}, "Invalid image file: "),
        ({"image": file(photo_png[:300], "image.png")}, "Invalid image file: "),
        ({"mask": file(text, "mask.png")}, "Invalid mask file: "),
        ({"mask": file(b"", "mask.png")}, "Invalid mask file: "),
    ):
        for image in (*body.values(), *fields.values()):
            if not isinstance(image, str):
                image.seek(0)
        answer = paint(alices_program, {**body, **fields})
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(start), answer.json()
    assert paint(alices_program, {**body, "image": file(text, "x"), "seed": "x"}).status_code == 422, "fields first"


def test_a_mask_of_another_size_is_a_400(alices_program: Client, body: dict[str, Any]) -> None:
    answer = paint(alices_program, {**body, "mask": file(png(np.full((48, 64), 255, np.uint8)), "mask.png")})
    message = "Image and mask must have same dimensions. Image: (96, 64), Mask: (64, 48)"
    assert (answer.status_code, answer.json()) == (400, {"detail": message})


def test_a_mask_over_all_is_painted_by_a_model(
    alices_program: Client, photo_png: bytes, diffusion_requests: list[InpaintRequest]
) -> None:
    opened(paint(alices_program, body_of(photo_png, png(np.full((64, 96), 255, np.uint8)))))
    assert diffusion_requests[0].mask.min() == 255


def test_other_paths_and_methods_are_answered_as_fastapi_does(alices_program: Client) -> None:
    for answer, status, detail in (
        (alices_program.get(URL), 405, "Method Not Allowed"),
        (alices_program.post("/sd-inpaint/health"), 405, "Method Not Allowed"),
        (alices_program.get("/sd-inpaint/nowhere"), 404, "Not Found"),
        (alices_program.post("/sd-inpaint/"), 404, "Not Found"),
    ):
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})


# Keys and limits


def test_it_works_without_a_key_where_the_administrator_allows_that(body: dict[str, Any], settings: Settings) -> None:
    settings.ANONYMOUS_API = "on"
    assert opened(paint(Client(), body)).size == (96, 64)
    assert Generation.objects.get().owner.email == "local@localhost"


# Health


@pytest.mark.parametrize("url", ["/sd-inpaint/health", "/sd-inpaint/health/"])
def test_health_has_exactly_three_keys_and_needs_no_key(url: str) -> None:
    answer = Client().get(url)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json() == {
        "status": "healthy",
        "service": "stable-diffusion-inpaint",
        "model": "runwayml/stable-diffusion-inpainting",
    }


@pytest.mark.parametrize("url", ["/health", "/health/"])
def test_the_host_of_the_service_has_a_health_route(client: Client, url: str) -> None:
    answer = client.get(url)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert client.post(url).json() == {"detail": "Method Not Allowed"}
