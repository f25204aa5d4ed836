"""ModelsLab's routes beside `images/inpaint`: what each paints, which fields have an effect, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.api.compat.modelslab.body import FORMS
from inpainting.core.codecs import decode_image
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest
from inpainting.core.resizing import resize
from inpainting.models import Analysis, Generation, InferenceModel, UserLimits
from inpainting.webhooks import deliver_due
from inpainting.worker.run import run_waiting
from tests.compat.modelslab import (
    NEEDED,
    REFUSED,
    VALUES,
    encoded,
    error,
    keep_waiting,
    names_of,
    pixels,
    post,
    white_repaints,
)
from tests.conftest import png
from tests.net.fake_network import Listener
from tests.net.fake_network import answer as http_answer
from tests.support import fake_diffusion
from tests.support.catalog_entries import add_model
from tests.support.tiny_upscalers import onnx_upscaler
from tests.webhooks.receiving import messages, open_to, url_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

ROUTES = [route for route in FORMS if route != "images/inpaint"]
NEEDS_MODEL = ["images/img2img", "images/text2img"]
EDIT, OUTPAINT, REMOVAL, ENLARGE, CUT_OUT = (
    f"image_editing/{name}" for name in ("inpaint", "outpaint", "object_removal", "super_resolution", "removebg_mask")
)
OTHER_VALUES = {
    **VALUES,
    "image": "OTHER IMAGE",
    "overlap_width": "4",
    "scale": "2",
    "face_enhance": "yes",
    "vae": "small",
    **dict.fromkeys(("alpha_matting", "post_process_mask", "only_mask", "inverse_mask"), "yes"),
}
Call = Callable[..., Any]


@pytest.fixture
def bodies(alices_key: str, photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, dict[str, Any]]:
    """A request for each route."""
    key, images = {"key": alices_key}, {"init_image": encoded(photo_png)}
    mask = {"mask_image": encoded(white_repaints(hole))}
    painting = {**key, "model_id": "sd15", "prompt": "a stone path", "width": 256, "height": 256, "seed": 7}
    return {
        "images/inpaint": {**painting, **images, **mask},
        "images/img2img": {**painting, **images},
        "images/text2img": painting,
        EDIT: {**key, **images, **mask, "prompt": "a stone path", "seed": 7},
        OUTPAINT: {**key, "image": images["init_image"], "width": 256, "height": 256, "seed": 7},
        REMOVAL: {**key, **images, **mask},
        ENLARGE: {**key, **images},
        CUT_OUT: {**key, "image": images["init_image"]},
    }


@pytest.fixture
def call(bodies: dict[str, dict[str, Any]]) -> Call:
    def call(route: str, *, below: str = "/api/v6/", **fields: Any) -> Any:
        return post(f"{below}{route}", {**bodies[route], **fields})

    return call


@pytest.fixture
def painted(call: Call) -> Call:
    def painted(route: str, **fields: Any) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """The response of a success, and the pixels of its first result."""
        answer = call(route, **fields)
        content = answer.json()
        assert (answer.status_code, content["status"]) == (200, "success"), content
        link = content["proxy_links"][0].removeprefix("http://testserver")
        return content, pixels(Client().get(link).getvalue())

    return painted


@pytest.fixture
def requests(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    """What a fake diffusion engine was asked for, with the adapters of its model."""
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models_and_adapters(tmp_path)
    InferenceModel.objects.filter(slug="ip-adapter_sd15").delete()
    InferenceModel.objects.filter(slug="look").update(aliases=["ip-adapter_sd15"])
    return fake_diffusion.record_requests(monkeypatch)


@pytest.mark.parametrize("route", [EDIT, REMOVAL])
def test_white_is_repainted_in_the_size_of_the_image_and_nothing_else_changes(
    painted: Call, route: str, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    content, result = painted(route)
    assert result.shape == photo.shape
    assert np.array_equal(result[hole == 0], photo[hole == 0])
    assert not np.array_equal(result[hole > 0], photo[hole > 0])
    assert (content["meta"]["W"], content["meta"]["H"]) == (96, 64)


def test_an_object_is_removed_where_the_mask_is_white(painted: Call, photo: NDArray[np.uint8]) -> None:
    scene, mask = photo.copy(), np.zeros(photo.shape[:2], np.uint8)
    cv2.circle(scene, (48, 32), 8, (255, 0, 0), -1)
    cv2.circle(mask, (48, 32), 11, 255, -1)

    def is_red(result: NDArray[np.uint8]) -> bool:
        return bool((result[28:36, 44:52] == (255, 0, 0)).all())

    images = {"init_image": encoded(png(scene)), "mask_image": encoded(png(mask))}
    content, removed = painted(REMOVAL, **images)
    assert not is_red(removed)
    assert (content["meta"]["engine"], content["meta"]["ignored"]) == ("quick-fill", [])
    assert is_red(painted(REMOVAL, **{**images, "mask_image": encoded(png(255 - mask))})[1])


def test_an_edit_has_the_requested_size(painted: Call, photo_png: bytes, hole: NDArray[np.uint8]) -> None:
    content, result = painted(EDIT, width="512", height=384)
    assert result.shape == (384, 512, 3)
    assert content["meta"]["ignored"] == ["prompt"], "size and mask have an effect"
    scaled = np.asarray(resize(decode_image(photo_png).image, Size(512, 384)).pixels)
    kept = Generation.objects.get().mask.read_pixels() == 0
    assert np.array_equal(result[kept], scaled[kept])


def test_outpainting_puts_the_image_into_the_middle(painted: Call, photo: NDArray[np.uint8]) -> None:
    content, result = painted(OUTPAINT, width=300, height=256, overlap_width=0)
    assert result.shape == (256, 300, 3)
    assert np.array_equal(result[96:160, 102:198], photo)
    assert (content["meta"]["W"], content["meta"]["H"], content["meta"]["steps"]) == (300, 256, 10)
    assert content["meta"]["prompt"] == "high quality"


def test_what_a_model_outpaints_overlaps_the_image_and_fades_in(
    painted: Call, requests: list[InpaintRequest], photo: NDArray[np.uint8]
) -> None:
    content, result = painted(OUTPAINT, overlap_width=64)
    assert np.array_equal(result[112:144, 96:160], photo[16:-16, 16:-16])
    settings = Generation.objects.get().settings
    assert (settings["mask_grow"], settings["mask_blur"]) == (16, 16)
    assert content["meta"]["warnings"][0] == (
        "overlap_width was 64; 16 was used, a quarter of the image's shorter side."
    )


def test_without_a_model_nothing_overlaps_the_image(painted: Call, photo: NDArray[np.uint8]) -> None:
    content, result = painted(OUTPAINT, overlap_width=64, prompt="a lawn")
    assert np.array_equal(result[96:160, 80:176], photo)
    assert set(content["meta"]["ignored"]) == {"overlap_width", "prompt"}


def test_an_image_that_covers_the_canvas_is_scaled_and_nothing_is_painted(painted: Call) -> None:
    wide = np.zeros((600, 600, 3), np.uint8)
    content, result = painted(OUTPAINT, image=encoded(png(wide)))
    assert result.shape == (256, 256, 3)
    assert any(warning.startswith("Nothing is painted") for warning in content["meta"]["warnings"])


def test_an_image_is_enlarged(painted: Call) -> None:
    content, result = painted(ENLARGE)
    assert result.shape == (192, 288, 3)
    meta = content["meta"]
    assert (meta["engine"], meta["model"], meta["W"], meta["H"]) == ("upscale", "lanczos", 288, 192)
    assert meta["ignored"] == []
    assert painted(ENLARGE, scale="1.5")[1].shape == (96, 144, 3)


@pytest.mark.parametrize(
    "name", ["RealESRGAN_x4plus", "RealESRGAN_x2plus", "RealESRGAN_x4plus_anime_6B", "realesr-general-x4v3"]
)
def test_an_upscaler_that_is_not_installed_is_listed(painted: Call, name: str) -> None:
    meta = painted(ENLARGE, model_id=name, face_enhance=True)[0]["meta"]
    assert (meta["model_id"], meta["model"], set(meta["ignored"])) == (name, "lanczos", {"model_id", "face_enhance"})
    assert painted(ENLARGE, model_id="ultra_resolution", face_enhance=False)[0]["meta"]["ignored"] == []


def test_an_installed_upscaler_is_used(painted: Call, settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="a light installation has no onnx")
    settings.MODELS_DIR = tmp_path / "models"
    (tmp_path / "x4.onnx").write_bytes(onnx_upscaler(4))
    add_model("mine", tmp_path / "x4.onnx", "--alias", "4x-own", family="onnx-upscaler")
    for sent in ({"model_id": "4x-own"}, {"model_id": "ultra_resolution"}, {}):
        meta = painted(ENLARGE, scale=2, **sent)[0]["meta"]
        assert (meta["model"], meta["ignored"]) == ("mine", [])


def test_an_unknown_upscaler_is_a_400_unless_the_site_lets_the_server_choose(call: Call, settings: Settings) -> None:
    assert error(call(ENLARGE, model_id="topaz"), 400) == "Model not found: topaz"
    settings.COMPAT_ANY_MODEL = ["modelslab"]
    assert call(ENLARGE, model_id="topaz").json()["meta"]["ignored"] == ["model_id"]


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    """[64, 96, 3]: a red disc on a grey wall."""
    pixels = np.full((64, 96, 3), 190, np.uint8) + np.random.default_rng(3).integers(0, 8, (64, 96, 3)).astype(np.uint8)
    cv2.circle(pixels, (48, 32), 16, (220, 20, 20), -1)
    return pixels


def test_the_background_is_removed(painted: Call, scene: NDArray[np.uint8]) -> None:
    image = encoded(png(scene))
    content, result = painted(CUT_OUT, image=image)
    assert result.shape == (64, 96, 4)
    assert np.array_equal(result[:, :, :3], scene)
    alpha = result[:, :, 3]
    assert (alpha[26:38, 42:54].mean(), alpha[:8].mean()) == (255, 0)
    assert content["meta"]["warnings"][0] == "The segmenter saliency found the main object."
    assert content["meta"]["ignored"] == []
    mask = painted(CUT_OUT, image=image, only_mask=True)[1]
    assert np.array_equal(mask[:, :, 0], alpha), "white is the object"
    inverse = painted(CUT_OUT, image=image, only_mask="true", inverse_mask="true")[1]
    assert np.array_equal(inverse, 255 - mask)
    kept = painted(CUT_OUT, image=image, inverse_mask=True)[1]
    assert np.array_equal(kept[:, :, 3], 255 - alpha)


def test_an_image_without_an_object_becomes_transparent(painted: Call) -> None:
    content, result = painted(CUT_OUT, image=encoded(png(np.full((64, 96, 3), 100, np.uint8))))
    assert not result[:, :, 3].any()
    assert content["meta"]["warnings"][0] == "The segmenter saliency found no object."


def test_an_image_is_described(alices_key: str, bob: User, photo_png: bytes) -> None:
    def describe(**fields: Any) -> Any:
        return post("/api/v6/image_editing/caption", {"key": alices_key, "init_image": encoded(photo_png), **fields})

    content = describe(length="long", base64=False, webhook="https://example.com/").json()
    assert (content["status"], content["id"], content["proxy_links"]) == ("success", 0, [])
    assert content["generationTime"] >= 0
    (words,) = content["output"]
    assert "photo" in words
    assert content["meta"] == {"captioner": "colours", "ignored": ["length", "webhook"]}
    assert error(describe(init_image=None), 400) == "init_image is required"
    assert error(describe(init_image="!"), 400).startswith("Invalid init_image: ")
    assert error(describe(init_image="http://127.0.0.1/a.png"), 400).startswith("Unable to fetch image")
    assert error(describe(length="endless"), 400).startswith("length: ")
    assert error(describe(key="wrong"), 401) == "Invalid API key"
    error(describe(key=ApiKey.issue(bob, scopes=[Scope.READ])[1]), 403)
    assert not Analysis.objects.exists()


def test_an_enlarged_image_is_within_the_limits(call: Call, settings: Settings) -> None:
    settings.MAX_PAINT_MEGAPIXELS = 0.01
    assert "megapixels" in error(call(ENLARGE), 400)


def test_words_become_an_image_of_the_requested_size(painted: Call, requests: list[InpaintRequest]) -> None:
    content, result = painted("images/text2img", model_id="tiny", width=320, upscale="no")
    (request,) = requests
    assert request.mask.all()
    assert (result.shape, request.settings.strength) == ((256, 320, 3), 1.0)
    assert request.settings.prompt.startswith("a stone path, highly detailed")
    assert (content["meta"]["model"], content["meta"]["ignored"]) == ("tiny", ["upscale"])


def test_an_image_is_repainted_as_a_whole(painted: Call, requests: list[InpaintRequest]) -> None:
    painted("images/img2img", model_id="tiny", strength=0.6, width=320)
    (request,) = requests
    assert request.mask.all()
    assert request.settings.strength == 0.6
    assert Generation.objects.get().source.width == 320


@pytest.mark.parametrize("route", NEEDS_MODEL)
def test_what_paints_everything_needs_a_model(call: Call, route: str) -> None:
    answer = call(route)
    error(answer, 503)
    assert answer.json()["code"] == "model_unavailable"


@pytest.mark.parametrize("route", ROUTES)
def test_every_field_has_an_effect_or_is_listed(
    painted: Call,
    requests: list[InpaintRequest],
    bodies: dict[str, dict[str, Any]],
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    route: str,
) -> None:
    images = {"OTHER IMAGE": encoded(png(255 - photo)), "OTHER MASK": encoded(png(hole[::-1].copy()))}
    images["IMAGE"] = encoded(png(photo))
    if "prompt" in bodies[route]:
        bodies[route]["prompt"] = "a lawn"  # so that a model paints

    def outcome(fields: Mapping[str, Any]) -> tuple[list[str], object]:
        """The fields that are listed, and all else that the request became."""
        sent = {name: images.get(value, value) for name, value in fields.items()}
        content, _ = painted(route, **({"model_id": "tiny"} if route in NEEDS_MODEL else {}), **sent)
        generation = Generation.objects.get(number=content["id"])
        inputs = {name: stored.sha256 for name, stored in generation.inputs.items()}
        settings = {**generation.settings, **({} if "seed" in FORMS[route].model_fields else {"seed": 0})}
        kept = (settings, generation.result_size, generation.webhook_url, generation.expires_at is None)
        return content["meta"]["ignored"], (kept, inputs, content["meta"]["track_id"], content["output"][0][:4])

    for name, field in FORMS[route].model_fields.items():
        if name in ("model_id", "safety_checker", "instant_response"):
            continue  # see other tests
        value = "yes" if name == "enhance_prompt" and field.default is False else OTHER_VALUES[name]
        needed = {} if name == "safety_checker_type" else NEEDED.get(name, {})
        before, after = outcome(needed), outcome({**needed, name: value})
        if name in after[0]:
            assert name in ("face_enhance", "safety_checker_type")
        else:
            assert before[1] != after[1], name


@pytest.mark.parametrize("route", ROUTES)
def test_fields_of_other_routes_are_listed(call: Call, requests: list[InpaintRequest], route: str) -> None:
    model = {"model_id": "tiny"} if route in NEEDS_MODEL else {}
    others = {"panorama": "yes", "cloth_type": "dress"}
    meta = call(route, **model, **others).json()["meta"]
    assert others.keys() <= set(meta["ignored"])


@pytest.mark.parametrize("route", ROUTES)
def test_values_that_are_not_allowed_are_a_400(call: Call, route: str) -> None:
    fields = FORMS[route].model_fields
    refused = [
        (name, value, start)
        for name, value, start in REFUSED
        if name in fields and name not in ("model_id", "vae", "lora_model", "lora_strength", "ip_adapter_id")
    ]
    if route == OUTPAINT:
        refused = [row for row in refused if row[0] != "width"]
        refused += [("width", 1441, "width must be between 256 and 1440"), ("overlap_width", -1, "overlap_width must")]
    if route == ENLARGE:
        refused = [*refused, ("scale", 1, "scale must be between 1.5 and 4.0"), ("scale", "x", "scale: A valid number")]
        refused = [*refused, ("face_enhance", "perhaps", "face_enhance: Must be a valid boolean.")]
    wrong = [
        (name, value, message)
        for name, value, start in refused
        if not (message := error(call(route, **{name: value}), 400)).startswith(start)
    ]
    assert wrong == []
    for name in (name for name, field in fields.items() if field.is_required()):
        assert error(call(route, **{name: None}), 400) == f"{name} is required"
    for name in fields.keys() & {"init_image", "image", "mask_image"}:
        assert error(call(route, **{name: "!"}), 400).startswith(f"Invalid {name}: ")
        assert error(call(route, **{name: "http://127.0.0.1/a.png"}), 400).startswith("Unable to fetch image")
    assert not Generation.objects.exists()


def test_an_empty_mask_is_a_400(call: Call) -> None:
    black = encoded(png(np.zeros((64, 96), np.uint8)))
    for route in (EDIT, REMOVAL):
        assert error(call(route, mask_image=black), 400)


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_with_the_scope_is_needed(call: Call, alice: User, route: str) -> None:
    assert error(call(route, key=None), 401) == "API key required"
    assert error(call(route, key="your_api_key"), 401) == "Invalid API key"
    error(call(route, key=ApiKey.issue(alice, scopes=[Scope.READ])[1]), 403)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("route", [EDIT, OUTPAINT, REMOVAL, ENLARGE, CUT_OUT])
def test_a_limit_that_is_reached_is_a_429(call: Call, painted: Call, alice: User, route: str) -> None:
    UserLimits.objects.create(user=alice, per_day=1)
    painted(route)
    answer = call(route)
    error(answer, 429)
    assert answer.json()["retry_after"] == int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("group", ["images", "image_editing"])
def test_a_request_in_progress_is_fetched_by_its_owner_below_either_group(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    alices_key: str,
    bobs_key: str,
    group: str,
) -> None:
    keep_waiting(monkeypatch, settings)
    content = call(REMOVAL, track_id="mine").json()
    assert (content["status"], content["output"], content["meta"]["track_id"]) == ("processing", [], "mine")
    path = f"/api/v6/{group}/fetch/{content['id']}"
    assert post(path, {"key": alices_key}).json()["status"] == "processing"
    run_waiting()
    assert error(post(path, {"key": bobs_key}), 404) == "Request not found"
    fetched = post(path, {"key": alices_key}).json()
    assert (fetched["status"], names_of(fetched["output"])) == ("success", names_of(content["future_links"]))


def test_the_routes_for_enterprises_are_the_same(call: Call, alices_key: str) -> None:
    content = call(REMOVAL, below="/api/v1/enterprise/").json()
    fetched = post(f"/api/v1/enterprise/image_editing/fetch/{content['id']}", {"key": alices_key}).json()
    assert (fetched["status"], names_of(fetched["output"])) == ("success", names_of(content["output"]))
    assert error(post("/api/v1/enterprise/image_editing/clear_queue", {"key": alices_key}), 404)


@pytest.mark.parametrize(
    ("newer", "route"),
    [
        ("images/inpaint", "images/inpaint"),
        ("images/image-to-image", "images/img2img"),
        ("images/text-to-image", "images/text2img"),
    ],
)
def test_the_routes_of_version_7_are_the_same(
    call: Call,
    bodies: dict[str, dict[str, Any]],
    requests: list[InpaintRequest],
    alices_key: str,
    newer: str,
    route: str,
) -> None:
    call(route, model_id="tiny")
    bodies[newer] = bodies[route]
    content = call(newer, below="/api/v7/", model_id="tiny").json()
    assert content["status"] == "success"
    assert requests[0].settings == requests[1].settings
    assert np.array_equal(requests[0].image.pixels, requests[1].image.pixels)
    assert np.array_equal(requests[0].mask, requests[1].mask)
    for path in (f"/api/v7/images/fetch/{content['id']}", f"/api/v6/images/fetch/{content['id']}"):
        fetched = post(path, {"key": alices_key}).json()
        assert (fetched["status"], names_of(fetched["output"])) == ("success", names_of(content["output"]))


def test_version_7_has_no_other_routes(call: Call) -> None:
    for route in ("images/text2img", EDIT, CUT_OUT):
        assert error(call(route, below="/api/v7/"), 404)


def test_the_first_of_several_images_is_used(
    call: Call, bodies: dict[str, dict[str, Any]], requests: list[InpaintRequest], photo: NDArray[np.uint8]
) -> None:
    bodies["images/image-to-image"] = bodies["images/img2img"]
    image, other = encoded(png(photo)), encoded(png(255 - photo))

    def meta(images: Any) -> Any:
        return call("images/image-to-image", below="/api/v7/", model_id="tiny", init_image=images).json()["meta"]

    assert meta([image])["warnings"] == meta(image)["warnings"]
    assert meta([image, other])["warnings"][0] == "init_image has 2 images; the first was used."
    assert all(np.array_equal(request.image.pixels, requests[0].image.pixels) for request in requests)
    for nothing in ([], [5], [[image]]):
        assert error(call("images/img2img", init_image=nothing), 400)


@pytest.mark.parametrize("route", ROUTES)
def test_an_instant_response_comes_before_the_result(
    call: Call, requests: list[InpaintRequest], alices_key: str, route: str
) -> None:
    model = {"model_id": "tiny"} if route in NEEDS_MODEL else {}
    content = call(route, **model, instant_response="true").json()
    assert (content["status"], content["output"]) == ("processing", [])
    assert "instant_response" not in content["meta"]["ignored"]
    fetched = post(f"/api/v6/images/fetch/{content['id']}", {"key": alices_key}).json()
    assert (fetched["status"], names_of(fetched["output"])) == ("success", names_of(content["future_links"]))
    assert call(route, **model, instant_response="false").json()["status"] == "success"
    assert error(call(route, **model, instant_response="soon"), 400).startswith("instant_response: ")


def test_the_webhook_gets_an_enlarged_image(painted: Call, settings: Settings) -> None:
    with Listener(http_answer("204 No Content")) as receiver:
        open_to(settings, receiver)
        answered, _ = painted(ENLARGE, webhook=url_of(receiver), track_id=5)
        deliver_due()
        (message,) = messages(receiver)
    assert (message.content["status"], message.content["track_id"]) == ("success", 5)
    assert names_of(message.content["output"]) == names_of(answered["output"])
    assert message.content["meta"] == answered["meta"]


def test_meta_repeats_links_and_no_base64(painted: Call, monkeypatch: pytest.MonkeyPatch, photo_png: bytes) -> None:
    monkeypatch.setattr("inpainting.api.images.download_image", lambda *arguments, **options: photo_png)
    meta = painted(EDIT, init_image="https://photos.example/room.png")[0]["meta"]
    assert (meta["init_image"], meta["mask_image"]) == ("https://photos.example/room.png", "")
    assert (meta["width"], meta["height"]) == (96, 64)
    assert "key" not in json.dumps(Generation.objects.get().service_data).replace("ending_key", "")
