"""AUTOMATIC1111's API: what its clients send, masks and sizes, progress and control, options, lists, errors."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, User
from inpainting.api.compat.automatic1111.body import ResizeMode
from inpainting.api.compat.automatic1111.shapes import fit
from inpainting.core.codecs import thumbnail_webp
from inpainting.core.codecs.metadata.infotext import read_infotext, write_infotext
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.core.resizing import resize, resize_pixels
from inpainting.generations import submit
from inpainting.models import Generation, Status
from inpainting.realtime import events
from tests.compat.automatic1111 import (
    IMG2IMG,
    OPTIONS,
    PAYLOADS,
    check_error,
    encoded,
    image_of,
    painted,
    pixels_of,
    post,
    recorded,
)
from tests.conftest import png
from tests.contracts.dialect import DialectContract

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

LISTS = (
    *("sd-models", "sd-vae", "samplers", "schedulers", "upscalers", "latent-upscale-modes", "loras", "hypernetworks"),
    *("face-restorers", "realesrgan-models", "prompt-styles", "script-info", "extensions"),
)
OBJECTS = {
    "/sdapi/v1/scripts": ["txt2img", "img2img"],
    "/sdapi/v1/embeddings": ["loaded", "skipped"],
    "/sdapi/v1/memory": ["ram", "cuda"],
    "/sdapi/v1/cmd-flags": [],
    "/controlnet/version": ["version"],
    "/controlnet/model_list": ["model_list"],
    "/controlnet/module_list": ["module_list", "module_detail"],
    "/controlnet/settings": ["control_net_unit_count"],
}


class TestAutomatic1111(DialectContract):
    dialect = "automatic1111"
    below_the_prefix = "/sdapi/v1/nowhere"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        body = {"init_images": [encoded(photo)], "mask": encoded(mask), "seed": seed}
        return post(client, IMG2IMG, body, **headers)

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        options = {"override_settings": {"sd_model_checkpoint": name}}
        return post(client, IMG2IMG, {"init_images": [encoded(photo)], "mask": encoded(mask), **options})

    def result(self, response: Any) -> object:
        return painted(response)["images"]

    def check_error(self, response: Any, status: int) -> None:
        check_error(response, status)


@pytest.fixture
def body(photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return {"init_images": [encoded(photo_png)], "mask": encoded(png(hole))}


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)


def changed_pixels(text: str, photo: NDArray[np.uint8], where: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero((pixels_of(text) != photo).any(axis=2)[where]))


# What clients send


@pytest.mark.parametrize("name", ["webuiapi_img2img", "gimpfusion_img2img"])
def test_recorded_inpainting_changes_what_is_white_alone(
    alices_key: str, photo_png: bytes, photo: NDArray[np.uint8], hole: NDArray[np.uint8], name: str
) -> None:
    call = recorded(name, photo_png, png(hole))
    basic = base64.b64encode(f"user:{alices_key}".encode()).decode()
    answer = painted(post(Client(), call["path"], call["json"], Authorization=f"Basic {basic}"))
    (image,) = answer["images"]
    assert changed_pixels(image, photo, hole == 0) == 0
    assert changed_pixels(image, photo, hole > 0) > np.count_nonzero(hole) / 2
    assert answer["parameters"]["denoising_strength"] == call["json"]["denoising_strength"]
    assert not {"mask", "init_images"} & answer["parameters"].keys()


def test_recorded_controlnet_unit_reaches_a_model(
    alices_program: Client, diffusion_requests: list[InpaintRequest], photo_png: bytes, hole: NDArray[np.uint8]
) -> None:
    call = recorded("webuiapi_controlnet", photo_png, png(hole))
    unit = call["json"]["alwayson_scripts"]["ControlNet"]["args"][0]
    check_error(post(alices_program, call["path"], call["json"]), 400)
    unit["model"] = "inpaint [0123abcd]"
    answer = painted(post(alices_program, call["path"], call["json"]))
    (use,) = diffusion_requests[0].settings.control_uses
    assert (use.slug, use.strength, use.end) == ("inpaint", 1.0, 1.0)
    assert diffusion_requests[0].conditioning_images == {}, "it is computed from the image"
    of_unit = ("resize_mode", "processor_res", "threshold_a", "threshold_b")
    listed = {f"alwayson_scripts.controlnet.{name}" for name in of_unit}
    assert set(answer["meta"]["ignored"]) == {"save_images", *listed}


@pytest.mark.parametrize("name", ["webuiapi_txt2img", "open_webui_txt2img"])
def test_recorded_text_to_image_has_the_size_that_was_sent(
    alices_program: Client, diffusion_requests: list[InpaintRequest], photo_png: bytes, name: str
) -> None:
    call = recorded(name, photo_png, photo_png)
    (image,) = painted(post(alices_program, call["path"], call["json"]))["images"]
    assert image_of(image).size == (512, 512)
    sent = diffusion_requests[0].settings
    assert (sent.steps, sent.strength, sent.width) == (call["json"]["steps"], 1.0, 512)


def test_recorded_enlarging(alices_program: Client, photo_png: bytes) -> None:
    call = recorded("webuiapi_upscale", photo_png, photo_png)
    assert "realesrgan-x4plus" in check_error(post(alices_program, call["path"], call["json"]), 400)
    call["json"]["upscaler_1"] = "Lanczos"
    answer = post(alices_program, call["path"], call["json"])
    assert answer.status_code == 200, answer.content
    assert image_of(answer.json()["image"]).size == (192, 128)
    assert Generation.objects.get().engine == "upscale"


@pytest.mark.parametrize("name", ["webuiapi_detect", "webuiapi_batch"])
def test_recorded_calls_that_are_not_built(alices_program: Client, photo_png: bytes, name: str) -> None:
    call = recorded(name, photo_png, photo_png)
    check_error(post(alices_program, call["path"], call["json"]), 501)


@pytest.mark.parametrize(
    "name",
    [
        *("webuiapi_interrupt", "webuiapi_skip", "webuiapi_refresh"),
        *("webuiapi_interrogate", "webuiapi_png_info"),
    ],
)
def test_recorded_small_calls(alices_program: Client, photo_png: bytes, name: str) -> None:
    call = recorded(name, photo_png, photo_png)
    sent = (json.dumps(call["json"]), "application/json") if "json" in call else ("", "")
    answer: Any = alices_program.generic("POST", call["path"], sent[0], content_type=sent[1])
    assert answer.status_code == 200, answer.content
    read = {"webuiapi_interrogate": "caption", "webuiapi_png_info": "items"}
    assert name not in read or read[name] in answer.json()


def test_every_recorded_body_is_tested() -> None:
    text = Path(__file__).read_text()
    assert [path.stem for path in PAYLOADS.glob("*.json") if f'"{path.stem}"' not in text] == []


# Masks and sizes


def test_the_inverted_mask_repaints_the_rest(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    inverted = {**body, "mask": encoded(png(255 - hole)), "inpainting_mask_invert": 1}
    (image,) = painted(post(alices_program, IMG2IMG, inverted))["images"]
    assert changed_pixels(image, photo, hole == 0) == 0
    assert changed_pixels(image, photo, hole > 0) > np.count_nonzero(hole) / 2


def test_of_a_mask_with_transparency_what_is_opaque_is_repainted(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    black_strokes = np.dstack([np.zeros_like(photo), hole])
    (image,) = painted(post(alices_program, IMG2IMG, {**body, "mask": encoded(png(black_strokes))}))["images"]
    assert changed_pixels(image, photo, hole == 0) == 0
    assert changed_pixels(image, photo, hole > 0) > np.count_nonzero(hole) / 2


@pytest.mark.parametrize("is_rounded", [True, False])
def test_alpha_is_rounded_unless_that_is_turned_off(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], is_rounded: bool
) -> None:
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[10:20, 10:20], alpha[30:40, 10:20] = 129, 128
    sent = {**body, "mask": encoded(png(np.dstack([photo, alpha]))), "mask_round": is_rounded}
    painted(post(alices_program, IMG2IMG, sent))
    stored = Generation.objects.get().mask.read_pixels()
    assert np.array_equal(stored, np.where(alpha > 128, 255, 0) if is_rounded else alpha)


def test_the_whole_picture_has_the_size_that_was_sent(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    sent = {**body, "inpaint_full_res": False, "width": 192, "height": 128}
    answer = painted(post(alices_program, IMG2IMG, sent))
    (image,) = answer["images"]
    scaled = np.asarray(resize(CanonicalImage(photo), Size(192, 128)).pixels, np.uint8)
    where = hole.repeat(2, axis=0).repeat(2, axis=1) > 0
    assert changed_pixels(image, scaled, ~Generation.objects.get().mask.read_pixels().astype(bool)) == 0
    assert changed_pixels(image, scaled, where) > np.count_nonzero(where) / 2
    assert not {"width", "height", "inpaint_full_res"} & set(answer["meta"]["ignored"])


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        (ResizeMode.STRETCH, Size(4, 4), [[0, 1, 2, 3]] * 4),
        (ResizeMode.LATENT, Size(4, 4), [[0, 1, 2, 3]] * 4),
        (ResizeMode.CROP, Size(2, 2), [[1, 2]] * 2),
        (ResizeMode.FILL, Size(4, 4), [[0, 1, 2, 3]] * 4),
        (ResizeMode.FILL, Size(6, 2), [[0, 0, 1, 2, 3, 3]] * 2),
    ],
)
def test_an_image_of_another_shape_is_stretched_cropped_or_filled_up(
    mode: ResizeMode, size: Size, expected: list[list[int]]
) -> None:
    pixels = np.array([[0, 1, 2, 3]] * 2, np.uint8)[:, :, np.newaxis]
    assert fit(pixels, size, mode, resize_pixels)[:, :, 0].tolist() == expected


def test_a_narrow_strip_is_cropped_before_it_is_scaled() -> None:
    sizes: list[Size] = []

    def scale(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
        sizes.append(Size(pixels.shape[1], pixels.shape[0]))
        return resize_pixels(pixels, size)

    strip = np.zeros((8192, 1, 3), np.uint8)
    assert fit(strip, Size(64, 32), ResizeMode.CROP, scale).shape == (32, 64, 3)
    assert sizes == [Size(1, 1)]


def test_no_init_image_is_a_404(alices_program: Client, body: dict[str, Any]) -> None:
    for sent in (list[str](), None):
        response = post(alices_program, IMG2IMG, {**body, "init_images": sent})
        assert check_error(response, 404) == "Init image not found"


# Parameters


def test_the_parameters_are_in_the_image_and_read_back(
    alices_program: Client, diffusion_requests: list[InpaintRequest], body: dict[str, Any]
) -> None:
    sent = {
        **body,
        "prompt": "a lawn, green:\n(wet)",
        "negative_prompt": "people",
        "seed": 5,
        "sampler_name": "Euler a",
    }
    answer = painted(post(alices_program, IMG2IMG, {**sent, "batch_size": 2, "n_iter": 2, "steps": 9}))
    assert answer["info"]["all_seeds"] == [5, 6, 7, 8]
    assert len(answer["images"]) == 4
    read = post(alices_program, "/sdapi/v1/png-info", {"image": f"data:image/png;base64,{answer['images'][1]}"}).json()
    assert read["info"] == answer["info"]["infotexts"][1]
    assert read["info"] == image_of(answer["images"][1]).text["parameters"]  # type: ignore[attr-defined]
    values = read["parameters"]
    assert (values["Prompt"], values["Negative prompt"]) == (sent["prompt"], "people")
    assert [values[name] for name in ("Steps", "Sampler", "Seed", "Size-1", "Size-2", "Model")] == [
        *("9", "Euler a", "6", "96", "64", "tiny")
    ]
    assert values["Denoising strength"] == "0.75"


@pytest.mark.parametrize("prompt", ["", "a: 1, b: 2, c: 3", "one\ntwo", 'say "hi", \\'])
def test_infotexts_read_back(prompt: str) -> None:
    text = write_infotext(prompt, "no, never: x", {"Steps": 1, "Sampler": "A: b", "Model": 'a,"b"', "Seed": 3})
    assert read_infotext(text) == {
        **{"Prompt": prompt, "Negative prompt": "no, never: x"},
        **{"Steps": "1", "Sampler": "A: b", "Model": 'a,"b"', "Seed": "3"},
    }


def test_a_long_run_of_spaces_takes_no_time_to_read() -> None:
    started = time.monotonic()
    assert read_infotext("a" + " " * 50_000 + "b")["Prompt"].endswith("b")
    assert time.monotonic() - started < 5, "it took seconds for 4,000 spaces, and holds the interpreter"


def test_a_picture_without_parameters_has_none(alices_program: Client, photo_png: bytes) -> None:
    empty = {"info": "", "items": {}, "parameters": {}}
    assert post(alices_program, "/sdapi/v1/png-info", {"image": encoded(photo_png)}).json() == empty
    check_error(post(alices_program, "/sdapi/v1/png-info", {"image": "no image"}), 400)


def test_images_are_left_out_where_they_are_not_wanted(alices_program: Client, body: dict[str, Any]) -> None:
    answer = painted(post(alices_program, IMG2IMG, {**body, "send_images": False}))
    assert answer["images"] == []
    assert Generation.objects.get().images.count() == 1


# Enlarging


@pytest.mark.parametrize(
    ("sent", "size"),
    [
        ({"upscaler_1": "Lanczos", "upscaling_resize": 1.5}, (144, 96)),
        ({"upscaler_1": "lanczos", "resize_mode": 1, "upscaling_resize_w": 150, "upscaling_resize_h": 150}, (150, 150)),
        (
            {"upscaler_1": "lanczos", "resize_mode": 1, "upscaling_resize_w": 150, "upscaling_resize_h": 150}
            | {"upscaling_crop": False},
            (225, 150),
        ),
        ({"upscaler_1": "None"}, (96, 64)),
        ({}, (96, 64)),
        ({"upscaler_1": "lanczos", "upscaling_resize": 1}, (96, 64)),
    ],
)
def test_images_are_enlarged(
    alices_program: Client, photo_png: bytes, photo: NDArray[np.uint8], sent: dict[str, Any], size: tuple[int, int]
) -> None:
    answer = post(alices_program, "/sdapi/v1/extra-single-image", {"image": encoded(photo_png), **sent})
    assert answer.status_code == 200, answer.content
    shown = image_of(answer.json()["image"])
    assert shown.size == size
    if size == (96, 64):
        assert np.array_equal(np.asarray(shown), photo)


def test_enlarging_beyond_its_limits_is_refused(alices_program: Client, photo_png: bytes) -> None:
    for sent in ({"upscaling_resize": 5}, {"resize_mode": 1, "upscaling_resize_w": 50}, {"upscaling_resize": 1.2}):
        body = {"image": encoded(photo_png), "upscaler_1": "lanczos", "upscaling_resize_h": 40, **sent}
        check_error(post(alices_program, "/sdapi/v1/extra-single-image", body), 400)


# Progress and control


def test_progress_is_that_of_the_callers_own_generation(
    alices_program: Client, bobs_program: Client, alice: User, no_worker: None, body: dict[str, Any], photo: Any
) -> None:
    def progress(client: Client, query: str = "") -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/sdapi/v1/progress{query}").json()
        return found

    idle = progress(alices_program)
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)
    waiting = start(alices_program, body)
    assert (progress(alices_program)["progress"], progress(alices_program)["state"]["job_count"]) == (0, 1)
    start(alices_program, body)
    assert waiting.start()
    Generation.objects.filter(pk=waiting.pk).update(step=3, steps=12)
    preview = "data:image/webp;base64," + encoded(thumbnail_webp(CanonicalImage(photo), side=64))
    event = events.progress(3, 12, preview={"url": preview, "box": [0, 0, 96, 64]})
    events.publish(waiting.pk, alice.pk, event)
    running = progress(alices_program)
    assert running["progress"] == 0.25
    assert running["state"]["job_count"] == 2
    assert [running["state"][name] for name in ("sampling_step", "sampling_steps")] == [3, 12]
    assert image_of(running["current_image"]).format == "PNG"
    assert progress(alices_program, "?skip_current_image=true")["current_image"] is None
    other = Client(headers={"X-API-Key": ApiKey.issue(alice, name="other")[1]})
    for client in (bobs_program, other):
        assert progress(client) == idle


def start(client: Client, body: dict[str, Any]) -> Generation:
    """Send a request for which nobody waits: its generation is queued."""
    before = set(Generation.objects.values_list("pk", flat=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inpainting.api.views.respond_later", lambda later, request: HttpResponse())
        post(client, IMG2IMG, body)
    return Generation.objects.exclude(pk__in=before).get()


@pytest.mark.parametrize("action", ["interrupt", "skip"])
def test_an_interrupted_request_is_answered_without_images(
    alices_program: Client,
    bobs_program: Client,
    alice: User,
    no_worker: None,
    body: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    action: str,
) -> None:
    other = Client(headers={"X-API-Key": ApiKey.issue(alice, name="other")[1]})

    async def interrupted(*arguments: object, **more: object) -> None:
        from asgiref.sync import sync_to_async

        for client in (bobs_program, other):
            await sync_to_async(post)(client, f"/sdapi/v1/{action}")
        assert await Generation.objects.filter(status=Status.QUEUED).acount() == 1, "it belongs to another caller"
        assert (await sync_to_async(post)(alices_program, f"/sdapi/v1/{action}")).status_code == 200

    monkeypatch.setattr("inpainting.api.later_response.wait_until_ended", interrupted)
    answer = painted(post(alices_program, IMG2IMG, body))
    assert answer["images"] == []
    assert Generation.objects.get().status == Status.CANCELLED


# Options and lists


def test_options_are_kept_for_each_key(
    alices_program: Client, alice: User, diffusion_requests: list[InpaintRequest], body: dict[str, Any]
) -> None:
    other = Client(headers={"X-API-Key": ApiKey.issue(alice, name="other")[1]})
    options = alices_program.get(OPTIONS).json()
    assert options["sd_model_checkpoint"] == "tiny"
    refused = recorded("webuiapi_options", b"", b"")["json"]
    check_error(post(alices_program, OPTIONS, refused), 400)
    sent = {**options, "sd_model_checkpoint": "tiny.safetensors [0123456789]", "CLIP_stop_at_last_layers": 2, "x": 1}
    answer = post(alices_program, OPTIONS, sent)
    assert (answer.status_code, answer.json()) == (200, None)
    assert answer["X-DreamLayer-Ignored"] == "samples_format, x"
    assert alices_program.get(OPTIONS).json()["CLIP_stop_at_last_layers"] == 2
    assert other.get(OPTIONS).json()["CLIP_stop_at_last_layers"] == 1
    for client in (alices_program, other):
        painted(post(client, IMG2IMG, {**body, "prompt": "a lawn"}))
    found = [(request.settings.model, request.settings.clip_skip) for request in diffusion_requests]
    assert found == [("tiny", 2), ("tiny", None)]
    models = [row.requested_settings.settings.get("model") for row in Generation.objects.order_by("created_at")]
    assert models == ["tiny", None]


def test_a_model_that_is_gone_leaves_the_choice_to_the_server(
    alices_program: Client, diffusion_requests: list[InpaintRequest], body: dict[str, Any]
) -> None:
    from inpainting.models import InferenceModel

    post(alices_program, OPTIONS, {"sd_model_checkpoint": "tiny"})
    InferenceModel.objects.filter(slug="tiny").update(enabled=False)
    assert alices_program.get(OPTIONS).json()["sd_model_checkpoint"] == "none"
    painted(post(alices_program, IMG2IMG, body))


def test_an_unknown_model_is_refused_and_not_kept(alices_program: Client, settings: Settings) -> None:
    assert "midjourney" not in check_error(post(alices_program, OPTIONS, {"sd_model_checkpoint": "midjourney"}), 400)
    assert alices_program.get(OPTIONS).json()["sd_model_checkpoint"] == "none"
    check_error(post(alices_program, OPTIONS, {"CLIP_stop_at_last_layers": 99}), 422)
    settings.COMPAT_ANY_MODEL = ["automatic1111"]
    assert post(alices_program, OPTIONS, {"sd_model_checkpoint": "midjourney"}).status_code == 200


def test_lists_have_the_shapes_that_clients_read(
    alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    found = {name: alices_program.get(f"/sdapi/v1/{name}").json() for name in LISTS}
    assert all(isinstance(entries, list) for entries in found.values())
    assert [model["title"] for model in found["sd-models"]] == ["tiny"]
    assert {"Euler a", "DPM++ 2M", "DDIM"} <= {sampler["name"] for sampler in found["samplers"]}
    assert [scheduler["name"] for scheduler in found["schedulers"]] == ["automatic", "uniform", "karras"]
    assert [upscaler["name"] for upscaler in found["upscalers"]] == ["None", "lanczos"]
    for path, names in OBJECTS.items():
        assert list(alices_program.get(path).json()) == names, path
    assert "canny" in alices_program.get("/controlnet/model_list").json()["model_list"]
    assert Client().get("/sdapi/v1/sd-models").status_code == 401


# Errors


def test_errors_have_the_shape_of_the_service(alices_program: Client, body: dict[str, Any]) -> None:
    assert check_error(post(alices_program, IMG2IMG, {**body, "sampler_name": "Magic"}), 404) == "Sampler not found"
    scripts: tuple[dict[str, Any], ...] = (
        {"script_name": "SD upscale"},
        {"alwayson_scripts": {"ADetailer": {"args": []}}},
    )
    for sent in scripts:
        assert "not found" in check_error(post(alices_program, IMG2IMG, {**body, **sent}), 422)
    refused = post(alices_program, IMG2IMG, {**body, "denoising_strength": 2})
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "denoising_strength"])
    assert alices_program.post(IMG2IMG, "{", content_type="application/json").status_code == 422
    for args in (5, True, "x", {"a": 1}):
        unit = {"alwayson_scripts": {"controlnet": {"args": args}}}
        assert post(alices_program, IMG2IMG, {**body, **unit}).status_code == 200
    too_large = {"image": body["init_images"][0], "upscaler_1": "Lanczos", "resize_mode": 1}
    refused = post(alices_program, "/sdapi/v1/extra-single-image", {**too_large, "upscaling_resize_w": 10**400})
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "upscaling_resize_w"])
    check_error(post(alices_program, IMG2IMG, {**body, "init_images": ["no image"]}), 400)
    check_error(post(alices_program, IMG2IMG, {**body, "n_iter": 3, "batch_size": 3}), 400)
    check_error(alices_program.get(IMG2IMG), 405)
    for headers in ({}, {"Authorization": f"Basic {encoded(b'user:wrong')}"}, {"Authorization": "Basic %"}):
        refused = post(Client(), IMG2IMG, body, **headers)
        assert (refused.status_code, refused["WWW-Authenticate"]) == (401, "Basic")
