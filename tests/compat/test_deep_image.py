"""Deep-Image's API: recorded requests of its clients, every documented field, responses, errors, webhook."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.api.compat.deep_image import DIALECT
from inpainting.core.codecs import decode_picture
from inpainting.core.codecs.formats import TOO_LARGE
from inpainting.core.errors import InvalidRequest
from inpainting.core.request import PaintSettings
from inpainting.models import Generation, InferenceModel, Status, UserLimits, WebhookDelivery
from inpainting.webhooks import deliver_due
from inpainting.worker import watchdog
from tests import fake_diffusion
from tests.conftest import png
from tests.net.fake_network import Listener, answer
from tests.webhooks.receiving import messages, open_to, url_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads/deep_image").glob("*.json"))
PHOTO_URL, MASK_URL = "https://photos.example/beach.jpg", "https://photos.example/beach-mask.png"
PROCESS, PROCESS_LATER = "/rest_api/process_result", "/rest_api/process"
GENERATE = "background.generate."


@pytest.fixture(autouse=True)
def _pictures_by_url(monkeypatch: pytest.MonkeyPatch, photo_png: bytes, white_mask: bytes) -> None:
    """Download the pictures of the requests from memory."""

    def download(url: str, *, field: str, **_: object) -> bytes:
        pictures = {PHOTO_URL: photo_png, MASK_URL: white_mask}
        if url not in pictures:
            raise InvalidRequest("The host of this URL does not exist.", code="url_not_found", field=field)
        return pictures[url]

    monkeypatch.setattr("inpainting.api.pictures.download_image", download)


@pytest.fixture
def white_mask(hole: NDArray[np.uint8]) -> bytes:
    """The mask in the service's polarity: white is repainted."""
    return png(hole)


@pytest.fixture
def program(alices_key: str) -> Client:
    return Client(headers={"x-api-key": alices_key})


@pytest.fixture
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda *_: None)


def inpainting(**generate: Any) -> dict[str, Any]:
    return {
        "url": PHOTO_URL,
        "background": {"generate": {"adapter_type": "inpainting", "ip_image2": MASK_URL, **generate}},
    }


def outpainting(**fields: Any) -> dict[str, Any]:
    return {"url": PHOTO_URL, "width": 150, "height": 100, "fit": {"canvas": "outpainting"}, **fields}


def generating(**generate: Any) -> dict[str, Any]:
    return {"background": {"generate": generate}}


def post(client: Client, body: Any, path: str = PROCESS) -> Any:
    return client.post(path, body, content_type="application/json")


def download(url: str) -> bytes:
    got = Client().get(urlsplit(url).path)
    assert got.status_code == 200
    return b"".join(got.streaming_content) if got.streaming else got.content  # type: ignore[attr-defined]


def size_of(data: bytes) -> list[int]:
    size = decode_picture(data).picture.size
    return [size.width, size.height]


def refused(got: Any, status: int) -> dict[str, Any]:
    assert got.status_code == status, got.content
    assert got["Content-Type"] == "application/json"
    body: dict[str, Any] = json.loads(got.content)
    return body


def has_message(got: Any, status: int, message: str) -> None:
    assert refused(got, status)["message"] == message


# What clients send


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_a_recorded_request_is_completed(path: Path, program: Client, photo_png: bytes, white_mask: bytes) -> None:
    recorded = json.loads(path.read_text())
    image, mask = (base64.b64encode(data).decode() for data in (photo_png, white_mask))
    text = json.dumps(recorded["body"]).replace("{image}", image).replace("{mask}", mask)
    headers = recorded.get("headers", {})
    match recorded["send_as"]:
        case "json":
            got = program.post(PROCESS, text, content_type="application/json", headers=headers)
        case "parameters":
            got = post(program, {"parameters": text})
        case "multipart":
            file = SimpleUploadedFile("photo.png", photo_png, "image/png")
            got = program.post(PROCESS, {recorded["part"]: file, "parameters": text}, headers=headers)
    assert got.status_code == 200, got.content
    completed = got.json()
    assert list(completed) == ["status", "result_url", "job", "meta"]
    assert (completed["status"], completed["job"]) == ("complete", str(Generation.objects.get().pk))
    assert size_of(download(completed["result_url"])) == recorded["expected_size"]
    assert Generation.objects.get().service == "deep-image"


def test_white_is_repainted_and_the_rest_is_kept(
    program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    completed = post(program, inpainting()).json()
    painted = decode_picture(download(completed["result_url"])).picture.pixels
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(150, 100, (27, 18, 123, 82)), (48, 48, (0, 8, 48, 40)), (96, 130, (0, 33, 96, 97))],
)
def test_the_source_is_centred_and_only_scaled_down(
    program: Client, photo: NDArray[np.uint8], width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    completed = post(program, outpainting(width=width, height=height)).json()
    result = decode_picture(download(completed["result_url"])).picture.pixels
    assert result.shape == (height, width, 3)
    left, top, right, bottom = box
    expected = photo
    if right - left < 96:
        expected = cv2.resize(photo, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    assert np.array_equal(result[top:bottom, left:right], expected)


# Every field


def works(check: Callable[[Generation], bool]) -> Callable[[Any], None]:
    def confirm(got: Any) -> None:
        assert got.status_code == 200, got.content
        assert check(Generation.objects.get())

    return confirm


def ignored(name: str) -> Callable[[Any], None]:
    return works(lambda generation: name in DIALECT.meta(generation)["ignored"])


def is_refused(message: str = "", code: str = "BAD_REQUEST") -> Callable[[Any], None]:
    def confirm(got: Any) -> None:
        body = refused(got, 400)
        assert body["code"] == code
        assert message in body["message"]
        assert not Generation.objects.exists()

    return confirm


def set_to(**settings: Any) -> Callable[[Any], None]:
    return works(lambda generation: all(generation.settings[name] == value for name, value in settings.items()))


def sized(width: int, height: int) -> Callable[[Any], None]:
    return works(lambda generation: [generation.source.width, generation.source.height] == [width, height])


def background(name: str, value: Any) -> dict[str, Any]:
    return {**inpainting(), "background": {**inpainting()["background"], name: value}}


ONLY_IGNORED = {
    **dict.fromkeys(("padding", "min_length", "max_length", "dpi", "upscale_strength"), 16),
    **dict.fromkeys(("safe", "caption", "generative_upscale"), True),
    **{f"print_{name}": 10 for name in ("width", "height", "size")},
    **{f"{name}_parameters": {"type": "v2"} for name in ("upscale", "light", "deblur", "denoise", "face_enhance")},
    "enhancements": ["denoise"],
    "preset": "holiday",
    "target": "storage://mine/result.png",
    "made_up": 1,
}
IGNORED_IN_GENERATE = {
    "model_type": "realistic",
    "color": "#ffffff",
    "item_area_percentage": 0.5,
    "face_id": True,
    "strength": 0.4,
    "quality": 90,
    "made_up": "value",
}
FIELDS: dict[str, tuple[dict[str, Any], Callable[[Any], None]]] = {
    "url": (inpainting(), sized(96, 64)),
    "url: missing": ({**inpainting(), "url": None}, lambda got: has_message(got, 400, "File or image url is required")),
    "url: storage": ({**inpainting(), "url": "storage://mine/photo.png"}, is_refused("source url/storage")),
    "url: unknown host": ({**inpainting(), "url": "https://nowhere.example/a.png"}, is_refused("source url/storage")),
    "url: no picture": ({**inpainting(), "url": "base64,AAAA"}, is_refused("Unidentified image")),
    "url: no base64": ({**inpainting(), "url": "ftp://photos.example/beach.jpg"}, is_refused("Unidentified image")),
    "url: number": ({**inpainting(), "url": 5}, is_refused("url")),
    "width": ({**inpainting(), "width": 48}, sized(48, 32)),
    "height": ({**inpainting(), "height": "128"}, sized(192, 128)),
    "width and height": ({**inpainting(), "width": 48, "height": 48}, sized(48, 32)),
    "fit: another ratio": ({**inpainting(), "width": 48, "height": 48, "fit": "cover"}, ignored("fit")),
    "width: percentage": ({**inpainting(), "width": "50%"}, sized(48, 32)),
    "width: too large": (outpainting(width=10_001), is_refused("Image cannot be upscaled above 8192 x 8192 pixels")),
    "width: area": (outpainting(width=8000, height=8000), is_refused("Image cannot be upscaled above 6324 x 6324")),
    "width: zero": (outpainting(width=0), is_refused("width")),
    "width: text": (outpainting(width="wide"), is_refused("width")),
    "width: boolean": (outpainting(width=True), is_refused("width")),
    "width: outpainting without": (outpainting(width=None), is_refused("width and height")),
    "width: outpainting to the same size": (outpainting(width=96, height=64), is_refused("Nothing to outpaint")),
    "fit: outpainting": (outpainting(), sized(150, 100)),
    "fit: outpainting starts from the filled border": (outpainting(), set_to(strength=PaintSettings().strength)),
    "fit: inpainting repaints freely": (inpainting(), set_to(strength=1.0)),
    "fit: neither task": ({"url": PHOTO_URL, "width": 150, "height": 100}, is_refused("Only inpainting")),
    **{
        f"fit: {fit}": ({**inpainting(), "fit": fit}, sized(96, 64))
        for fit in ("canvas", "crop", "bounds", "cover", {"crop": "item"}, {"crop": "content"}, {"crop": "center"})
    },
    "fit: empty": ({**inpainting(), "fit": {}}, sized(96, 64)),
    "fit: unknown": (outpainting(fit="stretch"), is_refused("fit")),
    "fit: unknown canvas": (outpainting(fit={"canvas": "blur"}), is_refused("fit")),
    "fit: list": (outpainting(fit=["canvas"]), is_refused("fit")),
    "adapter_type: inpainting": (inpainting(), works(lambda generation: generation.painted_pixels < 1000)),
    "adapter_type: upscale, outpainting": (outpainting(**generating(adapter_type="upscale")), sized(150, 100)),
    "adapter_type: the default, outpainting": (
        outpainting(**generating(adapter_type="generate_background")),
        sized(150, 100),
    ),
    "adapter_type: both tasks": (
        outpainting(**inpainting()),
        works(lambda generation: generation.painted_pixels > 150 * 100 - 96 * 64),
    ),
    **{
        f"adapter_type: {name}": (
            {"url": PHOTO_URL, **generating(adapter_type=name, description="a dog")},
            is_refused(said),
        )
        for name, said in {
            "generate_background": "Only inpainting",
            "upscale": "Only inpainting",
            "face": "not available",
            "control": "not available",
            "control2": "not available",
            "made_up": "not available",
        }.items()
    },
    "adapter_type: face, outpainting": (outpainting(**generating(adapter_type="face")), is_refused("not available")),
    "ip_image2": (inpainting(), works(lambda generation: generation.painted_pixels > 0)),
    "ip_image2: missing": (inpainting(ip_image2=None), is_refused("ip_image2")),
    "ip_image2: no picture": (inpainting(ip_image2="base64,AAAA"), is_refused("Unidentified image")),
    "ip_image2: storage": (inpainting(ip_image2="storage://mine/mask.png"), is_refused("source url/storage")),
    "ip_image2: outpainting": (outpainting(**generating(ip_image2=MASK_URL)), ignored(GENERATE + "ip_image2")),
    "description": (inpainting(description="a lawn"), set_to(prompt="a lawn")),
    "description: not read without a model": (inpainting(description="a lawn"), ignored(GENERATE + "description")),
    "description: too long": (inpainting(description="a" * 10_001), is_refused("10001 characters")),
    "additional_prompt": (
        inpainting(description="a lawn", additional_prompt="sunny"),
        set_to(prompt="a lawn, sunny"),
    ),
    "negative_prompt": (inpainting(negative_prompt="people"), set_to(negative_prompt="people")),
    "negative_prompt: not read without a model": (
        inpainting(negative_prompt="people"),
        ignored(GENERATE + "negative_prompt"),
    ),
    "sample_num": (inpainting(sample_num=77), set_to(seed=77)),
    "sample_num: text": (inpainting(sample_num="77"), set_to(seed=77)),
    "sample_num: words": (inpainting(sample_num="many"), is_refused("background")),
    "controlnet_conditioning_scale: none installed": (
        inpainting(controlnet_conditioning_scale=0.5),
        ignored(GENERATE + "controlnet_conditioning_scale"),
    ),
    "controlnet_conditioning_scale: out of range": (
        inpainting(controlnet_conditioning_scale=1.5),
        is_refused("controlnet_conditioning_scale"),
    ),
    **{
        f"generate.{name}": (inpainting(**{name: value}), ignored(GENERATE + name))
        for name, value in IGNORED_IN_GENERATE.items()
    },
    "generate: not an object": (
        {"url": PHOTO_URL, "background": {"generate": "a lawn"}},
        is_refused("background"),
    ),
    "background: not an object": ({"url": PHOTO_URL, "background": "a lawn"}, is_refused("background")),
    "background.remove": (background("remove", "auto"), ignored("background.remove")),
    "background.remove alone": ({"url": PHOTO_URL, "background": {"remove": "auto"}}, is_refused("Only inpainting")),
    "background.color": (background("color", "#ffffff"), ignored("background.color")),
    "background.replace": (background("replace", "item"), ignored("background.replace")),
    "output_format: default": (inpainting(), set_to(output_format="png")),
    "output_format: jpeg": ({**inpainting(), "output_format": "jpeg"}, set_to(output_format="jpeg")),
    "output_format: jpg": ({**inpainting(), "output_format": "jpg"}, set_to(output_format="jpeg")),
    "output_format: webp": ({**inpainting(), "output_format": "webp"}, set_to(output_format="webp")),
    "output_format: unknown": ({**inpainting(), "output_format": "tiff"}, is_refused("output_format")),
    "quality": ({**inpainting(), "output_format": "jpg", "quality": 40}, set_to(quality=40)),
    "quality: lowest": ({**inpainting(), "output_format": "jpg", "quality": 0}, set_to(quality=1)),
    "quality: too high": ({**inpainting(), "output_format": "jpg", "quality": 101}, is_refused("quality")),
    "quality: png": ({**inpainting(), "output_format": "png", "quality": 40}, ignored("quality")),
    "output_quality": ({**inpainting(), "output_format": "jpg", "output_quality": "40"}, set_to(quality=40)),
    "max_file_size": (
        {**inpainting(), "output_format": "jpg", "max_file_size": 500_000},
        set_to(max_file_kilobytes=500),
    ),
    "max_file_size: text": (
        {**inpainting(), "output_format": "jpg", "max_file_size": "1.5MB"},
        set_to(max_file_kilobytes=1500),
    ),
    "max_file_size: png": ({**inpainting(), "output_format": "png", "max_file_size": "1MB"}, ignored("max_file_size")),
    "max_file_size: words": ({**inpainting(), "max_file_size": "small"}, is_refused("max_file_size")),
    "max_file_size: nothing": ({**inpainting(), "max_file_size": 0}, is_refused("max_file_size")),
    "webhooks": ({**inpainting(), "webhooks": {}}, sized(96, 64)),
    "webhooks.complete: forbidden": (
        {**inpainting(), "webhooks": {"complete": "http://169.254.169.254/"}},
        is_refused("webhooks.complete"),
    ),
    "webhooks.failed": (
        {**inpainting(), "webhooks": {"failed": "https://hooks.example/"}},
        ignored("webhooks.failed"),
    ),
    **{name: ({**inpainting(), name: value}, ignored(name)) for name, value in ONLY_IGNORED.items()},
    "an odd name": ({**inpainting(), "a\r\nSet-Cookie: b": 1}, ignored("(another name)")),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.usefixtures("_nothing_runs")
def test_a_field_works_or_is_listed_as_ignored_or_refused(name: str, program: Client) -> None:
    body, confirm = FIELDS[name]
    confirm(post(program, body, PROCESS_LATER))


def test_a_response_lists_what_was_ignored(program: Client) -> None:
    got = post(program, {**inpainting(description="a lawn"), "dpi": 300})
    assert got.json()["meta"] == {
        "engine": "quick-fill",
        "model": None,
        "ignored": [GENERATE + "description", "dpi"],
        "warnings": [],
    }
    assert (got["X-DreamLayer-Engine"], got["X-DreamLayer-Ignored"]) == ("quick-fill", GENERATE + "description, dpi")


def test_an_inpainting_controlnet_has_the_conditioning_scale(
    program: Client, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models(tmp_path)
    requests = fake_diffusion.record_requests(monkeypatch)
    got = post(program, inpainting(description="a lawn", controlnet_conditioning_scale=0.3, negative_prompt="people"))
    assert got.json()["meta"] == {"engine": "diffusion", "model": "tiny", "ignored": [], "warnings": []}
    (request,) = requests
    assert (request.settings.control, request.settings.control_strength) == ("inpaint", 0.3)
    assert (request.settings.prompt, request.settings.strength) == ("a lawn", 1.0)


@pytest.mark.usefixtures("_nothing_runs")
def test_a_controlnet_for_another_input_is_not_used(program: Client, settings: Settings, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models(tmp_path)
    InferenceModel.objects.get(slug="inpaint").delete()
    post(program, inpainting(description="a lawn", controlnet_conditioning_scale=0.3), PROCESS_LATER)
    generation = Generation.objects.get()
    assert generation.settings["control"] is None
    assert DIALECT.meta(generation)["ignored"] == [GENERATE + "controlnet_conditioning_scale"]


def test_sixteen_bits_have_a_lower_limit(program: Client, photo: NDArray[np.uint8]) -> None:
    done, deep = cv2.imencode(".png", photo.astype(np.uint16) * 257)
    assert done
    url = f"base64,{base64.b64encode(deep.tobytes()).decode()}"
    refused_body = refused(post(program, outpainting(url=url, width=5000, height=5000)), 400)
    assert refused_body["message"] == "Image cannot be upscaled above 4472 x 4472 pixels limit."


def test_a_mask_over_all_needs_a_diffusion_model(program: Client, photo: NDArray[np.uint8]) -> None:
    mask = base64.b64encode(png(np.full_like(photo, 255))).decode()
    body = refused(post(program, inpainting(ip_image2=f"base64,{mask}")), 503)
    assert body["code"] == "MODEL_UNAVAILABLE"


def test_the_result_has_the_source_format_and_its_link_that_of_the_result(
    program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    done, jpeg = cv2.imencode(".jpg", photo)
    assert done
    body = {**inpainting(), "url": "base64," + base64.b64encode(jpeg.tobytes()).decode()}
    completed = post(program, body).json()
    assert completed["result_url"].endswith(f"/{completed['job']}.jpg")
    assert decode_picture(download(completed["result_url"])).format == "JPEG"


def test_the_quality_is_lowered_to_the_largest_file(program: Client) -> None:
    completed = post(program, {**outpainting(), "output_format": "webp", "quality": 100, "max_file_size": "4kb"}).json()
    assert len(download(completed["result_url"])) <= 4000
    body = {**outpainting(width=400, height=300), "output_format": "jpg", "max_file_size": 1000}
    completed = post(program, body).json()
    assert len(download(completed["result_url"])) > 1000
    assert TOO_LARGE in completed["meta"]["warnings"]


@pytest.mark.parametrize("own", ["result_url", "relative"])
def test_an_own_link_is_read_from_storage(program: Client, own: str, bobs_key: str) -> None:
    url = post(program, inpainting()).json()["result_url"]
    url = urlsplit(url).path if own == "relative" else url
    again = post(program, {**inpainting(), "url": url})
    assert again.json()["status"] == "complete"
    bobs = post(Client(headers={"x-api-key": bobs_key}), {**inpainting(), "url": url})
    assert refused(bobs, 400)["message"] == "Make sure your source url/storage is correct."


# Keys, limits, jobs


def test_a_key_is_needed(program: Client, settings: Settings) -> None:
    settings.ANONYMOUS_API = "force"
    for path in (PROCESS, PROCESS_LATER):
        has_message(post(Client(), inpainting(), path), 403, "No x-api-key header is provided")
    for path in ("/rest_api/me", f"/rest_api/result/{uuid4()}"):
        has_message(Client().get(path), 403, "No x-api-key header is provided")
        has_message(Client(headers={"X-API-KEY": "wrong"}).get(path), 404, "No user found for provided token")


def test_a_revoked_key_is_unknown(alice: User) -> None:
    key, text = ApiKey.issue(alice)
    key.revoke()
    has_message(Client(headers={"x-api-key": text}).get("/rest_api/me"), 404, "No user found for provided token")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [(Scope.GENERATE, {PROCESS}), (Scope.READ, {"GET", "/rest_api/me"}), (Scope.MANAGE, {"DELETE"})],
)
def test_each_route_needs_its_scope(alice: User, scope: Scope, allowed: set[str]) -> None:
    client = Client(headers={"x-api-key": ApiKey.issue(alice, scopes=[scope])[1]})
    job = f"/rest_api/result/{uuid4()}"
    got = {
        PROCESS: post(client, inpainting()),
        "GET": client.get(job),
        "DELETE": client.delete(job),
        "/rest_api/me": client.get("/rest_api/me"),
    }
    assert {name for name, response in got.items() if response.status_code != 403} == allowed


def test_the_account_has_credits_and_not_the_key(program: Client, alice: User, alices_key: str) -> None:
    account = program.get("/rest_api/me").json()
    assert list(account) == ["username", "email", "credits", "api_key", "language", "webhooks", "billing_address"]
    assert account["username"] == "alice@example.com"
    assert account["credits"] > 1000
    assert alices_key not in json.dumps(account)
    UserLimits.objects.create(user=alice, per_day=3)
    post(program, inpainting())
    assert program.get("/rest_api/me").json()["credits"] == 2


@pytest.mark.parametrize(
    ("limits", "status", "code", "message"),
    [
        ({"per_minute": 1}, 429, "TOO_MANY_REQUESTS", "Image cannot be processed right now. Your rate limit is 1 and"),
        ({"waiting": 0}, 429, "TOO_MANY_REQUESTS", "Image cannot be processed right now. Your rate limit is 0 and"),
        ({"per_day": 1}, 400, "NOT_ENOUGH_CREDITS", "You dont have enough credits to perform those actions"),
        ({"stored_megabytes": 0}, 400, "NOT_ENOUGH_CREDITS", "You dont have enough credits"),
    ],
)
def test_a_limit_is_refused(
    program: Client, alice: User, limits: dict[str, int], status: int, code: str, message: str
) -> None:
    post(program, inpainting())
    UserLimits.objects.create(user=alice, **limits)
    body = refused(post(program, inpainting()), status)
    assert (body["code"], body["message"][: len(message)]) == (code, message)


@pytest.mark.usefixtures("_nothing_runs")
def test_a_waiting_generation_is_in_progress(program: Client) -> None:
    got = post(program, inpainting(), PROCESS_LATER)
    job = str(Generation.objects.get().pk)
    assert (got.status_code, got.json()) == (200, {"status": "in_progress", "job": job})
    assert program.get(f"/rest_api/result/{job}").json() == {"status": "in_progress", "job": job}


@pytest.mark.usefixtures("_nothing_runs")
def test_the_response_of_process_result_includes_the_time_for_reading(
    program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []

    async def wait(pk: UUID, *, patience_seconds: float | None) -> bool:
        waited.append(patience_seconds)
        return False

    monkeypatch.setattr("inpainting.api.later_response.wait_until_ended", wait)
    clock = iter([100.0, 118.0])
    monkeypatch.setattr("inpainting.api.compat.deep_image.time", SimpleNamespace(monotonic=clock.__next__))
    assert post(program, inpainting()).json()["status"] == "in_progress"
    assert waited == [7.0]


@pytest.mark.usefixtures("_nothing_runs")
def test_a_stopping_server_responds_that_it_is_in_progress(program: Client) -> None:
    watchdog.stopping.set()
    got = post(program, inpainting())
    assert (got.status_code, got.json()["status"]) == (200, "in_progress")


def test_a_job_belongs_to_its_caller(program: Client, bobs_key: str) -> None:
    job = post(program, inpainting()).json()["job"]
    assert program.get(f"/rest_api/result/{job}").json()["status"] == "complete"
    bob = Client(headers={"x-api-key": bobs_key})
    for response in (bob.get(f"/rest_api/result/{job}"), bob.delete(f"/rest_api/result/{job}")):
        assert refused(response, 404) == {"message": "Job not found"}
    for unknown in (uuid4(), "5c1e"):
        assert refused(program.get(f"/rest_api/result/{unknown}"), 404) == {"message": "Job not found"}


def test_a_deleted_result_is_gone(program: Client) -> None:
    completed = post(program, inpainting()).json()
    assert program.delete(f"/rest_api/result/{completed['job']}").json()["status"] == "complete"
    gone = program.get(f"/rest_api/result/{completed['job']}")
    assert refused(gone, 404) == {"message": "Image deleted", "status": "complete"}
    assert Client().get(urlsplit(completed["result_url"]).path).status_code == 404
    assert not Generation.objects.exists()


def test_a_failed_generation_is_a_500(program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret path /here")

    monkeypatch.setattr("inpainting.worker.run.paint_each", broken)
    body = refused(post(program, inpainting()), 500)
    generation = Generation.objects.get()
    assert (body["status"], body["job"], generation.status) == ("failed", str(generation.pk), Status.FAILED)
    assert "secret" not in json.dumps(body)
    assert refused(program.get(f"/rest_api/result/{generation.pk}"), 500) == body


@pytest.mark.usefixtures("_nothing_runs")
def test_a_cancelled_generation_is_a_500(program: Client) -> None:
    job = post(program, inpainting(), PROCESS_LATER).json()["job"]
    Generation.objects.get().cancel()
    assert refused(program.get(f"/rest_api/result/{job}"), 500)["status"] == "failed"


def test_a_repeated_request_with_an_idempotency_key_paints_once(program: Client, photo_png: bytes) -> None:
    headers = {"Idempotency-Key": "one"}

    def send(width: int) -> Any:
        file = SimpleUploadedFile("photo.png", photo_png, "image/png")
        parameters = json.dumps({**outpainting(width=width), "url": None})
        return program.post(PROCESS, {"image": file, "parameters": parameters}, headers=headers)

    assert send(150).json()["job"] == send(150).json()["job"]
    assert Generation.objects.count() == 1
    assert send(151).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", PROCESS, 405), ("get", "/rest_api/nowhere", 404), ("post", "/rest_api/me", 405)],
)
def test_other_paths_and_methods_are_refused_in_its_shape(program: Client, method: str, path: str, status: int) -> None:
    assert list(refused(getattr(program, method)(path), status)) == ["message", "code"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"parameters": "{"}', b'{"parameters": "[]"}', b'{"parameters": 5}', b"null"]
)
def test_a_malformed_body_is_a_400(program: Client, body: bytes) -> None:
    assert refused(post(program, body), 400)["code"] == "BAD_REQUEST"


# The webhook


def test_the_webhook_has_the_request_and_the_result(program: Client, settings: Settings, photo_png: bytes) -> None:
    image = "base64," + base64.b64encode(photo_png).decode()
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        sent = {**outpainting(url=image), "webhooks": {"complete": url_of(receiver)}}
        job = post(program, sent, PROCESS_LATER).json()["job"]
        deliver_due()
        (message,) = messages(receiver)
    content = message.content
    assert list(content) == ["job", "data", "result_url", "results"]
    assert (content["job"], content["results"]) == (job, None)
    assert {**content["data"], "url": image} == sent
    assert content["data"]["url"].startswith("base64,")
    assert len(content["data"]["url"]) < 100
    assert size_of(download(content["result_url"])) == [150, 100]


def test_the_webhook_has_no_more_than_an_excerpt_of_a_large_request(program: Client, settings: Settings) -> None:
    settings.ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    nested: dict[str, Any] = {}
    for _ in range(800):
        nested = {"deeper": nested}
    many = {f"name-{index}": "a" * 3000 for index in range(3000)}
    sent = {**outpainting(), "made_up": nested, "lists": [["a"], "b" * 3000, "kept"], **many}
    post(program, {**sent, "webhooks": {"complete": "http://127.0.0.1/"}}, PROCESS_LATER)
    data = Generation.objects.get().service_data["request"]
    assert data["lists"] == ["kept"]
    assert len(json.dumps(data)) < 20_000


def test_no_webhook_is_sent_for_a_failure(program: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *args: 1 / 0)
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        post(program, {**inpainting(), "webhooks": {"complete": url_of(receiver)}})
        deliver_due()
        assert receiver.requests == []
    assert not WebhookDelivery.objects.exists()
