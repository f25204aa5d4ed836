"""One file adds a dialect: its own paths, key, images, results and errors, without any change to the product.

The toy service takes JSON with the key in it and answers every error as `{"ok": false, "error": {"kind", "text"}}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import cv2
import numpy as np
import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import URLPattern, path
from numpy.typing import NDArray
from pytest_django import Settings
from rest_framework.request import Request

from accounts.models import ApiKey, Scope, User
from dreamlayer_site.server.body_limit import BodyLimitMiddleware
from dreamlayer_site.server.refusals import refusal
from inpainting.api import dialects, error_handlers
from inpainting.api.dialect import Dialect, blank_request, json_response
from inpainting.api.errors import ApiError, body_too_large
from inpainting.api.images import ImageRole, SentImage, read_image
from inpainting.api.parsers import JsonObjectParser
from inpainting.api.views import DialectView, InpaintView
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import decode_image
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.generations.submit import Submission
from inpainting.models import GeneratedImage, Generation, Status, UserLimits, WebhookDelivery
from inpainting.realtime.following import follow
from inpainting.webhooks import deliver_due
from tests.net.fake_network import Listener
from tests.net.fake_network import answer as http_answer
from tests.support import fake_diffusion
from tests.webhooks.receiving import messages, open_to, url_of

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

KINDS = {"key_missing": "no-token", "key_invalid": "bad-token", "internal_error": "crash"}
PHOTO = ImageRole(code_prefix="image", error_prefix="Bad photo")
HOLE = ImageRole(code_prefix="mask", error_prefix="Bad hole")


def body_of(request: Request) -> dict[str, Any]:
    return cast("dict[str, Any]", request.data)


class ToyStatus(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponse:
        return json_response({"ok": True, "user": str(request.user.pk)})


class Toy(Dialect):
    name: ClassVar[str] = "toy"
    settings_by_field: ClassVar[Mapping[str, str]] = {"words": "prompt"}
    prefixes: ClassVar[tuple[str, ...]] = ("/toy/",)

    @property
    def urls(self) -> Sequence[URLPattern]:
        return [
            path("toy/paint", InpaintView.as_view(parser_classes=(JsonObjectParser,))),
            path("toy/status", ToyStatus.as_view()),
        ]

    def read_api_key(self, request: Request) -> str | None:
        return body_of(request).get("token") or request.headers.get("X-Toy-Token")

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        body = body_of(request)
        for name in ("photo", "hole"):
            if not isinstance(body.get(name), str):
                raise InvalidRequest(f"{name} is missing", code="field_missing", field=name)
        photo = read_image(SentImage("photo", body["photo"]), PHOTO, request)
        hole = read_image(SentImage("hole", body["hole"]), HOLE, request)
        model = Catalog().closest_installed(body["model"]) if "model" in body else None
        settings = PaintSettings(prompt=str(body.get("words", "")), seed=7, model=model)
        inpaint_request, warnings = build_request(photo, hole, settings, MaskPolarity.WHITE_REPAINTS)
        if "text_to_image" in body:
            inpaint_request, warnings = blank_request(Size(24, 16), settings)
        return inpaint_request, Submission(
            engine=body.get("engine", "auto"),
            sent_fields=tuple(body),
            warnings=warnings,
            webhook_url=str(body.get("hook", "")),
            ignored_fields=("colour",) if "colour" in body else (),
            service_data={"tag": body.get("tag")},
        )

    def max_wait_seconds(self, request: Request) -> float | None:
        return 0 if body_of(request).get("later") else None

    def events(self, generation: Generation, request: Request) -> AsyncIterator[bytes] | None:
        return toy_events(generation) if body_of(request).get("stream") else None

    def webhook_body(self, generation: Generation) -> dict[str, Any] | None:
        ticket = {"ticket": generation.pk.hex, "tag": generation.service_data["tag"]}
        return ticket if generation.status == Status.SUCCEEDED else None

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.has_ended:
            return json_response({"ok": True, "ticket": generation.pk.hex}, status=202)
        images = [base64_of(image) for image in generation.images.all()]
        body = {"ok": True, "pictures": images, "meta": self.meta(generation)}
        return json_response(body, headers=self.meta_headers(generation))

    def render_error(self, error: ApiError) -> HttpResponse:
        details = {"kind": KINDS.get(error.code, error.code), "text": error.message}
        return json_response({"ok": False, "error": details}, status=error.status, headers=error.headers)


async def toy_events(generation: Generation) -> AsyncIterator[bytes]:
    async for event in follow(generation.pk):
        yield f"data: {'ping' if event is None else event['type']}\n\n".encode()
    yield b"data: done\n\n"


def base64_of(image: GeneratedImage) -> str:
    with image.file.open("rb") as file:
        return base64.b64encode(file.read()).decode()


@pytest.fixture(autouse=True)
def _toy() -> Iterator[None]:
    toy = Toy()
    dialects.register(toy)
    yield
    dialects.unregister(toy)


@pytest.fixture
def body(alices_key: str, photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    done, mask = cv2.imencode(".png", hole)
    assert done
    return {
        "token": alices_key,
        "photo": base64.b64encode(photo_png).decode(),
        "hole": base64.b64encode(mask.tobytes()).decode(),
    }


def paint(body: Any, **headers: str) -> Any:
    return Client(headers=headers).post("/toy/paint", body, content_type="application/json")


def kind(answer: Any, status: int) -> str:
    """Check that the answer has the shape of the toy service; return the kind of its error."""
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    answered = json.loads(answer.content)
    assert list(answered) == ["ok", "error"]
    assert answered["ok"] is False
    assert sorted(answered["error"]) == ["kind", "text"]
    return str(answered["error"]["kind"])


def test_the_dialect_returns_the_result(
    body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8], alice: User
) -> None:
    answer = paint(body)
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    (image,) = answer.json()["pictures"]
    painted = decode_image(base64.b64decode(image)).image.pixels
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])
    generation = Generation.objects.get()
    assert (generation.owner, generation.service) == (alice, "toy")


def test_the_history_records_the_service_and_what_it_ignored(
    body: dict[str, Any], alices_key: str, alice: User
) -> None:
    paint({**body, "colour": "red", "tag": "mine"})
    generation = Generation.objects.get()
    assert generation.service_data == {"tag": "mine"}
    page = Client()
    page.force_login(alice)
    shown = page.get(f"/generations/{generation.pk}/").content.decode()
    assert "ignored: colour" in shown
    metadata = page.get(f"/api/generations/{generation.pk}/").json()["metadata"]
    assert (metadata["service"], metadata["ignored_fields"]) == ("toy", ["colour"])


def test_the_answer_names_the_engine_and_the_ignored_fields(body: dict[str, Any]) -> None:
    answer = paint({**body, "words": "a lawn", "colour": "red"})
    assert answer.json()["meta"] == {
        **{"engine": "quick-fill", "model": None, "ignored": ["words", "colour"]},
        "warnings": [],
    }
    assert (answer["X-DreamLayer-Engine"], answer["X-DreamLayer-Ignored"]) == ("quick-fill", "words, colour")
    assert "X-DreamLayer-Model" not in answer
    assert paint(body).json()["meta"]["ignored"] == []


def test_what_only_diffusion_can_paint_is_a_503_without_a_model(body: dict[str, Any], settings: Settings) -> None:
    answer = paint({**body, "text_to_image": True})
    assert kind(answer, 503) == "model_unavailable"
    assert "pull_model" in answer.json()["error"]["text"]
    settings.COMPAT_REQUIRE_DIFFUSION = True
    assert kind(paint(body), 503) == "model_unavailable"
    assert not Generation.objects.exists()


def test_the_closest_installed_model_paints(
    body: dict[str, Any], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    assert paint({**body, "model": "sd15"}).json()["meta"]["engine"] == "quick-fill"
    fake_diffusion.install_models()
    requests = fake_diffusion.record_requests(monkeypatch)
    answer = paint({**body, "model": "runwayml/stable-diffusion-inpainting"})
    assert answer.json()["meta"] == {
        **{"engine": "diffusion", "model": "tiny", "ignored": []},
        "warnings": [],
    }
    assert (answer["X-DreamLayer-Engine"], answer["X-DreamLayer-Model"]) == ("diffusion", "tiny")
    assert paint({**body, "model": "sdxl"}).json()["meta"]["model"] is None, "a model of another family"
    assert kind(paint({**body, "model": "none"}), 400) == "model_not_found"
    assert [request.settings.model for request in requests] == ["tiny"]


def test_where_diffusion_is_required_it_paints_without_falling_back(
    body: dict[str, Any], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODELS_DIR, settings.COMPAT_REQUIRE_DIFFUSION = tmp_path / "models", True
    fake_diffusion.install_models()
    requests = fake_diffusion.record_requests(monkeypatch)
    assert paint(body).json()["meta"]["engine"] == "diffusion"
    assert [request.settings.step_down for request in requests] == [False]


def test_text_to_image_repaints_a_blank_image() -> None:
    request, _ = blank_request(Size(24, 16), PaintSettings(prompt="a lawn", strength=0.3))
    assert (request.image.size, request.mask.min(), request.settings.strength) == (Size(24, 16), 255, 1.0)


def test_the_dialect_sets_how_long_to_wait(body: dict[str, Any]) -> None:
    answer = paint({**body, "later": True})
    assert (answer.status_code, answer.json()["ticket"]) == (202, Generation.objects.get().pk.hex)


def test_the_dialect_streams_events(body: dict[str, Any]) -> None:
    answer = paint({**body, "stream": True})
    assert (answer.status_code, answer["Content-Type"], answer["Cache-Control"]) == (
        200,
        "text/event-stream",
        "no-store",
    )
    assert answer.content == b"data: done\n\n", "the worker of tests has painted within the request"
    assert Generation.objects.get().status == Status.SUCCEEDED


def test_the_dialect_posts_its_own_webhook_message(body: dict[str, Any], settings: Settings) -> None:
    with Listener(http_answer("204 No Content")) as receiver:
        open_to(settings, receiver)
        paint({**body, "hook": url_of(receiver), "tag": "mine"})
        deliver_due()
        (message,) = messages(receiver)
    assert message.content == {"ticket": Generation.objects.get().pk.hex, "tag": "mine"}
    assert message.headers["webhook-signature"].startswith("v1,")


def test_a_dialect_may_post_nothing(body: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *args: 1 / 0)
    with Listener(http_answer("204 No Content")) as receiver:
        open_to(settings, receiver)
        assert paint({**body, "hook": url_of(receiver)}).status_code == 500
        assert WebhookDelivery.objects.count() == 1
        deliver_due()
        assert receiver.requests == []
    assert not WebhookDelivery.objects.exists()


def test_the_dialect_reads_its_own_key(body: dict[str, Any], alices_key: str) -> None:
    token = body.pop("token")
    assert kind(paint(body), 401) == "no-token"
    assert kind(paint({**body, "token": f"{token}x"}), 401) == "bad-token"
    assert kind(paint(body, **{"X-API-Key": token}), 401) == "no-token", "a header of the native API"
    assert paint(body, **{"X-Toy-Token": token}).status_code == 200
    assert Client().get("/toy/status", headers={"X-Toy-Token": token}).json()["ok"] is True


def test_the_native_api_takes_no_key_from_the_body(body: dict[str, Any]) -> None:
    answer = Client().post("/api/img2img", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_missing")


def test_a_session_does_not_authenticate(body: dict[str, Any], alice: User) -> None:
    del body["token"]
    page = Client()
    page.force_login(alice)
    assert kind(page.post("/toy/paint", body, content_type="application/json"), 401) == "no-token"


def test_a_key_without_the_scope_is_a_403(body: dict[str, Any], alice: User) -> None:
    _, key = ApiKey.issue(alice, name="reads", scopes=[Scope.READ])
    assert kind(paint({**body, "token": key}), 403) == "scope_missing"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"photo": None}, "field_missing"),
        ({"photo": "!"}, "image_base64_invalid"),
        ({"hole": base64.b64encode(b"no image").decode()}, "image_type_unsupported"),
        ({"engine": "none"}, "engine_not_found"),
    ],
)
def test_an_invalid_request_is_a_400(body: dict[str, Any], changes: dict[str, Any], expected: str) -> None:
    assert kind(paint({**body, **changes}), 400) == expected


def test_malformed_json_is_a_400() -> None:
    assert kind(paint(b"{"), 400) == "body_invalid"


def test_unknown_paths_methods_and_media_types_are_refused_in_its_shape(body: dict[str, Any], alices_key: str) -> None:
    token = {"X-Toy-Token": alices_key}
    assert kind(Client().get("/toy/nowhere"), 404) == "not_found"
    assert kind(Client(headers=token).get("/toy/paint"), 405) == "method_not_allowed"
    assert kind(Client(headers=token).post("/toy/paint", body), 415) == "body_type_unsupported"
    assert Client().get("/toys/nowhere")["Content-Type"].startswith("text/html"), "beside its prefix"
    assert Client().get("/api/nowhere").json()["code"] == "not_found"


def test_the_accept_header_does_not_matter(body: dict[str, Any]) -> None:
    assert paint(body, Accept="image/webp").status_code == 200


async def test_a_body_over_the_limit_is_a_413() -> None:
    sent: list[Any] = []

    async def fail(*arguments: object) -> None:
        raise AssertionError("the application was called")

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/toy/paint", "headers": [(b"content-length", b"67108865")]}
    await BodyLimitMiddleware(fail)(scope, fail, send)  # type: ignore[arg-type]  # receive is never called
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert kind(HttpResponse(sent[1]["body"], status=413, content_type="application/json"), 413) == "body_too_large"


def test_a_limit_that_is_reached_is_a_429(body: dict[str, Any], alice: User) -> None:
    UserLimits.objects.create(user=alice, per_day=1)
    assert paint(body).status_code == 200
    answer = paint(body)
    assert kind(answer, 429) == "quota_exceeded"
    assert int(answer["Retry-After"]) > 0


def test_a_failed_generation_is_a_500(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret path /here")

    monkeypatch.setattr("inpainting.worker.run.paint_each", broken)
    answer = paint(body)
    assert kind(answer, 500) == "crash"
    assert "secret" not in answer.content.decode()
    assert Generation.objects.get().status == Status.FAILED


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (RuntimeError("secret"), 500, "crash"),
        (OperationalError("database is locked"), 503, "try_again"),
        (OSError(28, "No space left on device"), 507, "storage_full"),
        (OSError(30, "Read-only file system"), 503, "storage_read_only"),
    ],
)
def test_an_exception_in_a_view_is_answered_in_its_shape(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, expected: str
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("inpainting.api.views.submit", broken)
    answer = paint(body)
    assert kind(answer, status) == expected
    assert "secret" not in answer.content.decode()
    assert answer.has_header("Retry-After") == (status == 503)


def test_an_exception_outside_of_views_is_answered_in_its_shape(rf: RequestFactory) -> None:
    def answered(url_path: str) -> HttpResponse:
        request: HttpRequest = rf.get(url_path)
        return error_handlers.server_error(request)

    assert answered("/toy/paint").content.startswith(b'{"ok":false,"error":{"kind":"crash"')
    assert b'"code":"internal_error"' in answered("/api/img2img").content
    assert answered("/history/")["Content-Type"].startswith("text/html")


def test_two_dialects_cannot_share_a_prefix() -> None:
    with pytest.raises(ValueError, match="/toy/"):
        dialects.register(Toy())


def test_the_longest_prefix_decides() -> None:
    class Inner(Toy):
        prefixes: ClassVar[tuple[str, ...]] = ("/api/v0/", "/jobs")

    inner = Inner()
    dialects.register(inner)
    try:
        assert dialects.dialect_at("/api/v0/images") is dialects.dialect_at("/jobs") is inner
        assert dialects.dialect_at("/jobs/1") is inner
        assert dialects.dialect_at("/jobsheet") is None
        assert dialects.dialect_at("/api/img2img") not in (None, inner)
    finally:
        dialects.unregister(inner)
    assert refusal(body_too_large(5), "/api/v0/images", origin="").status_code == 413
