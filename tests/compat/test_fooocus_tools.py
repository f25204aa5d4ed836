"""`generate_mask` and `describe-image` of FooocusAPI: fields, answers and errors of the service."""

from __future__ import annotations

import base64
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

from inpainting.api.compat.fooocus.body import MaskModel
from inpainting.core.errors import InvalidRequest
from inpainting.models import Analysis
from inpainting.segmenters import registry
from inpainting.segmenters.grabcut import GrabCut
from tests.compat.fooocus import base64_of, post
from tests.conftest import png
from tests.support.analyses import accepted

pytestmark = pytest.mark.usefixtures("models_folder")
MASK, DESCRIBE = "/v1/tools/generate_mask", "/v1/tools/describe-image"


def disc() -> NDArray[np.uint8]:
    """120 x 90: a bright disc of radius 25 in the middle of a dark image."""
    pixels = np.full((90, 120, 3), (20, 60, 20), np.uint8)
    cv2.circle(pixels, (60, 45), 25, (240, 60, 60), -1)
    return pixels


PHOTO = base64_of(png(disc()))


def mask_of(response: Any) -> Image.Image:
    assert response.status_code == 200, response.content
    text = response.json()
    assert isinstance(text, str)
    return Image.open(BytesIO(base64.b64decode(text, validate=True)))


def install(slug: str, tmp_path: Path, **network: Any) -> None:
    pytest.importorskip("onnxruntime", reason="the erase engine is not installed")
    from tests.support import tiny_networks

    path = tmp_path / f"{slug}.onnx"
    path.write_bytes(tiny_networks.salient(64, **network))
    call_command("pull_model", slug, "--yes", f"--from={path}", stdout=StringIO())


@pytest.mark.parametrize("model", [None, "u2net", "u2netp", "u2net_human_seg", "silueta", "isnet-anime"])
def test_the_answer_is_the_base64_of_a_grey_mask_of_the_images_size(
    alices_program: Client, tmp_path: Path, model: str | None
) -> None:
    install(model or "isnet-general-use", tmp_path)
    response = post(alices_program, {"image": PHOTO, **({"mask_model": model} if model else {})}, MASK)
    mask = mask_of(response)
    assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (120, 90))
    pixels = np.asarray(mask)
    assert pixels[45, 60] >= 240
    assert pixels[5, 5] < 40
    assert response.headers["X-DreamLayer-Segmenter"] == (model or "isnet-general-use")


def test_a_category_of_garments_is_read_by_its_model_alone(alices_program: Client, tmp_path: Path) -> None:
    install("u2net_cloth_seg", tmp_path, channels=4)
    body = {"image": PHOTO, "mask_model": "u2net_cloth_seg", "box_threshold": 0.4}
    for category, is_selected in (("upper", True), ("lower", False), ("full", False)):  # upper is red in the network
        response = post(alices_program, {**body, "cloth_category": category}, MASK)
        assert (np.asarray(mask_of(response))[45, 60] > 200) == is_selected
        assert response.headers["X-DreamLayer-Ignored"] == "box_threshold"
    refused = post(alices_program, {**body, "cloth_category": "hat"}, MASK)
    assert (refused.status_code, "upper, lower, full" in refused.json()["detail"]) == (400, True)


@pytest.mark.parametrize("model", [*MaskModel])
def test_without_the_model_the_error_names_the_command(alices_program: Client, model: str) -> None:
    response = post(alices_program, {"image": PHOTO, "mask_model": model, "dino_prompt_text": "disc"}, MASK)
    assert response.status_code == 400
    assert "manage.py pull_model" in response.json()["detail"]


@pytest.mark.parametrize("allowed_by", ["caller", "site"])
def test_where_it_is_allowed_the_built_in_segmenter_answers_and_says_so(
    alices_program: Client, settings: Any, allowed_by: str
) -> None:
    settings.FOOOCUS_BUILT_IN_MASKS = allowed_by == "site"
    body = {"image": PHOTO, "mask_model": "u2net", **({"allow_built_in": True} if allowed_by == "caller" else {})}
    response = post(alices_program, body, MASK)
    pixels = np.asarray(mask_of(response))
    assert (pixels[45, 60], pixels[5, 5]) == (255, 0)
    assert response.headers["X-DreamLayer-Segmenter"] == "saliency"
    assert response.headers["X-DreamLayer-Ignored"] == "mask_model"


def test_sam_without_words_finds_the_main_object_where_that_is_allowed(
    alices_program: Client,
) -> None:
    body = {"image": PHOTO, "mask_model": "sam", "dino_prompt_text": " "}
    response = post(alices_program, body, MASK)
    assert (response.status_code, "needs words" in response.json()["detail"]) == (400, True)
    response = post(alices_program, {**body, "allow_built_in": True}, MASK)
    mask = mask_of(response)
    assert mask.mode == "RGB"
    assert (np.asarray(mask)[45, 60, 0], np.asarray(mask)[5, 5, 0]) == (255, 0)
    assert response.headers["X-DreamLayer-Segmenter"] == "saliency"
    assert response.headers["X-DreamLayer-Ignored"] == "dino_prompt_text, mask_model"


def test_only_a_missing_model_is_replaced_by_the_built_in_segmenter(
    alices_program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(GrabCut):
        def __init__(self) -> None:
            raise InvalidRequest("The words are refused.", field="dino_prompt_text")

    found = registry.find
    monkeypatch.setattr(registry, "find", lambda name: Refusing() if name == "grounding-dino-tiny" else found(name))
    body = {"image": PHOTO, "mask_model": "sam", "dino_prompt_text": "disc", "allow_built_in": True}
    response = post(alices_program, body, MASK)
    assert (response.status_code, response.json()["detail"]) == (400, "The words are refused.")


@pytest.mark.parametrize(
    ("sent", "kind", "field"),
    [
        ({}, "missing", "image"),
        ({"image": PHOTO, "mask_model": "sam2"}, "enum", "mask_model"),
        ({"image": PHOTO, "box_threshold": 1.5}, "less_than_equal", "box_threshold"),
        ({"image": PHOTO, "sam_max_detections": 11}, "less_than_equal", "sam_max_detections"),
        ({"image": PHOTO, "dino_erode_or_dilate": -65}, "greater_than_equal", "dino_erode_or_dilate"),
        ({"image": PHOTO, "dino_prompt_text": "x" * 10_000}, "string_too_long", "dino_prompt_text"),
        ({"image": None}, "string_type", "image"),
    ],
)
def test_a_wrong_field_is_answered_with_422(alices_program: Client, sent: Any, kind: str, field: str) -> None:
    response = post(alices_program, sent, MASK)
    assert response.status_code == 422, response.content
    assert (response.json()["detail"][0]["type"], response.json()["detail"][0]["loc"]) == (kind, ["body", field])


def test_a_image_that_cannot_be_read_is_answered_with_400(alices_program: Client) -> None:
    for image in ("", "no base64!", base64_of(b"no image"), "http://127.0.0.1/photo.png"):
        for url in (MASK, DESCRIBE):
            response = post(alices_program, {"image": image, "allow_built_in": True}, url)
            assert (response.status_code, list(response.json())) == (400, ["detail"]), response.content


def test_a_key_is_needed(client: Client) -> None:
    for url in (MASK, DESCRIBE):
        assert post(client, {"image": PHOTO}, url).status_code == 403


# describe-image


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("image_type", "begins"), [(None, "a photo"), ("Photo", "a photo"), ("Anime", "an anime")])
def test_without_a_model_the_description_names_the_colours_and_the_header_says_so(
    alices_program: Client, image_type: str | None, begins: str
) -> None:
    response = post(alices_program, {"image": PHOTO, **({"image_type": image_type} if image_type else {})}, DESCRIBE)
    assert response.status_code == 200, response.content
    assert list(response.json()) == ["describe"]
    assert response.json()["describe"].startswith(begins)
    assert "green and red" in response.json()["describe"]
    assert response.headers["X-DreamLayer-Captioner"] == "colours"


@pytest.mark.django_db(transaction=True)
def test_the_form_of_earlier_versions_is_read(alices_program: Client) -> None:
    image = SimpleUploadedFile("photo.png", png(disc()), "image/png")
    response = alices_program.post(f"{DESCRIBE}?type=Anime", {"image": image})
    assert response.json()["describe"].startswith("an anime drawing")
    for sent in ({}, {"image": ""}):
        assert alices_program.post(DESCRIBE, sent).status_code == 422
    wrong = alices_program.post(f"{DESCRIBE}?type=Sketch", {"image": SimpleUploadedFile("a.png", png(disc()))})
    assert wrong.status_code == 422


def test_sam_masks_what_the_words_name_in_rgb_black_and_white(alices_program: Client, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_vision_models

    body = {"image": PHOTO, "mask_model": "sam", "dino_prompt_text": "disc", "box_threshold": 0, "text_threshold": 0}
    for slug, family in (("grounding-dino-tiny", "grounding-dino"), ("sam-vit-base", "sam")):
        refused = post(alices_program, body, MASK)
        assert (refused.status_code, f"manage.py pull_model {slug}" in refused.json()["detail"]) == (400, True)
        folder = tiny_vision_models.saved(tmp_path / slug, family)
        call_command("pull_model", slug, "--yes", f"--from={folder}", stdout=StringIO())
    response = post(alices_program, body, MASK)
    mask = mask_of(response)
    assert (mask.mode, mask.size) == ("RGB", (120, 90))
    assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert response.headers["X-DreamLayer-Segmenter"] == "grounding-dino-tiny"
    assert response.headers["X-DreamLayer-Ignored"] == ""
    boxes = [
        np.asarray(mask_of(post(alices_program, {**body, "dino_debug": True, "sam_max_detections": 1, **more}, MASK)))
        for more in ({}, {"dino_erode_or_dilate": 64}, {"sam_model": "unknown"})
    ]
    assert 0 < np.count_nonzero(boxes[0]) < np.count_nonzero(boxes[1])
    assert np.array_equal(boxes[0], boxes[2])
    assert post(alices_program, {**body, "dino_prompt_text": ""}, MASK).status_code == 400
    larger = post(alices_program, {**body, "sam_model": "vit_h"}, MASK)
    assert "pull_model sam-vit-huge" in larger.json()["detail"]


def in_both_roles(client: Client, body: dict[str, Any], url: str, settings: Any) -> tuple[Any, Any]:
    """The responses of a process that is web process and worker, and of a web process whose worker answers."""
    settings.ROLE = "all"
    here = post(client, body, url)
    settings.ROLE = "web"
    with accepted() as ids:
        there = post(client, body, url)
    assert len(ids) == 1
    assert not Analysis.objects.exists()
    return here, there


@pytest.mark.django_db(transaction=True)
def test_a_worker_selects_alike(alices_program: Client, tmp_path: Path, settings: Any) -> None:
    install("u2netp", tmp_path)
    body = {"image": PHOTO, "mask_model": "u2netp", "box_threshold": 0.5}
    here, there = in_both_roles(alices_program, body, MASK, settings)
    assert (there.status_code, there.content) == (200, here.content)
    for name in ("X-DreamLayer-Segmenter", "X-DreamLayer-Ignored"):
        assert there.headers[name] == here.headers[name] != ""


@pytest.mark.django_db(transaction=True)
def test_a_worker_describes_alike_and_an_incomplete_model_is_a_clear_error(
    alices_program: Client, tmp_path: Path, settings: Any
) -> None:
    pytest.importorskip("torch", reason="the diffusion engine is not installed")
    from tests.support import tiny_vision_models

    folder = tiny_vision_models.saved(tmp_path / "carried", "blip")
    call_command("pull_model", "blip-base", "--yes", f"--from={folder}", stdout=StringIO())
    here, there = in_both_roles(alices_program, {"image": PHOTO}, DESCRIBE, settings)
    assert (there.status_code, there.content) == (200, here.content)
    assert there.headers["X-DreamLayer-Captioner"] == here.headers["X-DreamLayer-Captioner"] == "blip-base"
    (tmp_path / "models" / "blip-base" / "config.json").write_text("{}")
    for response in in_both_roles(alices_program, {"image": PHOTO}, DESCRIBE, settings):
        assert (response.status_code, "blip" in response.json()["detail"].lower()) == (400, True), response.content
