"""FooocusAPI: the bodies that its clients send, images and masks, the four kinds of response, tasks, errors."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.api.compat.fooocus.body import GenerateBody
from inpainting.core.codecs import thumbnail_webp
from inpainting.core.request import InpaintRequest
from inpainting.generations import submit
from inpainting.models import Generation, Status
from inpainting.webhooks import deliver_due
from tests.compat.fooocus import URL, base64_of, post, stored_mask, task_of
from tests.conftest import png
from tests.contracts.dialect import DialectContract
from tests.net.fake_network import Listener, answer
from tests.support.matrix import each_value_once
from tests.webhooks.receiving import messages, open_to, url_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

PAYLOADS = Path(__file__).parent.parent / "payloads" / "fooocus"
NAMES = sorted(path.stem for path in PAYLOADS.glob("*.json"))
TASK_KEYS = {
    *("id", "task_id", "req_params", "in_queue_mills", "start_mills", "finish_mills", "task_status", "progress"),
    *("webhook_url", "result", "meta"),
}


@pytest.fixture
def body(photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "inpaint_input_image": base64_of(photo_png),
        "inpaint_mask_image_upload": f"data:image/png;base64,{base64_of(png(hole))}",
    }


def image_at(url: str, **headers: str) -> Image.Image:
    assert url.startswith("http://testserver/")
    response: Any = Client().get(url.removeprefix("http://testserver"), headers=headers)
    assert response.status_code == 200
    return Image.open(BytesIO(b"".join(response.streaming_content) if response.streaming else response.content))


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: None)


class TestFooocus(DialectContract):
    dialect = "fooocus"
    failure_status = cancelled_status = 200
    key_statuses = (403, 403, 403)
    below_the_prefix = "/v1/engine/nowhere"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        images = {"inpaint_input_image": base64_of(photo), "inpaint_mask_image_upload": base64_of(mask)}
        return post(client, {**images, "image_seed": seed}, **headers)

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        images = {"inpaint_input_image": base64_of(photo), "inpaint_mask_image_upload": base64_of(mask)}
        return post(client, {**images, "base_model_name": name})

    def result(self, response: Any) -> object:
        return task_of(response)["task_id"]

    def check_error(self, response: Any, status: int) -> None:
        assert (response.status_code, list(response.json())) == (status, ["detail"]), response.content


# What clients send


@pytest.fixture
def replacements(body: dict[str, Any], photo_png: bytes, alices_program: Client) -> dict[str, str]:
    (link,) = task_of(post(alices_program, body))["result"]
    mask = body["inpaint_mask_image_upload"]
    return {
        "$PHOTO_LINK": link,
        "$PHOTO_BASE64": base64_of(photo_png),
        "$PHOTO_DATA_URL": f"data:image/png;base64,{base64_of(photo_png)}",
        "$MASK_BASE64": mask.partition(",")[2],
        "$MASK_DATA_URL": mask,
    }


@pytest.mark.parametrize(("name", "url"), each_value_once(NAMES, [URL, f"{URL}/"]))
def test_a_recorded_body_is_painted(alices_program: Client, replacements: dict[str, str], name: str, url: str) -> None:
    text = (PAYLOADS / f"{name}.json").read_text()
    for placeholder, value in replacements.items():
        text = text.replace(placeholder, value)
    response = post(alices_program, text, url, Accept="*/*")
    assert response.status_code == 200
    generation = Generation.objects.latest("created_at")
    assert (generation.status, generation.service) == (Status.SUCCEEDED, "fooocus")
    size = (generation.source.width, generation.source.height)
    expected = {"documented_outpaint": (96 + 32, 64 + 21), "documented_distances": (96 + 20 + 32, 64 + 10)}
    assert size == expected.get(name, (96, 64))


def test_a_body_without_a_json_content_type_is_read(alices_program: Client, body: dict[str, Any]) -> None:
    for content_type in ("", "text/plain", "application/x-www-form-urlencoded"):
        response: Any = alices_program.generic("POST", URL, json.dumps(body), content_type=content_type)
        assert len(task_of(response)["result"]) == 1, content_type


# Images and masks


def test_only_the_white_part_of_the_mask_is_repainted(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    task = task_of(post(alices_program, body))
    painted = np.asarray(image_at(task["result"][0]))
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole == 255], photo[hole == 255])


def test_the_mean_of_the_channels_decides(alices_program: Client, body: dict[str, Any]) -> None:
    mask = np.zeros((64, 96, 3), np.uint8)
    mask[10:20, :50] = (255, 127, 0)  # mean 127.33
    mask[10:20, 50:] = (255, 126, 0)  # mean 127
    post(alices_program, {**body, "inpaint_mask_image_upload": base64_of(png(mask))})
    expected = np.zeros((64, 96), np.uint8)
    expected[10:20, :50] = 255
    assert np.array_equal(stored_mask(), expected)


def test_transparent_parts_of_a_mask_are_kept(alices_program: Client, body: dict[str, Any]) -> None:
    mask = np.full((64, 96, 4), 255, np.uint8)
    mask[:, 20:, 3] = 0
    post(alices_program, {**body, "inpaint_mask_image_upload": base64_of(png(mask))})
    assert stored_mask()[:, :20].min() == 255
    assert stored_mask()[:, 20:].max() == 0


def test_a_mask_of_another_size_is_resized(alices_program: Client, body: dict[str, Any]) -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[:16, :24] = 255
    task = task_of(post(alices_program, {**body, "inpaint_mask_image_upload": base64_of(png(mask))}))
    assert stored_mask().sum() == 32 * 48 * 255
    assert "48x32" in " ".join(task["meta"]["warnings"])


@pytest.mark.parametrize(("pixels", "rows"), [(3, slice(17, 33)), (-3, slice(23, 27)), (0, slice(20, 30))])
def test_the_mask_grows_and_shrinks_by_squares(
    alices_program: Client, body: dict[str, Any], pixels: int, rows: slice
) -> None:
    mask, expected = np.zeros((64, 96), np.uint8), np.zeros((64, 96), np.uint8)
    mask[20:30, 20:30] = 255
    expected[rows, rows] = 255
    sent = {**body, "inpaint_mask_image_upload": base64_of(png(mask)), "inpaint_erode_or_dilate": pixels}
    assert post(alices_program, sent).status_code == 200
    assert np.array_equal(stored_mask(), expected)


def test_transparency_is_flattened_on_white(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8]
) -> None:
    alpha = np.full((64, 96, 1), 255, np.uint8)
    alpha[:, :5] = 0
    task = task_of(post(alices_program, {**body, "inpaint_input_image": base64_of(png(np.dstack([photo, alpha])))}))
    painted = np.asarray(image_at(task["result"][0]))
    assert painted.shape == (64, 96, 3)
    assert painted[:, :5].min() == 255
    assert np.array_equal(painted[:, 5:20], photo[:, 5:20])


@pytest.mark.parametrize(
    ("sides", "distance", "box"),
    [
        (["Left"], [0, 0, 0, 0], (32, 0, 0, 0)),
        (["Right", "Top"], [0, 0, 0, 0], (0, 21, 32, 0)),
        (["Left", "Top", "Right", "Bottom"], [1, 2, 3, 4], (1, 2, 3, 4)),
        (["Bottom"], [50, 50, 50, 0], (0, 0, 0, 21)),
        (["Left", "Left"], [-1, 0, 0, 0], (32, 0, 0, 0)),
    ],
)
def test_outpainting_adds_to_the_selected_sides(
    alices_program: Client,
    body: dict[str, Any],
    photo: NDArray[np.uint8],
    sides: list[str],
    distance: list[int],
    box: tuple[int, int, int, int],
) -> None:
    del body["inpaint_mask_image_upload"]
    task = task_of(post(alices_program, {**body, "outpaint_selections": sides, "outpaint_distance": distance}))
    left, top, right, bottom = box
    painted = np.asarray(image_at(task["result"][0]))
    assert painted.shape == (64 + top + bottom, 96 + left + right, 3)
    assert np.array_equal(painted[top : top + 64, left : left + 96], photo)
    assert task["req_params"]["inpaint_input_image"] == "", "what is stored is the larger canvas"


def test_the_server_chooses_for_an_unknown_model_where_the_site_lets_it(
    alices_program: Client, body: dict[str, Any], settings: Settings
) -> None:
    settings.COMPAT_ANY_MODEL = ["fooocus"]
    task = task_of(post(alices_program, {**body, "base_model_name": "midjourney"}))
    assert "base_model_name" in task["meta"]["ignored"]


def test_placeholders_stand_for_no_image(alices_program: Client, body: dict[str, Any]) -> None:
    for text in ("", "None", "none", "null", "string", None):
        sent = {**body, "inpaint_mask_image_upload": text, "outpaint_selections": ["Left"]}
        assert post(alices_program, sent).status_code == 200, text
        assert post(alices_program, {**body, "inpaint_input_image": text}).status_code == 503, text


def test_16_bits_are_kept_where_nothing_is_transparent(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8]
) -> None:
    deep = photo.astype(np.uint16) * 256 + 5
    for alpha, bits in ((65535, 16), (65534, 8)):
        sent = np.dstack([deep, np.full((64, 96, 1), alpha, np.uint16)])
        assert post(alices_program, {**body, "inpaint_input_image": base64_of(png(sent))}).status_code == 200
        stored = Generation.objects.latest("created_at").source.read()
        assert (stored.mode, stored.bits) == ("RGB", bits)
        warnings = Generation.objects.latest("created_at").warnings
        assert ("16 bits were rounded" in " ".join(warnings)) == (bits == 8)
    assert np.array_equal(Generation.objects.earliest("created_at").source.read().pixels, deep)


def test_mask_and_outpainting_are_combined(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    sent = {**body, "outpaint_selections": ["Top"], "inpaint_strength": 0.5, "inpaint_respective_field": 0.1}
    task = task_of(post(alices_program, sent))
    painted = np.asarray(image_at(task["result"][0]))[21:]
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole == 255], photo[hole == 255])
    generation = Generation.objects.get()
    assert (generation.settings["strength"], generation.settings["only_masked_padding"]) == (1.0, None)
    assert generation.ignored_fields == ["inpaint_strength", "inpaint_respective_field"]


def test_links_of_a_task_are_read_from_storage(
    alices_program: Client, bobs_program: Client, body: dict[str, Any], hole: NDArray[np.uint8]
) -> None:
    first = task_of(post(alices_program, body))
    parameters = first["req_params"]
    names = ("inpaint_input_image", "inpaint_mask_image_upload")
    assert all("/inputs/" in parameters[name] for name in names)
    again = {name: parameters[name] for name in names}
    second = task_of(post(alices_program, {**again, "image_seed": parameters["image_seed"]}))
    assert image_at(second["result"][0]).tobytes() == image_at(first["result"][0]).tobytes()
    refused = post(bobs_program, again)
    assert (refused.status_code, refused.json()["detail"]) == (400, "This link leads to no image of yours.")


# Text-to-image


@pytest.mark.parametrize("missing", [["inpaint_input_image"], ["inpaint_mask_image_upload"], []])
def test_text_to_image_needs_a_model(alices_program: Client, body: dict[str, Any], missing: list[str]) -> None:
    sent = {name: value for name, value in body.items() if name not in missing} if missing else {}
    response = post(alices_program, sent)
    assert response.status_code == 503
    assert "No diffusion model is installed" in response.json()["detail"]
    assert not Generation.objects.exists()


@pytest.mark.parametrize(
    ("sent", "size", "ignored"),
    [
        ({}, (1152, 896), []),
        ({"aspect_ratios_selection": "704*1408"}, (704, 1408), []),
        ({"aspect_ratios_selection": "wide"}, (1152, 896), ["aspect_ratios_selection"]),
        ({"overwrite_width": 512, "overwrite_height": 64}, (512, 64), []),
        ({"overwrite_height": 1}, (1152, 64), ["overwrite_height"]),
        ({"aspect_ratios_selection": "63*3000", "overwrite_height": 64}, (64, 64), ["aspect_ratios_selection"]),
    ],
)
def test_text_to_image_has_the_requested_size(
    alices_program: Client,
    diffusion_requests: list[InpaintRequest],
    sent: dict[str, Any],
    size: tuple[int, int],
    ignored: list[str],
) -> None:
    task = task_of(post(alices_program, {"prompt": "a lawn", **sent}))
    assert image_at(task["result"][0]).size == size
    assert task["meta"]["ignored"] == ignored
    assert (diffusion_requests[0].mask.min(), diffusion_requests[0].settings.strength) == (255, 1.0)


def test_a_image_without_mask_is_plain_text_to_image(
    alices_program: Client, diffusion_requests: list[InpaintRequest], body: dict[str, Any]
) -> None:
    del body["inpaint_mask_image_upload"]
    task = task_of(post(alices_program, {**body, "overwrite_width": 64, "overwrite_height": 64}))
    assert task["meta"]["ignored"] == ["inpaint_input_image"]
    assert image_at(task["result"][0]).size == (64, 64)


# The four kinds of response


def test_the_response_is_the_finished_task(alices_program: Client, body: dict[str, Any]) -> None:
    response = post(alices_program, {**body, "prompt": "a lawn", "image_number": 2, "sharpness": 5})
    task, generation = task_of(response), Generation.objects.get()
    assert task.keys() == TASK_KEYS
    assert (task["id"], task["task_id"]) == (generation.number, generation.pk.hex)
    assert (task["task_status"], task["progress"], task["webhook_url"]) == ("finished", 100, "")
    assert task["in_queue_mills"] <= task["start_mills"] <= task["finish_mills"]
    assert len(task["result"]) == 2
    assert task["req_params"].keys() == GenerateBody.model_fields.keys()
    assert (task["req_params"]["prompt"], task["req_params"]["sharpness"]) == ("a lawn", 5)
    assert task["req_params"]["image_seed"] == generation.settings["seed"] > 0
    meta = task["meta"]
    assert (meta["engine"], meta["ignored"]) == ("quick-fill", ["prompt", "sharpness"])
    assert meta["prompt"].startswith("a lawn, ")
    assert (response["X-DreamLayer-Engine"], response["X-DreamLayer-Ignored"]) == ("quick-fill", "prompt, sharpness")


@pytest.mark.parametrize(
    ("accept", "content_type", "format"),
    [
        ("image/png", "image/png", "PNG"),
        ("image/jpg", "image/jpg", "JPEG"),
        ("image/jpeg", "image/jpeg", "JPEG"),
        ("image/webp", "image/webp", "WEBP"),
        ("image/*", "image/png", "PNG"),
        ("image/avif", "image/png", "PNG"),
    ],
)
def test_an_image_type_alone_is_answered_with_the_image(
    alices_program: Client, body: dict[str, Any], accept: str, content_type: str, format: str
) -> None:
    sent = {**body, "image_number": 3, "stream_output": True, "async_process": True}
    response = post(alices_program, sent, Accept=accept)
    assert (response.status_code, response["Content-Type"]) == (200, content_type)
    assert Image.open(BytesIO(response.content)).format == format
    assert response["X-DreamLayer-Engine"] == "quick-fill"
    assert Generation.objects.get().settings["num_images"] == 1


def test_files_of_a_jpeg_have_quality_85(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8]
) -> None:
    source = BytesIO()
    Image.fromarray(photo).save(source, "JPEG", quality=95)
    expected = BytesIO()
    Image.fromarray(photo).save(expected, "JPEG", quality=85)
    tables = Image.open(expected).quantization  # type: ignore[attr-defined]  # of JPEG files
    sent = {**body, "inpaint_input_image": base64_of(source.getvalue())}
    for output_format in ("jpeg", "png"):
        (link,) = task_of(post(alices_program, {**sent, "output_format": output_format}))["result"]
        assert image_at(link, Accept="image/jpeg").quantization == tables  # type: ignore[attr-defined]
    assert Generation.objects.latest("created_at").settings["quality"] is None


@pytest.mark.parametrize("accept", ["*/*", "image/png, */*", "application/json", ""])
def test_other_accept_headers_are_answered_with_json(alices_program: Client, body: dict[str, Any], accept: str) -> None:
    assert len(task_of(post(alices_program, body, Accept=accept))["result"]) == 1


def events_of(response: Any) -> list[dict[str, Any]]:
    """The JSON of the events, as the service's clients read it: what is no JSON is skipped."""
    assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
    lines = response.content.decode().split("\r\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_stream_output_is_answered_with_events(alices_program: Client, body: dict[str, Any]) -> None:
    events = events_of(post(alices_program, {**body, "stream_output": "true", "async_process": True}))
    keys = {"progress", "preview", "message", "images"}
    assert [event.keys() for event in events] == [keys] * (len(events) - 1) + [keys | {"meta"}]
    assert all((event["images"], event["preview"]) == ([], None) for event in events[:-1])
    last = events[-1]
    assert (last["progress"], last["message"], last["preview"]) == (100, "Finished", None)
    assert image_at(last["images"][0]).size == (96, 64)


def test_async_process_is_answered_at_once(alices_program: Client, body: dict[str, Any], no_worker: None) -> None:
    task = task_of(post(alices_program, {**body, "async_process": True}))
    generation = Generation.objects.get()
    assert task.pop("meta")["engine"] == "quick-fill"
    assert task == {
        "id": -1,
        "task_id": generation.pk.hex,
        "req_params": {},
        "in_queue_mills": -1,
        "start_mills": -1,
        "finish_mills": -1,
        "task_status": "pending",
        "progress": -1,
        "preview": "",
        "webhook_url": "",
        "result": [],
    }


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *arguments: 1 / 0)


@pytest.mark.usefixtures("_broken")
def test_a_failure_is_a_finished_task_without_results(alices_program: Client, body: dict[str, Any]) -> None:
    task = task_of(post(alices_program, body))
    assert (task["task_status"], task["result"]) == ("finished", [])
    assert task["meta"]["error"] == Generation.objects.get().error_message != ""
    assert post(alices_program, body, Accept="image/png").status_code == 204
    last = events_of(post(alices_program, {**body, "stream_output": True}))[-1]
    assert (last["progress"], last["images"]) == (100, [])
    assert last["message"] == task["meta"]["error"]


def test_an_interrupted_task_is_stopped(
    alices_program: Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "notify_workers", lambda queue: Generation.objects.get().cancel())
    task = task_of(post(alices_program, body))
    assert (task["task_status"], task["result"]) == ("stop", [])


def test_files_have_the_requested_name_and_format(alices_program: Client, body: dict[str, Any]) -> None:
    sent = {**body, "save_name": "../my garden", "output_format": "jpeg", "image_number": 2}
    links = task_of(post(alices_program, sent))["result"]
    date = Generation.objects.get().created_at.strftime("%Y-%m-%d")
    assert [link.rpartition("/")[2] for link in links] == ["my%20garden-1.jpeg", "my%20garden-2.jpeg"]
    assert all(link.startswith(f"http://testserver/outputs/{date}/") for link in links)
    assert image_at(links[0]).format == "JPEG"
    assert image_at(links[0], Accept="image/png").format == "PNG"


def test_a_webhook_message_is_the_task(alices_program: Client, body: dict[str, Any], settings: Settings) -> None:
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        url = url_of(receiver)
        task = task_of(post(alices_program, {**body, "webhook_url": url, "save_name": "a"}))
        deliver_due()
        (message,) = messages(receiver)
    assert task["webhook_url"] == url
    assert message.content.keys() == TASK_KEYS
    for name in TASK_KEYS - {"result", "req_params"}:
        assert message.content[name] == task[name], name
    assert image_at(message.content["result"][0]).size == (96, 64)


def test_a_site_may_have_a_webhook_for_all_tasks(
    alices_program: Client, body: dict[str, Any], settings: Settings
) -> None:
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        settings.FOOOCUS_WEBHOOK_URL = url_of(receiver)
        task = task_of(post(alices_program, body))
        assert task["webhook_url"] == "", "the address is the administrator's"
        deliver_due()
        settings.FOOOCUS_WEBHOOK_AS_TEXT = True
        post(alices_program, body)
        deliver_due()
        first, second = messages(receiver)
    assert first.content["task_id"] == task["task_id"]
    assert json.loads(str(second.content))["task_status"] == "finished", "JSON in a JSON text, as the service sends it"


# Tasks


def test_a_task_is_found_in_every_state(
    alices_program: Client, bobs_program: Client, body: dict[str, Any], no_worker: None
) -> None:
    task_id = task_of(post(alices_program, {**body, "async_process": True}))["task_id"]
    url, generation = f"/tasks/{task_id}", Generation.objects.get()

    def found() -> dict[str, Any]:
        task: dict[str, Any] = alices_program.get(url).json()
        return task

    waiting = found()
    timings = ("in_queue_mills", "start_mills", "finish_mills")
    assert [waiting[name] for name in (*timings, "progress", "result", "task_status")] == [None] * 6
    assert "preview" not in waiting
    assert generation.start()
    assert generation.advance(1, 4)
    running = found()
    assert (running["task_status"], running["progress"], running["preview"], running["result"]) == (
        "running",
        25,
        "",
        [],
    )
    webp = base64_of(thumbnail_webp(generation.source.read(), side=32))
    assert generation.advance(2, 4, preview={"url": f"data:image/webp;base64,{webp}", "box": [0, 0, 96, 64]})
    assert generation.advance(3, 4), "a step without a preview keeps the last one"
    assert Image.open(BytesIO(base64.b64decode(found()["preview"]))).format == "PNG"
    assert generation.fail(code="x", message="y")
    assert found()["task_status"] == "finished"
    assert bobs_program.get(url).json() == [], "somebody else's task"


@pytest.mark.parametrize("task_id", ["07e0ae51d339403aa5c78a9c3f886fc1", "nonsense", "None"])
def test_an_unknown_task_is_an_empty_list(alices_program: Client, task_id: str) -> None:
    response = alices_program.get(f"/tasks/{task_id}")
    assert (response.status_code, response.json()) == (200, [])


@pytest.fixture
def tasks(alices_program: Client, bobs_program: Client, body: dict[str, Any], no_worker: None) -> list[str]:
    """Alice's tasks, oldest first: two ended, two running, two waiting. Bob and the native API have one each."""
    post(bobs_program, {**body, "async_process": True})
    for _ in range(6):
        post(alices_program, {**body, "async_process": True})
    native = {"image": body["inpaint_input_image"], "mask": body["inpaint_mask_image_upload"], "prompt": ""}
    assert post(alices_program, native, "/api/img2img", Prefer="respond-async").status_code == 202
    own = list(Generation.objects.filter(owner__email="alice@example.com", service="fooocus").order_by("created_at"))
    for generation in own[:4]:
        assert generation.start()
    for generation in own[:2]:
        assert generation.fail(code="x", message="y")
    return [generation.pk.hex for generation in own]


def listed(client: Client, **query: str) -> dict[str, list[str]]:
    response = client.get("/tasks", query)
    assert response.status_code == 200, response.content
    return {name: [task["task_id"] for task in found] for name, found in response.json().items()}


def test_tasks_are_listed_by_state(alices_program: Client, tasks: list[str]) -> None:
    everything = {"history": tasks[1::-1], "current": [tasks[2]], "pending": tasks[4:]}
    assert listed(alices_program) == listed(alices_program, query="all") == everything
    for name in everything:
        assert listed(alices_program, query=name) == {
            state: everything[state] if state == name else [] for state in everything
        }
    assert listed(alices_program, page="1", page_size="1") == {
        "history": [tasks[0]],
        "current": [tasks[2]],
        "pending": [tasks[5]],
    }


def test_tasks_are_filtered_by_time(alices_program: Client, tasks: list[str]) -> None:
    second = Generation.objects.get(pk=tasks[1]).created_at
    assert listed(alices_program, query="history", start_at=second.isoformat())["history"] == [tasks[1]]
    naive = second.replace(tzinfo=None).isoformat()
    assert listed(alices_program, query="history", end_at=naive)["history"] == [tasks[1], tasks[0]]


def test_times_beyond_the_calendar_are_the_nearest_ones(alices_program: Client, tasks: list[str]) -> None:
    first, last = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
    assert listed(alices_program, query="history", start_at=first, end_at=last)["history"] == [tasks[1], tasks[0]]
    assert listed(alices_program, query="history", start_at=last)["history"] == []


def test_tasks_are_deleted_with_the_scope_to_manage(alices_program: Client, alice: User, tasks: list[str]) -> None:
    _, key = ApiKey.issue(alice, name="reads", scopes=[Scope.READ])
    delete = {"query": "history", "action": "delete"}
    refused = Client(headers={"X-API-Key": key}).get("/tasks", delete)
    assert (refused.status_code, refused.json()) == (403, {"detail": "Forbidden"})
    response = alices_program.get("/tasks", delete)
    assert (response.status_code, response.json()) == (200, None)
    left = set(Generation.objects.filter(service="fooocus").values_list("pk", flat=True))
    assert {pk.hex for pk in left} >= set(tasks[2:])
    assert len(left) == 5, "the unfinished ones, and Bob's"


@pytest.mark.parametrize(("action", "message"), [("stop", "task stoped"), ("skip", "task skiped")])
def test_control_cancels_the_current_task(
    alices_program: Client, bobs_program: Client, tasks: list[str], action: str, message: str
) -> None:
    def control(client: Client, query: str) -> dict[str, str]:
        response = client.post(f"/v1/engine/control?action={query}")
        assert response.status_code == 200
        found: dict[str, str] = response.json()
        return found

    assert control(alices_program, action) == {"message": message}
    assert control(alices_program, "pause") == {"message": "Invalid control action"}
    assert control(bobs_program, action) == {"message": "No task running"}
    cancelled = Generation.objects.get(cancel_requested=True)
    assert cancelled.pk.hex == tasks[2]
    assert cancelled.end_cancelled()
    assert alices_program.get(f"/tasks/{tasks[2]}").json()["task_status"] == action


def test_a_parameter_of_the_wrong_kind_is_a_422(alices_program: Client) -> None:
    response = alices_program.get("/tasks", {"page": "x"})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "page"])
    response = alices_program.post("/v1/engine/control?key=secret")
    assert (response.status_code, response.json()["detail"][0]["type"]) == (422, "missing")
    assert response.json()["detail"][0]["input"] is None


def test_models_and_styles_are_listed(alices_program: Client, diffusion_requests: list[InpaintRequest]) -> None:
    assert alices_program.get("/v1/engines/all-models").json() == {"model_filenames": ["tiny"], "lora_filenames": []}
    styles = alices_program.get("/v1/engines/styles").json()
    assert styles[:3] == ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"]


# Errors


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (
            {"outpaint_selections": ["left"]},
            {
                "type": "enum",
                "loc": ["body", "outpaint_selections", 0],
                "msg": "Input should be 'Left', 'Right', 'Top' or 'Bottom'",
                "input": "left",
                "ctx": {"expected": "'Left', 'Right', 'Top' or 'Bottom'"},
            },
        ),
        (
            {"inpaint_strength": 1.5},
            {
                "type": "less_than_equal",
                "loc": ["body", "inpaint_strength"],
                "msg": "Input should be less than or equal to 1",
                "input": 1.5,
                "ctx": {"le": 1.0},
            },
        ),
        (
            {"prompt": None},
            {"type": "string_type", "loc": ["body", "prompt"], "msg": "Input should be a valid string", "input": None},
        ),
    ],
)
def test_an_invalid_body_is_answered_as_by_fastapi(
    alices_program: Client, body: dict[str, Any], sent: dict[str, Any], error: dict[str, Any]
) -> None:
    response = post(alices_program, {**body, **sent})
    assert (response.status_code, response.json()) == (422, {"detail": [error]})


@pytest.mark.parametrize(
    "content", [b'{"prompt": ', b"[]", b'"text"', b'{"sharpness": NaN}', b'{"sharpness": 1e999}', b"\xff"]
)
def test_malformed_json_is_a_422(alices_program: Client, content: bytes) -> None:
    response = post(alices_program, content)
    assert (response.status_code, response.json()["detail"][0]["type"]) == (422, "json_invalid")


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("name", ["overwrite_step", "image_seed", "overwrite_switch"])
def test_a_number_beyond_every_float_is_read(alices_program: Client, body: dict[str, Any], name: str) -> None:
    task = post(alices_program, {**body, name: 10**400, "async_process": True})
    assert name in task.json()["meta"]["ignored"]


@pytest.mark.parametrize("text", ["inf", "-Infinity", "nan"])
def test_a_text_for_a_number_that_is_not_finite_is_a_422(
    alices_program: Client, body: dict[str, Any], text: str
) -> None:
    response = post(alices_program, {**body, "freeu_b1": text})
    assert (response.status_code, response.json()["detail"][0]["type"]) == (422, "finite_number")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"inpaint_input_image": "!"}, 400),
        ({"inpaint_input_image": base64_of(b"no image")}, 400),
        ({"inpaint_input_image": "http://127.0.0.1/photo.png"}, 400),
        ({"inpaint_mask_image_upload": base64_of(png(np.zeros((64, 96), np.uint8)))}, 400),
        ({"webhook_url": "http://127.0.0.1/"}, 400),
        ({"uov_method": "Upscale (2x)"}, 501),
        ({"base_model_name": "no-such-model.safetensors"}, 400),
        ({"outpaint_selections": ["Left"], "outpaint_distance": [9000, 0, 0, 0]}, 400),
    ],
)
def test_other_errors_are_a_detail(
    alices_program: Client, body: dict[str, Any], sent: dict[str, Any], status: int
) -> None:
    response = post(alices_program, {**body, **sent})
    assert (response.status_code, list(response.json())) == (status, ["detail"]), response.content
    assert isinstance(response.json()["detail"], str)
    assert not Generation.objects.exists()


def test_without_a_valid_key_the_answer_is_forbidden(client: Client, body: dict[str, Any], alice: User) -> None:
    forbidden = (403, {"detail": "Forbidden"})
    _, reads = ApiKey.issue(alice, name="reads", scopes=[Scope.READ])
    for key in ("", "dl_wrong", reads):
        response = post(client, body, **({"X-API-KEY": key} if key else {}))
        assert (response.status_code, response.json()) == forbidden, key
    for path in ("/tasks", f"/tasks/{uuid4().hex}", "/v1/engines/styles", "/v1/engines/all-models"):
        response = client.get(path)
        assert (response.status_code, response.json()) == forbidden, path
    assert client.post("/v1/engine/control?action=stop").status_code == 403


def test_with_the_anonymous_api_no_key_is_needed(client: Client, body: dict[str, Any], settings: Settings) -> None:
    settings.ANONYMOUS_API = "on"
    task = task_of(post(client, body))
    assert Generation.objects.get().owner == User.objects.get_local_user()
    assert client.get(f"/tasks/{task['task_id']}").json()["task_status"] == "finished"
    assert post(client, body, **{"X-API-KEY": "dl_wrong"}).status_code == 403


def test_unknown_paths_and_methods(alices_program: Client) -> None:
    response = alices_program.get("/v1/engine/nowhere")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
    response = alices_program.get(URL)
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
    assert alices_program.get("/outputs/2026-01-01/none/a.png").content == b""
    assert alices_program.get("/")["Content-Type"].startswith("text/html"), "the first page stays"
