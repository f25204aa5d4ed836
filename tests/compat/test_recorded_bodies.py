"""Bodies as the clients of DreamLayer and of the SD Inpainting API send them, and what these read of the answer."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from inpainting.models import Generation
from tests.conftest import png
from tests.support import fake_diffusion

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

PAYLOADS = Path(__file__).parent.parent / "payloads"


def recorded(service: str) -> Any:
    files = sorted((PAYLOADS / service).glob("*.json"))
    return pytest.mark.parametrize(
        "body", [json.loads(file.read_text()) for file in files], ids=[f.stem for f in files]
    )


def image_file(pixels: NDArray[np.uint8], name: str, content_type: str) -> SimpleUploadedFile:
    """A file in the format of its name."""
    data = BytesIO()
    Image.fromarray(pixels).save(data, Image.registered_extensions()[Path(name).suffix], lossless=True)
    return SimpleUploadedFile(name, data.getvalue(), content_type)


def send(client: Client, body: dict[str, Any], photo: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Any:
    if "json" in body:
        replaced = {"{image}": photo, "{mask}": mask}
        text = json.dumps(body["json"])
        for place, pixels in replaced.items():
            text = text.replace(place, base64.b64encode(png(pixels)).decode())
        return client.post(body["path"], text, content_type="application/json")
    params = {"params": json.dumps(body["params"])} if "params" in body else {}
    images = {"image": photo, "mask": mask}
    files = {part: image_file(images[part], *named) for part, named in body["files"].items()}
    return client.post(body["path"], {**files, **params, **body.get("fields", {})})


@recorded("dreamlayer")
def test_dreamlayers_clients_find_their_image(
    alices_program: Client,
    body: dict[str, Any],
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if body.get("needs_model"):
        refused = send(alices_program, body, photo, 255 - hole)
        assert (refused.status_code, refused.json()["code"]) == (400, "mask_required")
        settings.MODELS_DIR = tmp_path / "models"
        fake_diffusion.install_models()
        fake_diffusion.record_requests(monkeypatch)
    answer = send(alices_program, body, photo, 255 - hole)
    assert answer.status_code == 200, answer.content
    (found,) = answer.json()["comfy_response"]["generated_images"]  # all that the front end reads
    assert found["url"].startswith("http://testserver/")
    shown = Client().get(found["url"], headers={"Origin": "http://localhost:8080"})
    painted = np.asarray(Image.open(BytesIO(shown.getvalue())))
    assert painted.shape == photo.shape
    if not body.get("needs_model"):
        assert np.array_equal(painted[hole == 0], photo[hole == 0])
        assert not np.array_equal(painted[hole > 0], photo[hole > 0])
    assert answer.json()["message"]
    assert Generation.objects.get().service == "native"


@recorded("sd_inpaint")
def test_sd_inpaints_clients_open_the_body_as_an_image(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    mask = cv2.dilate(np.where(hole > 127, 255, 0).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=10)
    answer = send(alices_program, body, photo, np.asarray(mask, np.uint8))
    assert answer.status_code == 200, answer.content
    result = Image.open(BytesIO(b"".join(answer.streaming_content))).convert("RGB")
    assert result.size == (96, 64)
    settings = Generation.objects.get().requested_settings.settings
    assert (settings["steps"], settings["guidance_scale"], settings["seed"]) == (50, 7.5, 42)


@pytest.mark.parametrize(
    ("field", "value", "effect"),
    [
        ("image", None, "field_missing"),
        ("image", "no image", "image_base64_invalid"),
        ("mask", None, "mask_required"),
        ("mask", SimpleUploadedFile("mask.jpg", b"\xff\xd8\xff", "image/jpeg"), "mask_type_unsupported"),
        ("prompt", None, "field_missing"),
        ("prompt", "", "read"),
        ("prompt", "a lawn", "ignored"),
        ("negative_prompt", "people", "ignored"),
        ("denoising_strength", "0", "ignored"),
        ("denoising_strength", "1", "ignored"),
        ("denoising_strength", "1.01", "field_out_of_range"),
        ("denoising_strength", "-0.1", "field_out_of_range"),
        ("denoising_strength", "much", "field_invalid"),
    ],
)
def test_each_field_of_dreamlayers_documentation_works_is_listed_or_is_refused(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], field: str, value: Any, effect: str
) -> None:
    fields = {"prompt": "", "image": SimpleUploadedFile("input.png", png(photo), "image/png")}
    fields["mask"] = SimpleUploadedFile("mask.png", png(255 - hole), "image/png")
    changed = {name: sent for name, sent in {**fields, field: value}.items() if sent is not None}
    answer = alices_program.post("/api/img2img", changed).json()
    if answer["status"] == "error":
        assert (answer["code"], answer["field"]) == (effect, field)
    else:
        assert (field in answer["metadata"]["ignored"]) == (effect == "ignored")


@pytest.mark.parametrize(
    ("field", "value", "setting", "expected"),
    [
        ("prompt", "a lawn", "prompt", "a lawn"),
        ("negative_prompt", "people", "negative_prompt", "people"),
        ("denoising_strength", "0.3", "strength", 0.3),
    ],
)
def test_each_field_of_dreamlayers_documentation_reaches_a_model(
    alices_program: Client,
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    value: str,
    setting: str,
    expected: object,
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models()
    requests = fake_diffusion.record_requests(monkeypatch)
    usage = json.loads((PAYLOADS / "dreamlayer/usage.json").read_text())
    usage["fields"][field] = value
    assert send(alices_program, usage, photo, 255 - hole).json()["metadata"]["ignored"] == []
    assert getattr(requests[0].settings, setting) == expected
