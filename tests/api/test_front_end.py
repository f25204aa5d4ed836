"""What the published front end calls beside `img2img`: its recorded requests, and what it reads of the answers."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.api.native.sample_prompts import NEGATIVE_PROMPTS, PROMPTS
from inpainting.core.codecs import decode_image
from inpainting.core.request import InpaintRequest
from inpainting.models import Generation, Status, UserLimits
from tests.conftest import png
from tests.support import fake_diffusion

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
RECORDED = {
    path.stem: json.loads(path.read_text())
    for path in (Path(__file__).parent.parent / "payloads/dreamlayer/neighbours").glob("*.json")
}
RESULTS = Path(__file__).parent.parent / "payloads/dreamlayer/results"
ADAPTERS = "txt2img_with_adapters"


def send(client: Client, name: str, image: bytes, *, without: str = "", **changes: Any) -> Any:
    """Send a recorded request. changes: fields of its JSON or `params`."""
    call = deepcopy(RECORDED[name])
    if call["method"] == "GET":
        return client.get(call["path"])
    if "json" in call:
        text = json.dumps({**call["json"], **changes}).replace("{image}", base64.b64encode(image).decode())
        return client.post(call["path"], text, content_type="application/json")
    parts: dict[str, Any] = {**call.get("fields", {}), **changes}
    if "params" in call:
        parts = {"params": json.dumps({**call["params"], **changes})}
    parts |= {field: SimpleUploadedFile(named[0], image, named[1]) for field, named in call["files"].items()}
    return client.post(call["path"], {field: part for field, part in parts.items() if field != without})


def has_keys(found: Any, recorded: Any) -> bool:
    """Whether the JSON has every key that the service's own answer has, with a value of its type."""
    if isinstance(recorded, dict):
        return recorded.keys() <= found.keys() and all(has_keys(found[name], recorded[name]) for name in recorded)
    if isinstance(recorded, list):
        return all(has_keys(entry, recorded[0]) for entry in found) and len(found) > 0
    return isinstance(found, type(recorded))


@pytest.fixture
def requests(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[InpaintRequest]:
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models_and_adapters(tmp_path)
    return fake_diffusion.record_requests(monkeypatch)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_request_is_answered_as_the_front_end_reads_it(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes, name: str
) -> None:
    answer = send(alices_program, name, photo_png)
    assert answer.status_code == 200, answer.content
    assert has_keys(answer.json(), RECORDED[name]["answer"]), answer.json()


def test_the_lists_name_what_is_installed(alices_program: Client, requests: list[InpaintRequest]) -> None:
    def listed(path: str) -> Any:
        return alices_program.get(path).json()["models"]

    assert listed("/api/lora-models/") == [{"id": "ink", "name": "Ink", "filename": "ink", "triggerWords": []}]
    assert set(listed("/api/controlnet/models")) == set(fake_diffusion.CONTROLS)
    assert listed("/api/upscaler-models") == [
        {"id": "lanczos", "name": "Lanczos with sharpened edges", "filename": "lanczos"}
    ]


def test_words_become_an_image(alices_program: Client, requests: list[InpaintRequest], photo_png: bytes) -> None:
    answer = send(alices_program, "txt2img", photo_png, width=320, height=256, batch_size=2, seed=5)
    (request,) = requests
    settings = request.settings
    assert (settings.prompt, settings.negative_prompt) == ("a stone path through a garden", "people, text")
    assert (settings.steps, settings.guidance_scale, settings.num_images, settings.seed) == (20, 7.0, 2, 5)
    assert (settings.scheduler, settings.strength) == ("EulerDiscreteScheduler", 1.0)
    assert request.mask.all()
    links = [image["url"] for image in answer.json()["comfy_response"]["generated_images"]]
    assert len(links) == 2
    for link in links:
        shown = Client().get(link, headers={"Origin": "http://localhost:8080"})
        assert decode_image(shown.getvalue()).image.pixels.shape == (256, 320, 3)
    metadata = answer.json()["metadata"]
    assert {"batch_count", "denoising_strength", "hires_fix_upscaler", "tiling"} <= set(metadata["ignored_fields"])
    assert not {"batch_size", "cfg_scale", "width", "clip_skip"} & set(metadata["ignored_fields"])


def test_numbers_out_of_range_are_clamped(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes
) -> None:
    answer = send(alices_program, "txt2img", photo_png, width=9, steps=999)
    assert decode_image(Client().get(answer.json()["images"][0]).getvalue()).image.size.width == 64
    assert requests[0].settings.steps == 150
    assert any("width was 9" in warning for warning in answer.json()["metadata"]["warnings"])


def test_a_lora_and_a_controlnet_are_used(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes, photo: NDArray[np.uint8]
) -> None:
    metadata = send(alices_program, ADAPTERS, photo_png, width=96, height=64).json()["metadata"]
    assert [(use["slug"], use["weight"]) for use in metadata["loras"]] == [("ink", 0.7)]
    (control,) = metadata["controls"]
    assert (control["slug"], control["strength"], control["start"], control["end"]) == ("canny", 0.8, 0.1, 0.9)
    assert not {"lora", "controlnet"} & set(metadata["ignored_fields"])
    assert any("dw_openpose_full was not run" in warning for warning in metadata["warnings"])
    stored = Generation.objects.get().references["control_image"]
    with stored.file.open("rb") as file:
        assert np.array_equal(decode_image(file.read()).image.pixels, photo)


def test_a_control_image_is_uploaded_shown_and_used(
    alices_program: Client,
    requests: list[InpaintRequest],
    photo_png: bytes,
    photo: NDArray[np.uint8],
    bob: User,
    settings: Settings,
) -> None:
    name = send(alices_program, "upload_controlnet_image", photo_png).json()["filename"]
    shown = Client().get(f"/api/images/{name}", headers={"Origin": "http://localhost:8080"})
    assert shown["Content-Type"] == "image/png"
    assert np.array_equal(decode_image(shown.getvalue()).image.pixels, photo)
    unit = {**RECORDED[ADAPTERS]["json"]["controlnet"]["units"][0], "input_image": name}
    controlnet = {"enabled": True, "units": [unit]}
    answer = send(alices_program, ADAPTERS, photo_png, controlnet=controlnet, width=96, height=64)
    assert answer.status_code == 200, answer.content
    with Generation.objects.get().references["control_image"].file.open("rb") as file:
        assert np.array_equal(decode_image(file.read()).image.pixels, photo)

    bobs_program = Client(headers={"X-API-Key": ApiKey.issue(bob)[1]})
    assert "no image of yours" in refused(send(bobs_program, ADAPTERS, photo_png, controlnet=controlnet), 400)
    token, extension = name.rsplit(".", 1)
    for altered in (f"{token[:-1]}.{extension}", f"{token}.jpg", name.removeprefix("upload-")):
        assert Client().get(f"/api/images/{altered}").status_code == 404, altered
    settings.RESULT_LINK_HOURS = -1
    assert Client().get(f"/api/images/{name}").status_code == 404


def test_a_control_image_that_cannot_be_read_is_refused(alices_program: Client, photo_png: bytes) -> None:
    def upload(image: bytes = photo_png, **options: Any) -> str:
        return refused(send(alices_program, "upload_controlnet_image", image, **options), 400)

    assert upload(without="file") == "No file provided"
    assert upload(b"none").startswith("Invalid control image: ")


def test_random_prompts_differ_in_kind(alices_program: Client, photo_png: bytes) -> None:
    def drawn(name: str) -> set[str]:
        return {send(alices_program, name, photo_png).json()["prompt"] for _ in range(3)}

    assert drawn("fetch_prompt") <= set(PROMPTS)
    assert drawn("fetch_negative_prompt") <= set(NEGATIVE_PROMPTS)


@pytest.mark.parametrize("path", ["show-in-folder", "settings/paths", "add-api-key"])
def test_what_acts_on_the_servers_machine_is_not_there(alices_program: Client, path: str) -> None:
    sent = {"filename": "a.png", "outputDirectory": "results", "alias": "A", "api-key": "b"}
    refused(alices_program.post(f"/api/{path}", sent, content_type="application/json"), 404)


def test_img2img_reads_them_too(alices_program: Client, requests: list[InpaintRequest], photo_png: bytes) -> None:
    body = {**RECORDED[ADAPTERS]["json"], "input_image": "{image}"}
    text = json.dumps(body).replace("{image}", base64.b64encode(photo_png).decode())
    answer = alices_program.post("/api/img2img", text, content_type="application/json")
    metadata = answer.json()["metadata"]
    assert [use["slug"] for use in (*metadata["loras"], *metadata["controls"])] == ["ink", "canny"]


def test_adapters_that_cannot_be_used_are_reported(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes
) -> None:
    unit = RECORDED[ADAPTERS]["json"]["controlnet"]["units"][0]
    units = [{**unit, "model": "none.safetensors"}, {**unit, "input_image": None}, {**unit, "enabled": False}, 5]
    changes: dict[str, Any] = {
        "lora": {"enabled": True, "lora_name": "none.safetensors"},
        "controlnet": {"enabled": True, "units": units},
    }
    metadata = send(alices_program, ADAPTERS, photo_png, **changes).json()["metadata"]
    assert (metadata["loras"], metadata["controls"]) == ([], [])
    assert {"lora", "controlnet"} <= set(metadata["ignored_fields"])
    reported = " ".join(metadata["warnings"])
    for part in ("LoRA “none.safetensors”", "units[0]: the ControlNet “none.safetensors”", "units[1] has no image"):
        assert part in reported


def test_few_units_of_many_are_read(alices_program: Client, requests: list[InpaintRequest], photo_png: bytes) -> None:
    metadata = send(alices_program, "txt2img", photo_png, controlnet={"enabled": True, "units": [{}] * 500}).json()[
        "metadata"
    ]
    assert 0 < sum("controlnet.units" in warning for warning in metadata["warnings"]) <= 10


@pytest.mark.parametrize(
    "adapters",
    [
        {"lora": "ink", "controlnet": []},
        {"lora": {"enabled": "yes"}, "controlnet": {"enabled": True, "units": {}}},
        {"lora": None, "controlnet": {"enabled": False, "units": [{}]}},
    ],
)
def test_adapters_of_another_shape_have_no_effect(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes, adapters: dict[str, Any]
) -> None:
    assert send(alices_program, "txt2img", photo_png, **adapters).status_code == 200
    assert (requests[0].settings.loras, requests[0].settings.controls) == ((), ())


def test_the_extras_tab_enlarges(alices_program: Client, photo_png: bytes) -> None:
    answer = send(alices_program, "extras_upscale", photo_png)
    content = answer.json()
    data, metadata = content["data"], content["metadata"]
    assert (data["original_size"], data["new_size"]) == ({"width": 96, "height": 64}, {"width": 192, "height": 128})
    shown = Client().get(data["output_image"], headers={"Origin": "http://localhost:8080"})
    assert decode_image(shown.getvalue()).image.pixels.shape == (128, 192, 3)
    assert {"upscaler_model_2", "upscaler_visibility", "gfpgan_visibility"} <= set(metadata["ignored_fields"])
    assert metadata["warnings"] == ["The upscaler “Real_ESRGAN_x4plus” is not installed; the server's choice was used."]


def test_its_upscaler_format_and_scale_are_used(alices_program: Client, photo_png: bytes) -> None:
    sent: dict[str, Any] = {"upscaler_model": "lanczos", "output_format": "JPEG", "scale": 3}
    content = send(alices_program, "extras_upscale", photo_png, **sent).json()
    assert (content["metadata"]["warnings"], content["data"]["new_size"]["width"]) == ([], 288)
    assert content["data"]["output_image"].endswith(".jpg")


def test_an_interrupt_cancels_the_newest_generation(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.tasks.run_waiting.apply_async", lambda *arguments, **options: None)
    text = json.dumps(RECORDED["txt2img"]["json"])
    headers = {"Prefer": "respond-async"}
    waiting = alices_program.post("/api/txt2img", text, content_type="application/json", headers=headers)
    assert waiting.status_code == 202
    assert send(alices_program, "interrupt", photo_png).json() == {"status": "received"}
    assert Generation.objects.get().status == Status.CANCELLED


def refused(answer: Any, status: int) -> str:
    content = answer.json()
    assert (answer.status_code, content["status"]) == (status, "error"), content
    return str(content["message"])


def test_bad_input_is_refused_in_its_shape(
    alices_program: Client, requests: list[InpaintRequest], photo_png: bytes
) -> None:
    def extras(**changes: Any) -> str:
        return refused(send(alices_program, "extras_upscale", photo_png, **changes), 400)

    assert extras(without="image") == "No image file provided"
    assert extras(without="params") == "No parameters provided"
    assert "output_format" in extras(output_format="BMP")
    assert refused(send(alices_program, "extras_upscale", b"none"), 400).startswith("Invalid input image")
    assert refused(send(alices_program, "txt2img", photo_png, prompt=None), 400) == "Missing required field: prompt"
    assert refused(send(alices_program, "txt2img", photo_png, steps="many"), 400).startswith("steps: ")
    assert refused(send(alices_program, "txt2img", photo_png, engine="quick-fill"), 400)
    assert refused(send(alices_program, ADAPTERS, b"none"), 400).startswith("Invalid control image")
    lora = {"enabled": True, "lora_name": "ink", "strength_model": "much"}
    assert refused(send(alices_program, ADAPTERS, photo_png, lora=lora), 400).startswith("loras[0].weight")
    assert refused(alices_program.get("/api/txt2img"), 405)
    assert not Generation.objects.exists()


def test_words_need_a_model(alices_program: Client, photo_png: bytes) -> None:
    answer = send(alices_program, "txt2img", photo_png)
    refused(answer, 400)
    assert answer.json()["code"] == "model_unavailable"


@pytest.mark.parametrize("name", RECORDED)
def test_a_key_with_the_scope_is_needed(client: Client, alice: User, photo_png: bytes, name: str) -> None:
    scope = Scope.READ if RECORDED[name]["method"] == "GET" else Scope.GENERATE
    other = {Scope.READ: Scope.GENERATE, Scope.GENERATE: Scope.READ}[scope]
    refused(send(client, name, photo_png), 401)
    refused(send(Client(headers={"X-API-Key": "wrong"}), name, photo_png), 401)
    key = ApiKey.issue(alice, scopes=[other])[1]
    refused(send(Client(headers={"X-API-Key": key}), name, photo_png), 403)


def test_a_limit_that_is_reached_is_a_429(alices_program: Client, alice: User, photo_png: bytes) -> None:
    UserLimits.objects.create(user=alice, per_minute=1)
    assert send(alices_program, "extras_upscale", photo_png).status_code == 200
    refused(send(alices_program, "extras_upscale", png(np.zeros((64, 96, 3), np.uint8))), 429)


def test_another_users_parent_is_refused(alices_program: Client, bob: User, generate: Any, photo_png: bytes) -> None:
    parent = str(generate(bob).pk)
    for name in ("txt2img", "extras_upscale"):
        assert "parent" in refused(send(alices_program, name, photo_png, parent=parent), 400)


def test_a_repeated_idempotency_key_paints_once(alices_program: Client, photo_png: bytes) -> None:
    alices_program.defaults["HTTP_IDEMPOTENCY_KEY"] = "one"
    first, again = (send(alices_program, "extras_upscale", photo_png).json()["id"] for _ in range(2))
    assert first == again
    refused(send(alices_program, "extras_upscale", photo_png, scale=3), 422)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_is_sent_to_another_tab(
    alices_program: Client, client: Client, requests: list[InpaintRequest], photo_png: bytes, path: Path
) -> None:
    call = json.loads(path.read_text())
    painted = send(alices_program, "txt2img", photo_png).json()["comfy_response"]["generated_images"][0]["url"]
    filename = painted.rpartition("/")[2]
    answer = alices_program.post(call["path"], {"filename": filename}, content_type="application/json")
    assert (answer.status_code, answer.json()) == (200, call["answer"])
    assert client.get(f"/api/images/{filename}").status_code == 200, "where the app loads it from"
    assert client.get(f"/images/{filename}").status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        ({}, 400, "No filename provided"),
        ({"filename": ""}, 400, "No filename provided"),
        ({"filename": "image123.png"}, 404, "File not found"),
        ({"filename": ["../a"]}, 404, "File not found"),
        ({"filename": 5}, 404, "File not found"),
    ],
)
@pytest.mark.parametrize("tab", ["img2img", "extras"])
def test_a_result_that_is_not_there_is_not_sent(
    alices_program: Client, client: Client, tab: str, sent: dict[str, Any], status: int, message: str
) -> None:
    answer = alices_program.post(f"/api/send-to-{tab}", sent, content_type="application/json")
    assert (answer.status_code, answer.json()["status"], answer.json()["message"]) == (status, "error", message)
    assert client.post(f"/api/send-to-{tab}", sent, content_type="application/json").status_code == 401
