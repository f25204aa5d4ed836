"""`POST /api/img2img` as in the published contract."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.codecs import decode_image, read_png_texts
from inpainting.models import Generation, SourceImage, Status
from tests.conftest import png

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.


def upload(data: bytes, *, name: str = "input.png", content_type: str = "image/png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, content_type)


@pytest.fixture
def body(photo_png: bytes, mask_png: bytes) -> dict[str, Any]:
    """The form of the published example, with numbers as text."""
    return {
        "image": upload(photo_png),
        "mask": upload(mask_png, name="mask.png"),
        "prompt": "a stone path",
        "negative_prompt": "people",
        "denoising_strength": "0.75",
    }


@pytest.mark.parametrize("slug", ["\ud800", "a\x00", "x" * 65, "Ink", ""])
@pytest.mark.parametrize("field", ["embeddings", "loras"])
def test_an_invalid_slug_is_refused_by_every_engine(
    alices_program: Client, body: dict[str, Any], field: str, slug: str
) -> None:
    sent = json.dumps([slug] if field == "embeddings" else [{"slug": slug}])
    answer = alices_program.post("/api/img2img", body | {"engine": "quick-fill", field: sent})
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert "1 to 64 of the characters a-z 0-9 . _ -" in answer.json()["message"]
    assert not Generation.objects.exists()


def rewound(body: dict[str, Any]) -> dict[str, Any]:
    """Rewind the files of the body, so that it can be sent again."""
    for name in ("image", "mask"):
        body[name].seek(0)
    return body


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_image(data).image.pixels)


def test_the_published_request_gets_the_published_answer(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    answer = alices_program.post("/api/img2img", body)
    assert answer.status_code == 200
    content = answer.json()
    assert content["status"] == "success"
    metadata = content["metadata"]
    assert metadata["prompt"] == "a stone path"
    assert metadata["negative_prompt"] == "people"
    assert metadata["denoising_strength"] == 0.75
    assert metadata["engine"] == "quick-fill"
    assert {"prompt", "negative_prompt", "denoising_strength"} <= set(metadata["ignored"])
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    generation = Generation.objects.get()
    assert content["id"] == str(generation.pk)
    assert content["images"] == [entry["url"] for entry in content["comfy_response"]["generated_images"]]

    result = Client().get(content["images"][0])  # a signed link needs no key
    assert result["Content-Type"] == "image/png"
    assert result["Access-Control-Allow-Origin"] == "*"
    png = result.getvalue()
    painted = pixels(png)
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])
    assert json.loads(read_png_texts(png)["dreamlayer"])["seed"] == metadata["seed"]


def test_the_settings_are_left_out_of_result_files_on_request(
    alices_program: Client, body: dict[str, Any], settings: Any
) -> None:
    settings.EMBED_SETTINGS = False
    content = alices_program.post("/api/img2img", body).json()
    data = Client().get(content["images"][0]).getvalue()
    assert read_png_texts(data) == {}
    assert b"a stone path" not in data
    assert content["metadata"]["prompt"] == "a stone path"


def test_black_is_repainted_unless_the_polarity_is_inverted(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    body["mask_polarity"] = "white_repaints"
    content = alices_program.post("/api/img2img", body).json()
    painted = pixels(Client().get(content["images"][0]).getvalue())
    assert np.array_equal(painted[hole > 0], photo[hole > 0])
    assert not np.array_equal(painted[hole == 0], photo[hole == 0])


@pytest.mark.parametrize("field", ["images", "image"])
def test_the_image_is_repainted_where_it_is_transparent_itself(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], field: str
) -> None:
    cut_out = upload(png(np.dstack([photo, 255 - hole])))
    body = {field: cut_out, "prompt": "", "mask_polarity": "transparent_image_repaints"}
    if field == "images":
        assert alices_program.post("/api/batches/", body).status_code == 202
        (result,) = Generation.objects.get().images.all()
        painted = result.read().pixels
    else:
        content = alices_program.post("/api/img2img", body).json()
        painted = pixels(Client().get(content["images"][0]).getvalue())
    assert painted.shape == photo.shape, "it is opaque"
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])


@pytest.mark.parametrize("is_json", [True, False])
def test_fields_that_the_api_does_not_have_are_named(
    alices_program: Client, body: dict[str, Any], photo_png: bytes, mask_png: bytes, is_json: bool
) -> None:
    unknown: dict[str, Any] = {"controlnet": {"enabled": True, "units": []}, "<b>": "1", "cfg_scale": 5, "seed": 3}
    if is_json:
        images = {"input_image": photo_png, "mask": mask_png}
        encoded = {name: base64.b64encode(data).decode() for name, data in images.items()}
        answer = alices_program.post(
            "/api/img2img", {**encoded, "prompt": "a path", **unknown}, content_type="application/json"
        )
    else:
        sent = {**unknown, "controlnet": "{}", "depth_map": upload(photo_png)}
        answer = alices_program.post("/api/img2img", {**body, **sent})
    assert answer.status_code == 200, answer.content
    expected = ["(another name)", "controlnet", *([] if is_json else ["depth_map"])]
    assert answer.json()["metadata"]["ignored_fields"] == expected


def test_the_url_with_a_trailing_slash_is_served_too(alices_program: Client, body: dict[str, Any]) -> None:
    assert alices_program.post("/api/img2img/", body).status_code == 200


def test_the_same_seed_gives_the_same_result(alices_program: Client, body: dict[str, Any]) -> None:
    digests = set()
    for _ in range(2):
        content = alices_program.post("/api/img2img", {**rewound(body), "seed": "77"}).json()
        assert content["metadata"]["seed"] == 77
        digests.add(content["metadata"]["results"][0]["sha256"])
    assert len(digests) == 1


def test_a_random_seed_is_in_the_metadata(alices_program: Client, body: dict[str, Any]) -> None:
    assert 1 <= alices_program.post("/api/img2img", {**body, "seed": "-1"}).json()["metadata"]["seed"] < 2**31


def test_a_mask_of_another_size_is_scaled_with_a_warning(alices_program: Client, body: dict[str, Any]) -> None:
    mask = np.full((32, 48), 255, np.uint8)
    mask[10:20, 20:30] = 0
    content = alices_program.post("/api/img2img", {**body, "mask": upload(png(mask))}).json()
    assert any("48x32" in warning and "96x64" in warning for warning in content["metadata"]["warnings"])
    assert content["metadata"]["results"][0]["outside_mask_changed_pixels"] == 0


def test_respond_async_is_answered_with_a_202(alices_program: Client, body: dict[str, Any]) -> None:
    answer = alices_program.post("/api/img2img", body, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    content = answer.json()
    assert content["status"] == "processing"
    assert content["url"] == f"/api/generations/{content['id']}/"
    assert alices_program.get(content["url"]).json()["id"] == content["id"]


def without(name: str) -> dict[str, Any]:
    return {name: None}


PNG_OF_AN_IMAGE = png(np.full((64, 96, 3), 90, np.uint8))
JPEG = cv2.imencode(".jpg", np.zeros((64, 96), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("changes", "status", "code", "field", "message"),
    [
        (without("image"), 400, "field_missing", "image", "No image file provided"),
        (without("mask"), 400, "mask_required", "mask", "No mask file provided"),
        (without("prompt"), 400, "field_missing", "prompt", "Missing required field: prompt"),
        ({"denoising_strength": "1.5"}, 400, "field_out_of_range", "denoising_strength", "between 0.0 and 1.0"),
        ({"denoising_strength": "nan"}, 400, "field_invalid", "denoising_strength", "number"),
        ({"denoising_strength": "much"}, 400, "field_invalid", "denoising_strength", "number"),
        ({"seed": str(2**63)}, 400, "field_out_of_range", "seed", "it must be at most 9223372036854775807."),
        ({"seed": "1.5"}, 400, "field_invalid", "seed", "integer"),
        ({"prompt": "x" * 10_001}, 400, "field_out_of_range", "prompt", "10000"),
        ({"prompt": "a\x00b"}, 400, "field_invalid", "prompt", ""),
        ({"engine": "../../etc/passwd"}, 400, "engine_not_found", "engine", "quick-fill"),
        ({"mask_polarity": "sideways"}, 400, "field_invalid", "mask_polarity", "sideways"),
        ({"mask_grow": "999"}, 400, "field_out_of_range", "mask_grow", "256"),
        ({"image": upload(b"")}, 400, "image_empty", "image", "Invalid input image: "),
        ({"image": upload(b"hello")}, 400, "image_type_unsupported", "image", "Invalid input image: "),
        ({"mask": upload(JPEG)}, 400, "mask_type_unsupported", "mask", "Mask file must be PNG format"),
        (
            {"mask": upload(PNG_OF_AN_IMAGE, content_type="image/jpeg")},
            *(400, "mask_type_unsupported", "mask", "Mask file must be PNG format"),
        ),
        (
            {"mask": upload(PNG_OF_AN_IMAGE + b"\0" * (10 * 2**20))},
            *(400, "mask_too_large", "mask", "Mask file size must be 10 MB or less"),
        ),
        ({"mask": upload(png(np.full((64, 96), 255, np.uint8)))}, 400, "mask_empty", "mask", "repaint"),
        ({"image": upload(b"\x89PNG\r\n\x1a\n" + b"\0" * (32 * 2**20))}, 413, "image_too_large", "image", "33554432"),
    ],
)
def test_an_error_has_its_code_field_and_message(
    alices_program: Client,
    body: dict[str, Any],
    changes: dict[str, Any],
    status: int,
    code: str,
    field: str,
    message: str,
) -> None:
    sent = {name: value for name, value in {**body, **changes}.items() if value is not None}
    for value in sent.values():
        if isinstance(value, SimpleUploadedFile):
            value.seek(0)
    answer = alices_program.post("/api/img2img", sent)
    content = answer.json()
    assert (answer.status_code, content["status"], content["code"], content["field"]) == (status, "error", code, field)
    assert message in content["message"]
    assert not Generation.objects.exists()
    assert not SourceImage.objects.exists()


def test_another_content_type_is_refused_in_the_error_shape(alices_program: Client) -> None:
    answer = alices_program.post("/api/img2img", b"<x/>", content_type="application/xml")
    assert (answer.status_code, answer.json()["code"]) == (415, "body_type_unsupported")
    answer = alices_program.get("/api/img2img")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_a_session_needs_a_csrf_token_and_a_key_does_not(alice: User, alices_key: str, body: dict[str, Any]) -> None:
    page = Client(enforce_csrf_checks=True)
    page.force_login(alice)
    answer = page.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
    assert not Generation.objects.exists()
    page.get("/")  # sets the CSRF cookie
    token = {"X-CSRFToken": page.cookies["csrftoken"].value}
    assert page.post("/api/img2img", rewound(body), headers=token).status_code == 200

    program = Client(enforce_csrf_checks=True, headers={"X-API-Key": alices_key})
    assert program.post("/api/img2img", rewound(body)).status_code == 200


def test_an_internal_error_exposes_no_details(
    alices_program: Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret path /here")

    monkeypatch.setattr("inpainting.worker.run.paint_each", broken)
    answer = alices_program.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.content.decode()
    assert Generation.objects.get().status == Status.FAILED


def test_a_generation_that_could_not_be_accepted_leaves_no_rows_or_files(
    alices_program: Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, settings: Any
) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": {**settings.STORAGES["default"]}}
    settings.STORAGES["default"]["OPTIONS"] = {"location": tmp_path}

    def broken(self: Generation) -> None:
        raise RuntimeError("the database went away")

    monkeypatch.setattr(Generation, "save_new", broken)
    assert alices_program.post("/api/img2img", body).status_code == 500
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
