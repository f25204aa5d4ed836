"""Deep-Image's API: recorded requests of its clients, results, responses, errors, webhook."""

from __future__ import annotations

import base64
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import cv2
import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.api.compat.deep_image import DIALECT
from inpainting.api.compat.deep_image.body import DeepImageForm, GenerateForm
from inpainting.api.fields import ImageText
from inpainting.core.codecs import decode_image
from inpainting.core.codecs.formats import TOO_LARGE
from inpainting.models import Generation, InferenceModel, Status, UserLimits, WebhookDelivery
from inpainting.webhooks import deliver_due
from inpainting.worker import watchdog
from tests.compat.arrival import Clock
from tests.compat.deep_image import (
    GENERATE,
    PHOTO_URL,
    PROCESS,
    PROCESS_LATER,
    download,
    generating,
    has_message,
    inpainting,
    let_nothing_run,
    outpainting,
    post,
    refused,
    serve_images,
    size_of,
)
from tests.conftest import png
from tests.contracts.dialect import DialectContract
from tests.net.fake_network import Listener, answer
from tests.support import fake_diffusion
from tests.webhooks.receiving import messages, open_to, url_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads/deep_image").glob("*.json"))


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    serve_images(monkeypatch, photo, hole)


@pytest.fixture
def program(alices_key: str) -> Client:
    return Client(headers={"x-api-key": alices_key})


@pytest.fixture
def white_mask(hole: NDArray[np.uint8]) -> bytes:
    return png(hole)


@pytest.fixture
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_nothing_run(monkeypatch)


class TestDeepImage(DialectContract):
    dialect = "deep-image"
    cancelled_status = 500
    key_statuses = (403, 404, 403)
    below_the_prefix = "/rest_api/nowhere"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        image, white = (f"base64,{base64.b64encode(data).decode()}" for data in (photo, mask))
        body = {**inpainting(ip_image2=white, seed=seed), "url": image}
        return client.post(PROCESS, body, content_type="application/json", headers=headers)

    def result(self, response: Any) -> object:
        assert (response.status_code, response.json()["status"]) == (200, "complete"), response.content
        return response.json()["job"]

    def check_error(self, response: Any, status: int) -> None:
        assert set(refused(response, status)) - {"code", "detail"} == {"message"}


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
    painted = decode_image(download(completed["result_url"])).image.pixels
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
    result = decode_image(download(completed["result_url"])).image.pixels
    assert result.shape == (height, width, 3)
    left, top, right, bottom = box
    expected = photo
    if right - left < 96:
        expected = cv2.resize(photo, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    assert np.array_equal(result[top:bottom, left:right], expected)


def test_a_size_alone_enlarges_the_source(program: Client, photo: NDArray[np.uint8], settings: Settings) -> None:
    settings.COMPAT_REQUIRE_DIFFUSION = True
    completed = post(program, {"url": PHOTO_URL, "width": "200%", "output_format": "webp"}).json()
    assert completed["result_url"].endswith(".webp")
    result = decode_image(download(completed["result_url"])).image.pixels
    assert result.shape == (128, 192, 3)
    reduced = cv2.resize(result, (96, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - photo).mean() < 8


@pytest.mark.parametrize(("width", "note"), [(96, "the image covers"), (48, "scaled from 96x64 to 48x32, covers")])
def test_a_source_that_covers_the_size_is_completed_without_painting(
    program: Client, photo: NDArray[np.uint8], settings: Settings, width: int, note: str
) -> None:
    settings.COMPAT_REQUIRE_DIFFUSION = True
    body = outpainting(width=width, height=width * 2 // 3, **generating(description="a lawn"))
    completed = post(program, body).json()
    result = decode_image(download(completed["result_url"])).image.pixels
    expected = photo if width == 96 else cv2.resize(photo, (48, 32), interpolation=cv2.INTER_AREA)
    assert np.array_equal(result, expected)
    (warning,) = completed["meta"]["warnings"]
    assert warning.startswith("Nothing is painted")
    assert note in warning
    assert (completed["meta"]["engine"], Generation.objects.get().painted_pixels) == ("quick-fill", 0)


def test_an_empty_mask_is_refused_also_where_the_source_covers_the_size(
    program: Client, photo: NDArray[np.uint8]
) -> None:
    mask = base64.b64encode(png(np.zeros_like(photo))).decode()
    body = {**inpainting(ip_image2=f"base64,{mask}"), "width": 96, "height": 64, "fit": {"canvas": "outpainting"}}
    assert refused(post(program, body), 400)["code"] == "BAD_REQUEST"


def test_a_response_lists_what_was_ignored(program: Client) -> None:
    got = post(program, {**inpainting(description="a lawn"), "dpi": 300})
    assert got.json()["meta"] == {
        "engine": "quick-fill",
        "model": None,
        "ignored": [GENERATE + "description", "dpi"],
        "warnings": [],
    }
    assert (got["X-DreamLayer-Engine"], got["X-DreamLayer-Ignored"]) == ("quick-fill", GENERATE + "description, dpi")


def test_of_several_sources_those_that_were_not_read_are_listed(program: Client, photo_png: bytes) -> None:
    files = {name: SimpleUploadedFile("a.png", photo_png, "image/png") for name in ("image", "fileName", "more")}
    got = program.post(PROCESS, {**files, "parameters": json.dumps(inpainting())})
    assert got.json()["meta"]["ignored"] == ["fileName", "more", "url"]


def test_an_inpainting_controlnet_has_the_conditioning_scale(
    program: Client, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models()
    requests = fake_diffusion.record_requests(monkeypatch)
    got = post(program, inpainting(description="a lawn", controlnet_conditioning_scale=0.3, negative_prompt="people"))
    assert got.json()["meta"] == {"engine": "diffusion", "model": "tiny", "ignored": [], "warnings": []}
    (request,) = requests
    assert (request.settings.control, request.settings.control_strength) == ("inpaint", 0.3)
    assert (request.settings.prompt, request.settings.strength) == ("a lawn", 1.0)


@pytest.mark.usefixtures("_nothing_runs")
def test_a_controlnet_for_another_input_is_not_used(program: Client, settings: Settings, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    fake_diffusion.install_models()
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


def test_a_site_may_require_a_diffusion_model_for_outpainting(program: Client, settings: Settings) -> None:
    settings.COMPAT_REQUIRE_DIFFUSION = True
    assert refused(post(program, outpainting()), 503)["code"] == "MODEL_UNAVAILABLE"
    assert not Generation.objects.exists()


def test_the_result_has_the_source_format_and_its_link_that_of_the_result(
    program: Client, photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    done, jpeg = cv2.imencode(".jpg", photo)
    assert done
    body = {**inpainting(), "url": "base64," + base64.b64encode(jpeg.tobytes()).decode()}
    completed = post(program, body).json()
    assert completed["result_url"].endswith(f"/{completed['job']}.jpg")
    assert decode_image(download(completed["result_url"])).format == "JPEG"


def test_without_a_quality_the_result_of_a_jpeg_has_85(program: Client, photo: NDArray[np.uint8]) -> None:
    jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    post(program, {**inpainting(), "url": "base64," + base64.b64encode(jpeg).decode()})
    generation = Generation.objects.get()
    copy = generation.images.get().report["copy"]
    assert (copy["format"], copy["quality"], generation.settings["quality"]) == ("jpeg", 85, 85)


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
def test_process_result_responds_in_time_however_long_its_images_take(
    program: Client, monkeypatch: pytest.MonkeyPatch, white_mask: bytes
) -> None:
    clock = Clock(monkeypatch)
    limits = clock.let_fetching_take(monkeypatch, 10.0, white_mask)
    assert post(program, inpainting()).json()["status"] == "in_progress"
    assert (limits, clock.waited) == ([15, 10], [4.0]), "24 seconds together"
    assert post(program, inpainting(), PROCESS_LATER).json()["status"] == "in_progress"
    assert limits[2:] == [15, 15], "`process` responds once the images are there"


@pytest.mark.usefixtures("_nothing_runs")
def test_process_result_is_refused_where_no_time_is_left_for_its_images(
    program: Client, monkeypatch: pytest.MonkeyPatch, white_mask: bytes
) -> None:
    Clock(monkeypatch).let_fetching_take(monkeypatch, 19.5, white_mask)
    got = post(program, inpainting())
    assert refused(got, 503)["code"] == "TRY_AGAIN"
    assert got["Retry-After"] == "5"
    assert not Generation.objects.exists()


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


@pytest.mark.parametrize("service", ["modelslab", "fooocus", "sd-inpaint", "native"])
def test_a_generation_of_another_service_is_no_job(program: Client, alice: User, generate: Any, service: str) -> None:
    generation = generate(alice)
    Generation.objects.update(service=service)
    for method in (program.get, program.delete):
        assert refused(method(f"/rest_api/result/{generation.pk}"), 404) == {"message": "Job not found"}
    assert Generation.objects.filter(pk=generation.pk).exists()


def test_the_mask_of_a_scaled_source_is_no_surprise(program: Client) -> None:
    assert post(program, {**inpainting(), "width": 192}).json()["meta"]["warnings"] == []
    half = base64.b64encode(png(np.eye(32, 48, dtype=np.uint8) * 255)).decode()
    (warning,) = post(program, {**inpainting(ip_image2=half), "width": 192}).json()["meta"]["warnings"][:1]
    assert "48x32" in warning
    assert "96x64" in warning, "the sizes as they were sent"


def test_base64_is_not_examined_character_by_character() -> None:
    assert DeepImageForm.model_fields["url"].annotation == ImageText | None
    assert GenerateForm.model_fields["ip_image2"].annotation == ImageText | None


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


def test_the_webhook_has_only_the_fields_that_have_an_effect(
    program: Client, settings: Settings, alices_key: str
) -> None:
    settings.ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    nested: dict[str, Any] = {}
    for _ in range(800):
        nested = {"deeper": nested}
    many = {f"name-{index}": "a" * 3000 for index in range(3000)}
    known = {**outpainting(**generating(description="a" * 3000)), "webhooks": {"complete": "http://127.0.0.1/"}}
    others = {"made_up": nested, "lists": ["a"], "key": alices_key, "api_key": [alices_key], **many}
    post(program, {**known, **others, "webhooks": {**known["webhooks"], "key": alices_key}}, PROCESS_LATER)
    known["background"] = generating(description=f"{'a' * 40}…")["background"]
    assert Generation.objects.get().service_data["request"] == known
    assert alices_key not in str(list(Generation.objects.values()))


def test_no_webhook_is_sent_for_a_failure(program: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *args: 1 / 0)
    with Listener(answer("200 OK")) as receiver:
        open_to(settings, receiver)
        post(program, {**inpainting(), "webhooks": {"complete": url_of(receiver)}})
        deliver_due()
        assert receiver.requests == []
    assert not WebhookDelivery.objects.exists()
