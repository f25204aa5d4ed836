"""The API of IOPaint, as its web app and scripts call it, with a key or with the session of a page of this site."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pytest_django import Settings

from accounts.models import User
from inpainting.core.request import InpaintRequest
from inpainting.models import Generation, InferenceModel, Lora
from tests.conftest import png
from tests.contracts.dialect import DialectContract

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

PAYLOADS = {file.stem: json.loads(file.read_text()) for file in Path("tests/payloads/iopaint").glob("*.json")}
APP_FIELDS = {
    name: value for name, value in PAYLOADS["web_app_inpaint"]["json"].items() if name not in ("image", "mask")
}
"""What the app sends beside the images."""
BRUSH = (255, 203, 0, 187)
ORIGIN = "http://testserver"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def brush(hole: NDArray[np.uint8]) -> bytes:
    """The mask as the app draws it: a translucent yellow on transparent black."""
    pixels = np.zeros((*hole.shape, 4), np.uint8)
    pixels[hole > 0] = BRUSH
    return png(pixels)


def post(client: Client, route: str, body: dict[str, Any], **headers: str) -> Any:
    return client.post(f"/api/v1/{route}", body, content_type="application/json", headers=headers)


def image_of(response: Any, kind: str = "png") -> NDArray[np.uint8]:
    assert (response.status_code, response["Content-Type"]) == (200, f"image/{kind}"), response.content
    return np.asarray(Image.open(BytesIO(response.content)))


def error(response: Any, status: int) -> str:
    """Check the shape of an error, and return what the app shows."""
    assert response.status_code == status, response.content
    body = response.json()
    assert list(body) == ["error", "detail", "body", "errors"]
    assert body["errors"] == body["detail"]
    assert isinstance(body["errors"], str)
    return str(body["errors"])


def check_painted(painted: NDArray[np.uint8], photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    """Nothing outside of the mask has changed, and most of the inside has."""
    where = np.any(painted != photo, axis=2)
    assert np.count_nonzero(where[hole == 0]) == 0
    assert np.count_nonzero(where[hole == 255]) > np.count_nonzero(hole) / 2


@pytest.fixture
def images(photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, str]:
    return {"image": f"data:image/png;base64,{text(photo_png)}", "mask": f"data:image/png;base64,{text(brush(hole))}"}


@pytest.fixture
def alices_page(alice: User) -> Client:
    """A client with alice's session, from which Django would demand a CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    return client


class TestIOPaint(DialectContract):
    dialect = "iopaint"
    below_the_prefix = "/api/v1/medias"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        body = {"image": text(photo), "mask": text(mask), "prompt": "a rose", "sd_seed": seed}
        return post(client, "inpaint", body, **headers)

    def result(self, response: Any) -> object:
        assert image_of(response).shape == (64, 96, 3)
        return Generation.objects.latest("created_at").pk

    def check_error(self, response: Any, status: int) -> None:
        error(response, status)


# Masks


def test_what_the_app_marks_is_erased_and_nothing_else(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], images: dict[str, str]
) -> None:
    response = post(alices_program, "inpaint", {**APP_FIELDS, **images})
    check_painted(image_of(response), photo, hole)
    assert response["X-DreamLayer-Engine"] == "quick-fill"
    assert int(response["X-Seed"]) > 0


@pytest.mark.parametrize(
    ("marked", "kept"),
    [
        ((255, 203, 0, 187), (0, 0, 0, 0)),
        ((255, 255, 255, 0), (0, 0, 0, 255)),  # alpha is not read
        ((255, 255, 255), (0, 0, 0)),
        ((128, 128, 128), (127, 127, 127)),
        (255, 0),
    ],
)
def test_light_pixels_are_repainted_and_dark_ones_kept(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], photo_png: bytes, marked: Any, kept: Any
) -> None:
    mask = np.where((hole > 0)[:, :, None], np.atleast_1d(marked), np.atleast_1d(kept)).astype(np.uint8)
    body = {"image": text(photo_png), "mask": text(png(mask.squeeze()))}
    check_painted(image_of(post(alices_program, "inpaint", body)), photo, hole)


def test_only_what_is_in_the_cropers_frame_is_repainted(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], images: dict[str, str]
) -> None:
    frame = {"croper_x": -10, "croper_y": 0, "croper_width": 60, "croper_height": 30}
    body = {**images, "use_croper": True, **frame, "use_extender": True}
    response = post(alices_program, "inpaint", body)
    inside = np.zeros_like(hole)
    inside[:30, :50] = hole[:30, :50]
    check_painted(image_of(response), photo, inside)
    assert response["X-DreamLayer-Ignored"] == "use_extender"


def test_the_extender_adds_what_lies_beyond_the_image(
    alices_program: Client, photo: NDArray[np.uint8], images: dict[str, str]
) -> None:
    frame = {"extender_x": -8, "extender_y": 4, "extender_width": 120, "extender_height": 70}
    response = post(alices_program, "inpaint", {**images, "use_extender": True, **frame})
    painted = image_of(response)
    assert painted.shape == (74, 120, 3)
    assert np.array_equal(painted[:64, 8:104], photo)
    assert response["X-DreamLayer-Ignored"] == "mask"


def test_a_jpeg_comes_back_as_one(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], images: dict[str, str]
) -> None:
    data = BytesIO()
    Image.fromarray(photo).save(data, "jpeg", quality=95)
    response = post(alices_program, "inpaint", {**images, "image": text(data.getvalue())})
    difference = np.abs(image_of(response, "jpeg").astype(int) - photo).max(axis=2)
    assert np.median(difference[hole == 0]) <= 6


# Fields


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"prompt": "a rose", "strength": None, "steps": None, "mask_blur": 0, "seed": 42, "control": None}),
        ({"negative_prompt": "blurry"}, {"negative_prompt": "blurry"}),
        ({"sd_steps": 20}, {"steps": 20}),
        ({"sd_guidance_scale": 5}, {"guidance_scale": 5.0}),
        ({"sd_strength": 0.7}, {"strength": 0.7}),
        ({"sd_mask_blur": 3}, {"mask_blur": 3}),
        ({"sd_seed": 5}, {"seed": 5}),
        ({"sd_seed": -1}, {"seed": 0}),
        ({"sd_sampler": "Euler a"}, {"scheduler": "EulerAncestralDiscreteScheduler", "use_karras_sigmas": False}),
        ({"sd_sampler": "DPM2 Karras"}, {"scheduler": "KDPM2DiscreteScheduler", "use_karras_sigmas": True}),
        (
            {"sd_sampler": "DPM++ 2M SDE Karras"},
            {"scheduler": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"},
        ),
        (
            {"enable_controlnet": True, "controlnet_method": "canny", "controlnet_conditioning_scale": 0.6},
            {"control": "canny", "control_strength": 0.6},
        ),
    ],
)
@pytest.mark.parametrize("model", ["auto", "tiny"])
def test_a_field_reaches_the_model(
    alices_program: Client,
    images: dict[str, str],
    diffusion_requests: list[InpaintRequest],
    model: str,
    values: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    post(alices_program, "model", {"name": model})
    response = post(alices_program, "inpaint", {**images, "prompt": "a rose", **values})
    assert image_of(response).shape == (64, 96, 3)
    requested = Generation.objects.get().requested_settings.settings
    defaults = {"mask_blur": 0, "seed": 0}
    assert {name: requested.get(name, defaults.get(name)) for name in expected} == expected
    assert (response["X-DreamLayer-Model"], response["X-DreamLayer-Ignored"]) == ("tiny", "")


def test_the_lcm_lora_is_used_with_its_scheduler_where_one_is_installed(
    alices_program: Client, images: dict[str, str], diffusion_requests: list[InpaintRequest]
) -> None:
    lora = Lora.objects.create(slug="quick", label="Quick", family="sd", kind="lcm", sha256="0" * 64, size_bytes=1)
    lora.path.parent.mkdir(parents=True, exist_ok=True)
    lora.path.write_bytes(b"")
    values = {"prompt": "a rose", "sd_lcm_lora": True, "sd_sampler": "DPM++ 2M SDE Karras"}
    response = post(alices_program, "inpaint", {**images, **values})
    assert image_of(response).shape == (64, 96, 3)
    settings = diffusion_requests[0].settings
    assert ([use.slug for use in settings.loras], settings.scheduler) == (["quick"], "LCMScheduler")
    assert response["X-DreamLayer-Ignored"] == "sd_sampler"


def test_what_the_app_sends_without_an_effect_is_listed(
    alices_program: Client, images: dict[str, str], diffusion_requests: list[InpaintRequest]
) -> None:
    post(alices_program, "model", {"name": "tiny"})
    response = post(alices_program, "inpaint", {**APP_FIELDS, **images, "prompt": "a rose", "sd_lcm_lora": True})
    ignored = response["X-DreamLayer-Ignored"].split(", ")
    effective = {"image", "mask", "prompt", "negative_prompt", "use_croper", "use_extender", "enable_controlnet"}
    effective |= {f"sd_{name}" for name in ("mask_blur", "strength", "steps", "guidance_scale", "sampler", "seed")}
    sent = {name for name, value in APP_FIELDS.items() if value is not None} | {"image", "mask"}
    assert set(ignored) == sent - effective


def test_without_a_diffusion_model_its_fields_are_listed_and_blur_nothing(
    alices_program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], images: dict[str, str]
) -> None:
    values = {
        "prompt": "a rose",
        "sd_mask_blur": 12,
        "sd_steps": 9,
        "sd_sampler": "DDIM",
        "sd_keep_unmasked_area": False,
    }
    response = post(alices_program, "inpaint", {**images, **values})
    check_painted(image_of(response), photo, hole)
    assert set(response["X-DreamLayer-Ignored"].split(", ")) == set(values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"image": "!"}, "Invalid image"),
        ({"image": None}, "image"),
        ({"mask": None}, "mask"),
        ({"mask": text(b"no image" * 20)}, "Invalid mask"),
        ({"mask": text(png(np.zeros((64, 96), np.uint8)))}, "Nothing to repaint"),
        ({"mask": text(png(np.zeros((9, 9), np.uint8)))}, "Image size((64, 96)) and mask size((9, 9)) not match."),
        ({"sd_steps": 0}, "sd_steps"),
        ({"sd_strength": 1.5}, "sd_strength"),
        ({"sd_guidance_scale": "high"}, "sd_guidance_scale"),
        ({"sd_mask_blur": 1000}, "sd_mask_blur"),
        ({"use_extender": True, "extender_width": 0}, "extender_width"),
        ({"use_extender": True, "extender_width": 96, "extender_height": 64}, "Nothing to outpaint"),
        ({"use_extender": True, "extender_width": 9_999_999}, "extender_width"),
        ({"use_croper": True, "croper_x": 200}, "Nothing to repaint"),
        ({"use_croper": True, "croper_x": -600}, "Nothing to repaint"),
        ({"use_croper": "maybe"}, "use_croper"),
    ],
)
def test_an_invalid_request_is_a_400(
    alices_program: Client, images: dict[str, str], values: dict[str, Any], named: str
) -> None:
    assert named in error(post(alices_program, "inpaint", {**images, **values}), 400)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("values", [{"sd_sampler": "Heun 3"}, {"enable_controlnet": True, "controlnet_method": "no"}])
def test_an_unknown_sampler_or_controlnet_is_a_400(
    alices_program: Client, images: dict[str, str], diffusion_requests: object, values: dict[str, Any]
) -> None:
    assert "there are" in error(post(alices_program, "inpaint", {**images, "prompt": "a", **values}), 400).replace(
        "samplers are", "there are"
    )


@pytest.mark.parametrize("route", ["inpaint", "adjust_mask", "run_plugin_gen_mask", "run_plugin_gen_image", "model"])
@pytest.mark.parametrize("body", ["[]", "{", '{"name": []}'])
def test_a_body_that_cannot_be_read_is_a_400(alices_program: Client, route: str, body: str) -> None:
    error(alices_program.post(f"/api/v1/{route}", body, content_type="application/json"), 400)


# Models


def test_the_models_are_listed_and_one_is_chosen_for_each_key(
    alices_program: Client, bobs_program: Client, images: dict[str, str], diffusion_requests: list[InpaintRequest]
) -> None:
    config = alices_program.get("/api/v1/server-config").json()
    assert [info["name"] for info in config["modelInfos"]] == ["auto", "quick-fill", "tiny"]
    tiny = config["modelInfos"][-1]
    assert (tiny["model_type"], tiny["need_prompt"]) == ("diffusers_sd_inpaint", True)
    assert "canny" in tiny["controlnets"]
    assert config["samplers"] == alices_program.get("/api/v1/samplers").json()
    assert len(set(config["samplers"])) == 19
    assert post(alices_program, "model", {"name": "tiny"}).json() == tiny
    assert alices_program.get("/api/v1/model").json() == tiny
    assert bobs_program.get("/api/v1/model").json()["name"] == "auto"
    assert post(alices_program, "inpaint", images)["X-DreamLayer-Model"] == "tiny"  # without a prompt too
    post(alices_program, "model", {"name": "quick-fill"})
    response = post(alices_program, "inpaint", {**images, "prompt": "a rose"})
    assert (response["X-DreamLayer-Engine"], response["X-DreamLayer-Ignored"]) == ("quick-fill", "prompt")


def test_names_of_models_are_read_as_in_the_other_services(
    alices_program: Client, diffusion_requests: object, settings: Settings
) -> None:
    InferenceModel.objects.filter(slug="tiny").update(aliases=["org/tiny"])
    assert post(alices_program, "model", {"name": "org/tiny"}).json()["name"] == "tiny"
    error(post(alices_program, "model", {"name": "org/none"}), 400)
    assert alices_program.get("/api/v1/model").json()["name"] == "tiny"
    settings.COMPAT_ANY_MODEL = ["iopaint"]
    assert post(alices_program, "model", {"name": "org/none"}).json()["name"] == "auto"


def test_a_model_that_is_gone_leaves_the_choice_to_the_server(
    alices_program: Client, images: dict[str, str], diffusion_requests: object
) -> None:
    post(alices_program, "model", {"name": "tiny"})
    InferenceModel.objects.filter(slug="tiny").delete()
    assert alices_program.get("/api/v1/model").json()["name"] == "auto"
    assert post(alices_program, "inpaint", images)["X-DreamLayer-Engine"] == "quick-fill"


def test_the_keys_of_the_configuration_are_those_that_the_service_sends(alices_program: Client) -> None:
    config = alices_program.get("/api/v1/server-config").json()
    assert {type(value) for value in config.values()} == {list, str, bool, type(None)}
    for name in ("removeBGModel", "realesrganModel", "interactiveSegModel"):
        assert config[name] == config[f"{name}s"][0]
    assert [plugin["name"] for plugin in config["plugins"]] == ["InteractiveSeg", "RemoveBG", "RealESRGAN"]


# Plug-ins


def test_a_click_selects_what_is_there(alices_program: Client, images: dict[str, str]) -> None:
    board = np.full((64, 96, 3), 240, np.uint8)
    board[20:40, 30:60] = (200, 20, 20)
    body = {"name": "InteractiveSeg", "image": text(png(board)), "clicks": [[45, 30, 1, 0], [5, 5, 0]], "scale": 1}
    mask = image_of(post(alices_program, "run_plugin_gen_mask", body))
    assert {tuple(pixel) for pixel in mask.reshape(-1, 4)} == {(0, 0, 0, 0), (255, 203, 0, 186)}
    selected = mask[:, :, 3] > 0
    assert selected[20:40, 30:60].mean() > 0.9
    assert selected[:10].mean() < 0.1


def test_the_background_is_marked_or_removed(alices_program: Client, photo: NDArray[np.uint8]) -> None:
    board = photo.copy()
    board[20:44, 30:66] = (250, 10, 10)
    body = {"name": "RemoveBG", "image": text(png(board))}
    mask = image_of(post(alices_program, "run_plugin_gen_mask", body))
    cut = image_of(post(alices_program, "run_plugin_gen_image", body))
    assert np.array_equal(cut[:, :, :3], board)
    assert cut[25:40, 35:60, 3].mean() > cut[:8, :, 3].mean() + 100
    assert mask[25:40, 35:60, 3].mean() > 150


def test_an_image_is_enlarged(alices_program: Client, photo_png: bytes) -> None:
    response = post(
        alices_program,
        "run_plugin_gen_image",
        {"name": "RealESRGAN", "image": text(photo_png), "scale": 2, "clicks": []},
    )
    assert image_of(response).shape == (128, 192, 3)
    assert (response["X-DreamLayer-Engine"], response["X-DreamLayer-Ignored"]) == ("upscale", "clicks")
    assert response["X-DreamLayer-Model"] == "lanczos"


def test_the_model_of_a_plugin_is_chosen(alices_program: Client) -> None:
    names = alices_program.get("/api/v1/server-config").json()["interactiveSegModels"]
    assert names[:2] == ["grabcut", "colour"]
    sent = {"plugin_name": "InteractiveSeg", "model_name": "colour"}
    assert post(alices_program, "switch_plugin_model", sent).status_code == 200
    assert alices_program.get("/api/v1/server-config").json()["interactiveSegModel"] == "colour"
    assert "grabcut" in error(post(alices_program, "switch_plugin_model", {**sent, "model_name": "vit_b"}), 400)
    assert "Plugin not found" in error(post(alices_program, "switch_plugin_model", {**sent, "plugin_name": "a"}), 400)


@pytest.mark.parametrize(
    ("route", "values", "named"),
    [
        ("run_plugin_gen_image", {"name": "GFPGAN"}, "Plugin not found"),
        ("run_plugin_gen_image", {"name": "InteractiveSeg"}, "RemoveBG, RealESRGAN"),
        ("run_plugin_gen_mask", {"name": "RealESRGAN"}, "InteractiveSeg, RemoveBG"),
        ("run_plugin_gen_image", {"name": "RealESRGAN", "scale": 9}, "scale"),
        ("run_plugin_gen_mask", {"name": "InteractiveSeg"}, "Mark the object"),
        ("run_plugin_gen_mask", {"name": "InteractiveSeg", "clicks": [[1, 2]]}, "clicks"),
        ("run_plugin_gen_mask", {"name": "InteractiveSeg", "clicks": [[500, 2, 1]]}, "x"),
        ("run_plugin_gen_mask", {"name": "RemoveBG", "image": "!"}, "Invalid image"),
    ],
)
def test_a_plugin_that_cannot_do_it_says_why(
    alices_program: Client, photo_png: bytes, route: str, values: dict[str, Any], named: str
) -> None:
    assert named in error(post(alices_program, route, {"image": text(photo_png), **values}), 400)


@pytest.mark.parametrize(("operate", "change"), [("expand", 3), ("shrink", -3), ("reverse", 0)])
def test_a_mask_is_adjusted(alices_program: Client, hole: NDArray[np.uint8], operate: str, change: int) -> None:
    body = {"mask": text(brush(hole)), "operate": operate, "kernel_size": 3}
    adjusted = image_of(post(alices_program, "adjust_mask", body))
    selected = adjusted[:, :, 3] > 0
    rows, columns = np.nonzero(~selected if operate == "reverse" else selected)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (
        40 - change,
        60 + change,
        20 - change,
        40 + change,
    )
    assert {tuple(pixel) for pixel in adjusted[selected]} == {(255, 203, 0, 186)}


@pytest.mark.parametrize("values", [{"operate": "grow"}, {"kernel_size": 10_000}, {"kernel_size": -1}, {"mask": "!"}])
def test_a_mask_that_cannot_be_adjusted_is_a_400(
    alices_program: Client, hole: NDArray[np.uint8], values: dict[str, Any]
) -> None:
    error(post(alices_program, "adjust_mask", {"mask": text(brush(hole)), "operate": "expand", **values}), 400)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, ("", "")),
        ({"parameters": "a cat\nNegative prompt: dogs\nSteps: 20"}, ("a cat", "dogs")),
        ({"parameters": "a cat"}, ("a cat", "")),
        ({"dreamlayer": '{"prompt": "a rose", "negative_prompt": "thorns"}'}, ("a rose", "thorns")),
        ({"dreamlayer": "[]"}, ("", "")),
    ],
)
def test_the_prompts_in_an_image_are_read(
    alices_program: Client, photo: NDArray[np.uint8], texts: dict[str, str], expected: tuple[str, str]
) -> None:
    info, data = PngInfo(), BytesIO()
    for keyword, value in texts.items():
        info.add_text(keyword, value)
    Image.fromarray(photo).save(data, "png", pnginfo=info)
    data.seek(0)
    data.name = "photo.png"
    found = alices_program.post("/api/v1/gen-info", {"file": data}).json()
    assert found == dict(zip(("prompt", "negative_prompt"), expected, strict=True))
    error(alices_program.post("/api/v1/gen-info", {"file": "photo"}), 400)


# Who may call it


@pytest.mark.parametrize("route", ["server-config", "model", "samplers"])
def test_a_key_is_needed(db: None, route: str) -> None:
    error(Client().get(f"/api/v1/{route}"), 401)


@pytest.mark.parametrize("route", ["inpaint", "adjust_mask", "run_plugin_gen_mask", "run_plugin_gen_image", "model"])
def test_a_key_is_needed_to_send_anything(db: None, route: str) -> None:
    error(post(Client(), route, {}), 401)


def test_a_key_may_be_the_password_of_http_basic(alices_key: str, images: dict[str, str]) -> None:
    credentials = text(f"anyone:{alices_key}".encode())
    image_of(post(Client(headers={"Authorization": f"Basic {credentials}"}), "inpaint", images))
    image_of(post(Client(headers={"Authorization": f"Bearer {alices_key}"}), "inpaint", images))


@pytest.mark.parametrize("headers", [{"Origin": ORIGIN}, {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}])
def test_a_page_of_this_site_paints_with_its_session(
    alices_page: Client, alice: User, images: dict[str, str], headers: dict[str, str]
) -> None:
    image_of(post(alices_page, "inpaint", images, **headers))
    assert Generation.objects.get().owner == alice
    assert alices_page.get("/api/v1/model").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "https://testserver"},
        {"Origin": "http://testserver:81"},
        {"Origin": "http://testserver.elsewhere.example"},
        {"Origin": "https://allowed.example"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=a"])
def test_a_page_of_another_origin_cannot_use_the_session(
    alices_page: Client, images: dict[str, str], settings: Settings, headers: dict[str, str], content_type: str
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://allowed.example"]
    for route in ("inpaint", "model"):
        body = json.dumps({**images, "name": "quick-fill"})
        error(alices_page.generic("POST", f"/api/v1/{route}", body, content_type=content_type, headers=headers), 403)
    assert not Generation.objects.exists()
    assert alices_page.get("/api/v1/model", headers={"Origin": ORIGIN}).json()["name"] == "auto"


@pytest.mark.parametrize("headers", [{"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_of_another_origin_reads_nothing(alices_page: Client, headers: dict[str, str]) -> None:
    error(alices_page.get("/api/v1/server-config", headers=headers), 403)


def test_a_trusted_origin_is_this_site_behind_its_proxy(
    alices_page: Client, images: dict[str, str], settings: Settings
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://paint.example.org"]
    image_of(post(alices_page, "inpaint", images, Origin="https://paint.example.org"))


def test_the_image_of_another_user_is_not_read(
    alices_program: Client, bobs_program: Client, images: dict[str, str]
) -> None:
    post(alices_program, "inpaint", images)
    link = f"/api/generations/{Generation.objects.get().pk}/images/0/"
    image_of(post(alices_program, "inpaint", {**images, "image": link}))
    assert "no image of yours" in error(post(bobs_program, "inpaint", {**images, "image": link}), 400)


# The web app


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_a_recorded_request_of_the_app_is_answered(
    alices_page: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8], photo_png: bytes, name: str
) -> None:
    call = PAYLOADS[name]
    headers = {**call["headers"], "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    if call["method"] == "GET":
        response = alices_page.get(call["path"], headers=headers)
    elif "json" in call:
        sent = json.dumps(call["json"]).replace("{photo}", text(photo_png)).replace("{brush}", text(brush(hole)))
        response = alices_page.post(call["path"], sent, content_type="application/json", headers=headers)
    else:
        files = {part["name"]: SimpleUploadedFile(part["filename"], photo_png, part["type"]) for part in call["parts"]}
        response = alices_page.post(call["path"], files, headers=headers)
    if name in ("web_app_input_image", "web_app_socket"):
        assert response.status_code == 404  # the app goes on without an image and without progress
        assert response["Content-Type"] == "application/json"
    elif name == "web_app_inpaint":
        check_painted(image_of(response), photo, hole)
    else:
        assert response.status_code == 200
        assert isinstance(response.json(), dict)


@pytest.fixture
def app_folder(tmp_path: Path, settings: Settings) -> Path:
    (tmp_path / "app/assets").mkdir(parents=True)
    (tmp_path / "app/index.html").write_text("<title>IOPaint</title>")
    (tmp_path / "app/assets/index-1.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    settings.IOPAINT_APP = str(tmp_path / "app")
    return tmp_path / "app"


def test_the_app_is_shown_to_people_who_have_signed_in(app_folder: Path, alices_page: Client) -> None:
    page = alices_page.get("/iopaint/")
    assert page.content == b"<title>IOPaint</title>"
    assert "script-src" not in page["Content-Security-Policy"]  # the default: scripts of this site alone
    assert alices_page.get("/assets/index-1.js")["Content-Type"].startswith("text/javascript")
    assert Client().get("/iopaint/").headers["Location"] == "/accounts/login/?next=/iopaint/"


@pytest.mark.parametrize(
    "name", ["..", "none.js", "%00", "..%2Fsecret", "..%2F..%2Fsecret", "%2e%2e%2f%2e%2e%2fsecret"]
)
def test_other_files_are_not_there(app_folder: Path, alices_page: Client, name: str) -> None:
    assert alices_page.get(f"/assets/{name}").status_code == 404


def test_without_a_folder_there_is_no_app(alices_page: Client) -> None:
    assert alices_page.get("/iopaint/").status_code == 404
    assert alices_page.get("/assets/index-1.js").status_code == 404
