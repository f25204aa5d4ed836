"""The ModelsLab API without a diffusion model: answers, errors, keys, fetching, links, uploads and webhooks."""

from __future__ import annotations

import base64
import json
import logging
import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting.core.codecs import decode_image
from inpainting.core.geometry import Size
from inpainting.core.resizing import resize
from inpainting.generations.retention import sweep
from inpainting.models import Generation, UploadedImage, UserLimits
from inpainting.webhooks import deliver_due
from inpainting.worker import watchdog
from inpainting.worker.run import run_waiting
from tests.compat.arrival import Clock
from tests.compat.modelslab import (
    FETCH,
    INPAINT,
    encoded,
    error,
    keep_waiting,
    pixels,
    post,
    success,
    white_repaints,
)
from tests.conftest import png
from tests.contracts.dialect import DialectContract
from tests.net.fake_network import Listener
from tests.net.fake_network import answer as http_answer
from tests.webhooks.receiving import messages, open_to, url_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.
UPLOADS = ("/api/v6/base64_to_url", "/api/v6/image_editing/base64_to_url")


@pytest.fixture
def body(alices_key: str, photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "key": alices_key,
        "model_id": "lazymixv4-inpaint",
        "init_image": encoded(photo_png),
        "mask_image": encoded(white_repaints(hole)),
        "width": "256",
        "height": 256,
        "seed": 7,
    }


class TestModelsLab(DialectContract):
    dialect = "modelslab"
    below_the_prefix = "/api/v6/nothing"

    def program(self, key: str) -> Client:
        return Client(headers={"key": key} if key else {})

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        images = {"init_image": encoded(photo), "mask_image": encoded(mask)}
        body = {"model_id": "lazymixv4-inpaint", **images, "width": 256, "height": 256, "seed": seed}
        return client.post(INPAINT, body, content_type="application/json", headers=headers)

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        body = {"model_id": name, "init_image": encoded(photo), "mask_image": encoded(mask)}
        return client.post(INPAINT, body, content_type="application/json")

    def result(self, response: Any) -> object:
        assert (response.status_code, response.json()["status"]) == (200, "success"), response.content
        return response.json()["id"]

    def check_error(self, response: Any, status: int) -> None:
        assert error(response, status)
        if status == 503:
            assert response.json()["code"] == "model_unavailable"


def test_the_result_has_the_requested_size_and_is_the_scaled_source_outside_the_mask(
    body: dict[str, Any], photo_png: bytes, hole: NDArray[np.uint8]
) -> None:
    content = success({**body, "width": 320, "prompt": "a cat"})
    (link,) = content["output"]
    assert re.fullmatch(r"http://testserver/generations/\S+\.png", link)
    answer = Client().get(link.removeprefix("http://testserver"))
    assert answer["Content-Type"] == "image/png"
    painted = pixels(answer.getvalue())
    scaled = np.asarray(resize(decode_image(photo_png).image, Size(320, 256)).pixels)
    generation = Generation.objects.get()
    kept = generation.mask.read_pixels() == 0
    assert painted.shape == (256, 320, 3)
    assert kept.mean() > 0.5
    assert kept[0, 0], "black is kept"
    assert np.array_equal(painted[kept], scaled[kept])
    assert not np.array_equal(painted, scaled)


def test_the_answer_has_the_published_fields(body: dict[str, Any]) -> None:
    content = success({**body, "prompt": "a cat", "samples": 2, "tomesd": "yes"})
    assert list(content) == [
        *("status", "generationTime", "id", "output", "proxy_links", "nsfw_content_detected", "webhook_status"),
        *("meta", "tip"),
    ]
    generation = Generation.objects.get()
    assert content["id"] == generation.number
    assert content["generationTime"] >= 0
    assert content["proxy_links"] == content["output"]
    assert (len(content["output"]), content["nsfw_content_detected"], content["tip"]) == (2, False, "")
    meta = content["meta"]
    assert meta["prompt"] == "a cat, highly detailed, sharp focus, natural lighting, high quality"
    assert (meta["W"], meta["H"], meta["n_samples"], meta["steps"], meta["seed"]) == (256, 256, 2, 20, 7)
    assert (meta["model_id"], meta["guidance_scale"], meta["safety_checker"]) == ("lazymixv4-inpaint", 7.5, "no")
    assert (meta["engine"], meta["model"], meta["ignored"]) == ("quick-fill", None, ["model_id", "prompt", "tomesd"])
    assert (generation.service, generation.owner.email) == ("modelslab", "alice@example.com")


def test_the_default_size_is_512(body: dict[str, Any]) -> None:
    meta = success({name: value for name, value in body.items() if name not in ("width", "height")})["meta"]
    assert (meta["W"], meta["H"]) == (512, 512)


def test_null_and_empty_texts_are_absent(body: dict[str, Any]) -> None:
    empty = dict.fromkeys(("prompt", "seed", "scheduler", "lora_model", "vae", "webhook", "track_id"), None)
    content = success({**body, **empty, "negative_prompt": "", "strength": "", "use_karras_sigmas": None})
    assert content["meta"]["strength"] == 0.75
    assert content["meta"]["prompt"] == ""


def test_the_engine_and_the_ignored_fields_are_headers_too(body: dict[str, Any]) -> None:
    answer = post(INPAINT, {**body, "upscale": "no", "ä\r\nInjected: yes": 1})
    assert answer["X-DreamLayer-Engine"] == "quick-fill"
    assert answer["X-DreamLayer-Ignored"] == "model_id, upscale"


@pytest.mark.parametrize("place", ["body", "Authorization", "key", "X-API-Key"])
def test_the_key_may_be_in_the_body_or_in_a_header(body: dict[str, Any], place: str) -> None:
    key = body.pop("key")
    if place == "body":
        success({**body, "key": key}, key="another")
    else:
        success(body, **{place: f"Bearer {key}" if place == "Authorization" else key})


@pytest.mark.parametrize("path", [INPAINT, f"{FETCH}/1", FETCH, *UPLOADS])
def test_a_missing_or_wrong_key_is_a_401(path: str, settings: Settings, db: None) -> None:
    settings.ANONYMOUS_API = "force"
    assert error(post(path, {}), 401) == "API key required"
    assert error(post(path, {"key": "your_api_key"}), 401) == "Invalid API key"
    assert error(post(path, {"key": 5}), 401) == "Invalid API key"


def test_a_key_needs_the_scope(body: dict[str, Any], alice: User) -> None:
    _, reads = ApiKey.issue(alice, name="reads", scopes=[Scope.READ])
    _, paints = ApiKey.issue(alice, name="paints", scopes=[Scope.GENERATE])
    error(post(INPAINT, {**body, "key": reads}), 403)
    error(post(UPLOADS[0], {"key": reads, "init_image": body["init_image"]}), 403)
    number = success({**body, "key": paints})["id"]
    error(post(f"{FETCH}/{number}", {"key": paints}), 403)
    assert post(f"{FETCH}/{number}", {"key": reads}).status_code == 200


def test_the_key_is_neither_stored_nor_logged_nor_returned(
    body: dict[str, Any], alices_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = [post(INPAINT, body), post(INPAINT, {**body, "width": "x"}), post(INPAINT, body, key="x")]
    rows = list(Generation.objects.values())
    assert [answer.status_code for answer in answers] == [200, 400, 200]
    for text in (str(rows), caplog.text, *(answer.content.decode() for answer in answers)):
        assert alices_key not in text


@pytest.mark.parametrize("content", [b"{", b"[1]", b'"text"', b"\xff", b'{"seed": 1e999}', b'{"x": "\\u0000"}'])
def test_a_malformed_body_is_a_400(content: bytes) -> None:
    answer = Client().post(INPAINT, content, content_type="application/json")
    assert error(answer, 400) == "Invalid API Request"


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_the_body_is_json_under_every_media_type(body: dict[str, Any], media_type: str) -> None:
    answer = Client().post(INPAINT, json.dumps(body).encode(), content_type=media_type)
    assert answer.json()["status"] == "success"


@pytest.mark.parametrize("name", ["model_id", "init_image", "mask_image"])
def test_a_missing_field_is_a_400(body: dict[str, Any], name: str) -> None:
    for value in (None, ""):
        assert error(post(INPAINT, {**body, name: value}), 400) == f"{name} is required"


def test_an_unknown_model_is_a_400(body: dict[str, Any]) -> None:
    assert error(post(INPAINT, {**body, "model_id": "midjourney"}), 400) == "Model not found: midjourney"


def test_the_server_chooses_for_an_unknown_model_where_the_site_lets_it(
    body: dict[str, Any], settings: Settings
) -> None:
    settings.COMPAT_ANY_MODEL = ["modelslab"]
    assert "model_id" in success({**body, "model_id": "midjourney"})["meta"]["ignored"]


@pytest.mark.parametrize(
    "name", ["lazymixv4-inpaint", "v51_inpainting", "fluxdev", "flux", "stable-diffusion-v1-5", "sdxl"]
)
def test_the_published_models_are_known(body: dict[str, Any], name: str) -> None:
    assert success({**body, "model_id": name})["meta"]["model_id"] == name


def test_a_image_behind_a_url_that_cannot_be_fetched_is_a_400(body: dict[str, Any]) -> None:
    for url in ("http://127.0.0.1/photo.png", "http://testserver/generations/none/0-1.png"):
        answer = post(INPAINT, {**body, "init_image": url})
        assert error(answer, 400) == "Unable to fetch image from provided URL"
        assert answer.json()["code"] == "url_not_allowed"


def test_images_are_fetched_from_urls(body: dict[str, Any], photo_png: bytes, settings: Settings) -> None:
    with Listener(http_answer("200 OK", photo_png, content_type="image/png")) as server:
        open_to(settings, server)
        success({**body, "init_image": f"http://127.0.0.1:{server.port}/photo.png"})


def test_a_data_url_is_a_image(body: dict[str, Any]) -> None:
    success({**body, "init_image": f"data:image/png;base64,{body['init_image']}"})


def test_a_image_that_cannot_be_decoded_is_a_400(body: dict[str, Any]) -> None:
    assert error(post(INPAINT, {**body, "init_image": "!"}), 400).startswith("Invalid init_image: ")
    assert error(post(INPAINT, {**body, "mask_image": "bm8="}), 400).startswith("Invalid mask_image: ")
    assert error(post(INPAINT, {**body, "mask_image": ["a"]}), 400) == "mask_image: It must be a URL or base64."


def test_base64_images_are_in_the_answer(body: dict[str, Any]) -> None:
    content = success({**body, "base64": "yes", "samples": "2"})
    links = [link.removeprefix("http://testserver") for link in content["proxy_links"]]
    assert [base64.b64decode(text) for text in content["output"]] == [Client().get(link).getvalue() for link in links]


def test_a_request_in_progress_is_followed_by_its_number(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    keep_waiting(monkeypatch, settings)
    answer = post(INPAINT, body)
    content = answer.json()
    assert (answer.status_code, list(content)) == (
        200,
        [
            *("status", "tip", "tip_1", "eta", "message", "messege", "webhook_status", "fetch_result", "id", "output"),
            *("meta", "future_links"),
        ],
    )
    assert (content["status"], content["output"], content["eta"] >= 1) == ("processing", [], True)
    assert content["fetch_result"] == f"http://testserver{FETCH}/{content['id']}"
    (future,) = [link.removeprefix("http://testserver") for link in content["future_links"]]
    assert Client().get(future).status_code == 404
    key, number = {"key": body["key"]}, content["id"]
    forms = [
        (f"{FETCH}/{number}", key),
        (FETCH, {**key, "request_id": number}),
        (FETCH, {**key, "request_id": str(number)}),
    ]
    for path, sent in forms:
        for slash in ("", "/"):
            assert post(path + slash, sent).json()["status"] == "processing"
    run_waiting()
    for path, sent in forms:
        fetched = post(path, sent).json()
        assert (fetched["status"], fetched["id"], len(fetched["output"])) == ("success", number, 1)
    assert pixels(Client().get(future).getvalue()).shape == (256, 256, 3)


def test_only_the_owner_fetches_a_result(body: dict[str, Any], bobs_key: str) -> None:
    number = success(body)["id"]
    for path, sent in ((f"{FETCH}/{number}", {}), (f"{FETCH}/x", {}), (FETCH, {}), (FETCH, {"request_id": [1]})):
        assert error(post(path, {"key": bobs_key, **sent}), 404) == "Request not found"


def test_a_generation_of_the_native_api_is_not_fetched(alices_key: str, generate: Any, alice: User) -> None:
    assert error(post(f"{FETCH}/{generate(alice).number}", {"key": alices_key}), 404) == "Request not found"


def test_a_failure_is_a_500_and_its_fetch_a_200(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *args: 1 / 0)
    message = error(post(INPAINT, body), 500)
    fetched = post(f"{FETCH}/{Generation.objects.get().number}", {"key": body["key"]})
    assert error(fetched, 200) == message
    assert fetched.json()["output"] == []


def test_a_cancelled_generation_is_an_error(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    keep_waiting(monkeypatch, settings)
    number = post(INPAINT, body).json()["id"]
    Generation.objects.get().cancel()
    assert error(post(f"{FETCH}/{number}", {"key": body["key"]}), 200) == "The generation was cancelled."


def test_a_stopping_server_answers_processing(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    keep_waiting(monkeypatch, settings)
    settings.MODELSLAB_WAIT_SECONDS = 55.0
    watchdog.stopping.set()
    assert post(INPAINT, body).json()["status"] == "processing"


def test_the_wait_includes_the_time_for_reading(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settings: Settings, photo_png: bytes
) -> None:
    keep_waiting(monkeypatch, settings)
    clock = Clock(monkeypatch)
    limits = clock.let_fetching_take(monkeypatch, 18.0, photo_png)
    settings.MODELSLAB_WAIT_SECONDS = 25.0
    assert post(INPAINT, {**body, "init_image": "https://photos.example/a.png"}).json()["status"] == "processing"
    assert (limits, clock.waited) == ([15], [7.0])
    settings.MODELSLAB_WAIT_SECONDS = 3.0
    post(INPAINT, {**body, "init_image": "https://photos.example/a.png"})
    assert limits[1:] == [5], "a short wait leaves time for fetching"


def test_a_repeated_idempotency_key_returns_the_same_generation(body: dict[str, Any], alice: User) -> None:
    _, other_key = ApiKey.issue(alice, name="another")
    first = success(body, **{"Idempotency-Key": "one"})
    again = success({**body, "key": other_key}, **{"Idempotency-Key": "one"})
    assert (first["id"], Generation.objects.count()) == (again["id"], 1)
    error(post(INPAINT, {**body, "seed": 8}, **{"Idempotency-Key": "one"}), 422)


def test_a_limit_that_is_reached_is_a_429(body: dict[str, Any], alice: User) -> None:
    UserLimits.objects.create(user=alice, per_day=1)
    success(body)
    answer = post(INPAINT, body)
    error(answer, 429)
    assert answer.json()["retry_after"] == int(answer["Retry-After"]) > 0


def test_temporary_results_are_gone_after_a_day(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    kept, temporary = success(body), success({**body, "temp": "yes"})
    (link,) = [link.removeprefix("http://testserver") for link in temporary["output"]]
    now = timezone.now()
    assert Client().get(link).status_code == 200
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(hours=25))
    assert Client().get(link).status_code == 404
    assert error(post(f"{FETCH}/{temporary['id']}", {"key": body["key"]}), 404) == "Request not found"
    sweep(timezone.now())
    assert Generation.objects.get().number == kept["id"]


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("name", ["base64_string", "init_image"])
def test_an_uploaded_image_has_a_link_that_can_be_sent_back(
    body: dict[str, Any], path: str, name: str, photo_png: bytes, photo: NDArray[np.uint8], bobs_key: str
) -> None:
    answer = post(path, {"key": body["key"], name: f"data:image/png;base64,{encoded(photo_png)}"}).json()
    assert (answer["status"], type(answer["id"])) == ("success", int)
    (link,) = answer["output"]
    assert np.array_equal(pixels(Client().get(link.removeprefix("http://testserver")).getvalue()), photo)
    success({**body, "init_image": link})
    assert error(post(INPAINT, {**body, "key": bobs_key, "init_image": link}), 400), "another user's"


def test_an_uploaded_image_is_gone_after_a_day(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = post(UPLOADS[0], {"key": body["key"], "base64_string": body["init_image"]}).json()
    link = answer["output"][0].removeprefix("http://testserver")
    now = timezone.now()
    sweep(now + timedelta(hours=23))
    assert Client().get(link).status_code == 200
    sweep(now + timedelta(hours=25))
    assert Client().get(link).status_code == 404
    assert not UploadedImage.objects.exists()


def test_an_upload_is_base64_of_a_image_of_at_most_5_mb(body: dict[str, Any]) -> None:
    def refused(value: Any, status: int = 400) -> str:
        return error(post(UPLOADS[0], {"key": body["key"], "base64_string": value}), status)

    assert refused(None) == "base64_string is required"
    assert refused("http://testserver/photo.png") == "base64_string must be base64"
    assert refused(5) == "base64_string must be base64"
    assert "is not" in refused("!")
    assert "5242880" in refused(encoded(bytes(5 * 2**20 + 1)), 413)
    assert not UploadedImage.objects.exists()


@pytest.mark.parametrize("track_id", ["mine", 0, 17, None])
def test_the_webhook_gets_the_result(body: dict[str, Any], settings: Settings, track_id: Any) -> None:
    with Listener(http_answer("204 No Content")) as receiver:
        open_to(settings, receiver)
        answered = success({**body, "webhook": url_of(receiver), "track_id": track_id, "base64": True})
        deliver_due()
        (message,) = messages(receiver)
    content = message.content
    assert (content["status"], content["id"], content["track_id"]) == ("success", answered["id"], track_id)
    assert type(content["track_id"]) is type(track_id)
    assert content["meta"] == answered["meta"]
    assert content["generationTime"] == answered["generationTime"]
    (link,) = content["output"]
    assert pixels(Client().get(link.removeprefix("http://testserver")).getvalue()).shape == (256, 256, 3)


def test_the_webhook_gets_a_failure(body: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *args: 1 / 0)
    with Listener(http_answer("204 No Content")) as receiver:
        open_to(settings, receiver)
        message = error(post(INPAINT, {**body, "webhook": url_of(receiver), "track_id": "mine"}), 500)
        deliver_due()
        (sent,) = messages(receiver)
    number = Generation.objects.get().number
    assert sent.content == {"status": "failed", "id": number, "message": message, "track_id": "mine"}


def test_a_webhook_that_is_not_allowed_is_a_400(body: dict[str, Any]) -> None:
    assert error(post(INPAINT, {**body, "webhook": "http://127.0.0.1/"}), 400).startswith("webhook must be")
    assert not Generation.objects.exists()


def test_the_mask_is_scaled_from_its_own_size(body: dict[str, Any]) -> None:
    half = np.zeros((20, 20), np.uint8)
    half[:, 10:] = 255
    success({**body, "mask_image": encoded(png(half))})
    assert np.array_equal(Generation.objects.get().mask.read_pixels()[0] > 127, np.arange(256) >= 128)


def test_routes_below_its_prefix_answer_errors_in_its_shape(alices_key: str) -> None:
    assert error(Client().get("/api/v6/nothing"), 404)
    assert error(Client(headers={"key": alices_key}).get(INPAINT), 405)


def test_a_deleted_generation_is_not_found(body: dict[str, Any]) -> None:
    number = success(body)["id"]
    Generation.objects.all().delete()
    assert error(post(f"{FETCH}/{number}", {"key": body["key"]}), 404) == "Request not found"
