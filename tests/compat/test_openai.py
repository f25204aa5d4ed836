"""OpenAI's image API: its fields, its exact errors, masks by their transparency, and requests that are repeated."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from numpy.typing import NDArray
from PIL import Image
from pytest_django import Settings

from accounts.models import ApiKey, Scope, User
from inpainting import families
from inpainting.api.compat.openai import answers
from inpainting.api.compat.openai.answers import NO_USAGE, stream
from inpainting.core.codecs import thumbnail_webp
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.core.resizing import resize
from inpainting.models import Generation, InferenceModel
from inpainting.realtime.events import GenerationEvent, StepPreview, progress
from tests.conftest import png
from tests.contracts.dialect import DialectContract

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

EDITS, GENERATIONS = "/v1/images/edits", "/v1/images/generations"
RETRIED = {"x-stainless-retry-count": "1"}


def file(data: bytes, name: str = "image.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "application/octet-stream")


def transparent(mask: NDArray[np.uint8]) -> bytes:
    """A PNG that is transparent where the mask is white."""
    return png(np.dstack([np.full((*mask.shape, 3), 200, np.uint8), 255 - mask]))


@pytest.fixture
def body(photo_png: bytes, hole: NDArray[np.uint8]) -> dict[str, Any]:
    return {"image": photo_png, "mask": transparent(hole), "prompt": "a rose", "model": "gpt-image-1"}


def edit(client: Client, fields: dict[str, Any], url: str = EDITS, **headers: str) -> Any:
    def sent(value: Any) -> Any:
        return file(value) if isinstance(value, bytes) else value

    form = {
        name: [sent(entry) for entry in value] if isinstance(value, list) else sent(value)
        for name, value in fields.items()
        if value is not None
    }
    return client.post(url, form, headers=headers)


def generate(client: Client, **fields: Any) -> Any:
    return client.post(GENERATIONS, {"prompt": "a cat", **fields}, content_type="application/json")


def images_of(response: Any) -> list[Image.Image]:
    assert response.status_code == 200, response.content
    return [Image.open(BytesIO(base64.b64decode(image["b64_json"]))) for image in response.json()["data"]]


def changed(response: Any, photo: NDArray[np.uint8]) -> NDArray[np.bool_]:
    (image,) = images_of(response)
    return np.asarray(np.any(np.asarray(image) != photo, axis=2))


def error(response: Any, status: int) -> dict[str, Any]:
    """Check the shape of an error, and return it."""
    assert (response.status_code, list(response.json())) == (status, ["error"]), response.content
    found: dict[str, Any] = response.json()["error"]
    assert list(found) == ["message", "type", "param", "code"]
    assert isinstance(found["message"], str)
    return found


class TestOpenAI(DialectContract):
    dialect = "openai"
    below_the_prefix = "/v1/images/nowhere"

    def send(self, client: Client, photo: bytes, mask: bytes, *, seed: int = 7, **headers: str) -> Any:
        form = {"image": photo, "mask": mask, "mask_polarity": "white_repaints", "prompt": f"rose {seed}"}
        return edit(client, {**form, "model": "gpt-image-1"}, **headers)

    def send_with_model(self, client: Client, photo: bytes, mask: bytes, name: str) -> Any:
        form = {"image": photo, "mask": mask, "mask_polarity": "white_repaints", "prompt": ""}
        return edit(client, {**form, "model": name, "response_format": "b64_json"})

    def result(self, response: Any) -> object:
        (image,) = images_of(response)
        assert image.size == (96, 64)
        return Generation.objects.latest("created_at").pk

    def check_error(self, response: Any, status: int) -> None:
        error(response, status)

    @pytest.mark.parametrize("header", ["Authorization", "api-key"])
    def test_a_key_is_read_where_openai_and_azure_have_it(
        self, alices_key: str, photo_png: bytes, white: bytes, header: str
    ) -> None:
        text = f"Bearer {alices_key}" if header == "Authorization" else alices_key
        self.result(self.send(Client(headers={header: text}), photo_png, white))


# Masks


def test_only_transparent_pixels_of_the_mask_are_repainted(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    where = changed(edit(alices_program, body), photo)
    assert np.count_nonzero(where[hole == 0]) == 0
    assert np.count_nonzero(where[hole == 255]) > 100
    assert np.array_equal(Generation.objects.get().mask.read_pixels(), hole)


def test_without_a_mask_the_transparent_pixels_of_the_image_are_repainted(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    cut_out = png(np.dstack([photo, 255 - hole]))
    where = changed(edit(alices_program, {**body, "image": cut_out, "mask": None}), photo)
    assert np.count_nonzero(where[hole == 0]) == 0
    assert np.count_nonzero(where[hole == 255]) > 100


@pytest.mark.parametrize("field", ["image", "image[]", "image[0]"])
def test_the_image_is_found_under_each_name(alices_program: Client, body: dict[str, Any], field: str) -> None:
    image = body.pop("image")
    assert len(images_of(edit(alices_program, {**body, field: image}))) == 1


def test_of_several_images_the_first_is_edited(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    other = png(np.zeros((20, 20, 3), np.uint8))
    answer = edit(alices_program, {**body, "image": None, "image[]": [body["image"], other]})
    assert np.count_nonzero(changed(answer, photo)[hole == 0]) == 0
    assert "further_images" in answer["X-DreamLayer-Ignored"]


@pytest.mark.parametrize(("polarity", "is_white"), [("white_repaints", True), ("black_repaints", False)])
def test_a_mask_without_alpha_needs_a_named_polarity(
    alices_program: Client,
    body: dict[str, Any],
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    polarity: str,
    is_white: bool,
) -> None:
    grey = {**body, "mask": png(hole if is_white else 255 - hole)}
    refused = error(edit(alices_program, grey), 400)
    assert (refused["param"], refused["code"]) == ("mask", "mask_has_no_alpha")
    assert "white_repaints" in refused["message"]
    assert "black_repaints" in refused["message"]
    where = changed(edit(alices_program, {**grey, "mask_polarity": polarity}), photo)
    assert np.count_nonzero(where[hole == 0]) == 0
    assert np.count_nonzero(where[hole == 255]) > 100


def test_a_mask_of_another_size_is_refused(alices_program: Client, body: dict[str, Any]) -> None:
    refused = error(edit(alices_program, {**body, "mask": transparent(np.zeros((20, 30), np.uint8))}), 400)
    assert (refused["param"], refused["code"]) == ("mask", "mask_size_mismatch")
    assert "30" in refused["message"]


def test_an_edit_by_words_alone_needs_a_model_that_follows_instructions(
    alices_program: Client,
    body: dict[str, Any],
    diffusion_requests: list[InpaintRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del body["mask"]
    refused = error(edit(alices_program, body), 400)
    assert (refused["param"], refused["code"]) == ("mask", "mask_required")
    editing = replace(families.get("sd"), edits=True)
    monkeypatch.setattr("inpainting.families.get", lambda name: editing)
    assert len(images_of(edit(alices_program, body))) == 1
    assert diffusion_requests[0].mask.min() == 255


# Fields


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"prompt": "a rose", "num_images": 1, "output_format": "png", "steps": None, "quality": None}),
        ({"n": "2"}, {"num_images": 2}),
        ({"n": ""}, {"num_images": 1}),
        ({"output_format": "jpeg"}, {"output_format": "jpeg", "quality": 100}),
        ({"output_format": "webp", "output_compression": "0"}, {"output_format": "webp", "quality": 1}),
        ({"output_format": "webp", "output_compression": "60"}, {"output_format": "webp", "quality": 60}),
        ({"quality": "low"}, {"steps": 15}),
        ({"quality": "medium"}, {"steps": None}),
        ({"quality": "high"}, {"steps": 45}),
        ({"model": "tiny"}, {"model": "tiny"}),
        ({"model": "dall-e-2", "response_format": "b64_json"}, {"model": None}),
    ],
)
def test_a_field_reaches_the_model(
    alices_program: Client,
    body: dict[str, Any],
    diffusion_requests: list[InpaintRequest],
    fields: dict[str, str],
    expected: dict[str, Any],
) -> None:
    InferenceModel.objects.filter(slug="tiny").update(steps=30)
    answer = edit(alices_program, {**body, "response_format": "b64_json", **fields})
    assert len(images_of(answer)) == expected.get("num_images", 1)
    requested = Generation.objects.get().requested_settings.settings
    assert {name: requested.get(name, default) for name, default in DEFAULTS.items() if name in expected} == expected
    assert answer["X-DreamLayer-Model"] == "tiny"
    assert answer["X-DreamLayer-Ignored"] == ""


DEFAULTS = {
    **dict.fromkeys(("steps", "quality", "model")),
    **{"prompt": "", "num_images": 1, "output_format": "png"},
}


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"user": "u"}, "user"),
        ({"moderation": "low"}, "moderation"),
        ({"input_fidelity": "high"}, "input_fidelity"),
        ({"background": "transparent"}, "background"),
        ({"background": "opaque"}, ""),
        ({"partial_images": "2"}, "partial_images"),
        ({"output_compression": "50"}, "output_compression"),
        ({"background": "auto"}, ""),
        ({"<b>": "x"}, "(another name)"),
    ],
)
def test_what_has_no_effect_is_listed(
    alices_program: Client,
    body: dict[str, Any],
    diffusion_requests: list[InpaintRequest],
    fields: dict[str, str],
    ignored: str,
) -> None:
    answer = edit(alices_program, {**body, **fields})
    assert (answer.status_code, answer["X-DreamLayer-Ignored"]) == (200, ignored)
    assert answer.json()["meta"]["ignored"] == [ignored] * bool(ignored)


def test_settings_that_only_a_model_reads_are_listed_without_one(alices_program: Client, body: dict[str, Any]) -> None:
    answer = edit(alices_program, {**body, "quality": "high"})
    assert (answer["X-DreamLayer-Engine"], answer["X-DreamLayer-Ignored"]) == ("quick-fill", "prompt, model, quality")


@pytest.mark.parametrize("has_fallback", [False, True])
def test_an_empty_prompt_removes(
    alices_program: Client, body: dict[str, Any], diffusion_requests: object, has_fallback: bool
) -> None:
    InferenceModel.objects.filter(slug="tiny").update(is_fallback=has_fallback)
    answer = edit(alices_program, {**body, "prompt": ""})
    assert (answer.status_code, answer["X-DreamLayer-Engine"]) == (200, "quick-fill")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"image": None}, "image", "missing_required_parameter"),
        ({"image": b"no image"}, "image", "image_type_unsupported"),
        ({"mask": b"no image"}, "mask", "mask_type_unsupported"),
        ({"mask": "!"}, "mask", "mask_base64_invalid"),
        ({"n": "0"}, "n", "invalid_value"),
        ({"n": "9"}, "n", "invalid_value"),
        ({"n": "many"}, "n", "invalid_value"),
        ({"size": "1024"}, "size", "invalid_value"),
        ({"size": "63x64"}, "size", "invalid_value"),
        ({"size": "64x99999"}, "size", "invalid_value"),
        ({"quality": "best"}, "quality", "invalid_value"),
        ({"background": "red"}, "background", "invalid_value"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"output_compression": "101"}, "output_compression", "invalid_value"),
        ({"response_format": "file"}, "response_format", "invalid_value"),
        ({"partial_images": "4"}, "partial_images", "invalid_value"),
        ({"stream": "perhaps"}, "stream", "invalid_value"),
        ({"mask_polarity": "sideways"}, "mask_polarity", "invalid_value"),
        ({"prompt": "x" * 40_000}, "prompt", "invalid_value"),
    ],
)
def test_an_invalid_field_is_a_400(
    alices_program: Client, body: dict[str, Any], fields: dict[str, Any], param: str, code: str
) -> None:
    found = error(edit(alices_program, {**body, **fields}), 400)
    assert (found["type"], found["param"], found["code"]) == ("invalid_request_error", param, code)
    assert not Generation.objects.exists()


@pytest.mark.parametrize("size", ["auto", None, "96x64", "64x64", "128x256"])
def test_the_result_has_the_requested_size_and_else_that_of_the_image(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8], size: str | None
) -> None:
    answer = edit(alices_program, {**body, "size": size})
    width, height = map(int, (size if size and "x" in size else "96x64").split("x"))
    (image,) = images_of(answer)
    assert (image.size, answer.json()["size"]) == ((width, height), f"{width}x{height}")
    scaled = resize(CanonicalImage(photo), Size(width, height)).pixels
    kept = Generation.objects.get().mask.read_pixels() == 0
    assert np.array_equal(np.asarray(image)[kept], scaled[kept])


def test_the_answer_describes_the_image(alices_program: Client, body: dict[str, Any]) -> None:
    answer = edit(alices_program, {**body, "output_format": "webp", "quality": "hd"}).json()
    (image,) = answer.pop("data")
    assert base64.b64decode(image["b64_json"])[8:12] == b"WEBP"
    assert answer.pop("meta")["engine"] == "quick-fill"
    created = int(Generation.objects.get().created_at.timestamp())
    about = {"background": "opaque", "quality": "high", "output_format": "webp", "size": "96x64"}
    assert answer == {"created": created, **about, "usage": NO_USAGE}


@pytest.mark.parametrize(
    ("model", "response_format", "expected"),
    [
        ("gpt-image-1", None, "b64_json"),
        ("gpt-image-1", "url", "url"),
        ("dall-e-2", None, "url"),
        ("dall-e-2", "b64_json", "b64_json"),
        (None, None, "url"),
    ],
)
def test_images_are_links_or_base64_never_both(
    alices_program: Client,
    body: dict[str, Any],
    photo: NDArray[np.uint8],
    hole: NDArray[np.uint8],
    model: str | None,
    response_format: str | None,
    expected: str,
) -> None:
    answer = edit(alices_program, {**body, "model": model, "response_format": response_format})
    (image,) = answer.json()["data"]
    assert list(image) == [expected]
    if expected == "url":
        shown = Client().get(image["url"].removeprefix("http://testserver"))
        painted = np.asarray(Image.open(BytesIO(shown.getvalue())))
        assert np.array_equal(painted[hole == 0], photo[hole == 0])


# Text-to-image


@pytest.mark.parametrize(("size", "expected"), [("auto", (512, 320)), (None, (512, 320)), ("256x128", (256, 128))])
def test_an_image_is_generated_in_the_models_or_the_requested_size(
    alices_program: Client, diffusion_requests: list[InpaintRequest], size: str | None, expected: tuple[int, int]
) -> None:
    InferenceModel.objects.filter(slug="tiny").update(width=512, height=320)
    (image,) = images_of(generate(alices_program, model="gpt-image-1", size=size))
    assert image.size == expected
    (request,) = diffusion_requests
    assert (request.settings.prompt, request.settings.strength, request.mask.min()) == ("a cat", 1.0, 255)


def test_images_and_masks_are_nothing_to_generate_from(
    alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    answer = generate(alices_program, image="x", mask="y", mask_polarity="white_repaints")
    assert answer.json()["meta"]["ignored"] == ["mask", "mask_polarity", "image"]


def test_without_a_model_nothing_is_generated(alices_program: Client) -> None:
    assert error(generate(alices_program), 503)["type"] == "server_error"


# Models


def test_a_model_that_nobody_has_is_a_404_unless_the_site_lets_the_server_choose(
    alices_program: Client, body: dict[str, Any], settings: Settings
) -> None:
    found = error(edit(alices_program, {**body, "model": "midjourney"}), 404)
    assert (found["type"], found["code"]) == ("invalid_request_error", "model_not_found")
    assert error(alices_program.get("/v1/models/midjourney"), 404)["code"] == "model_not_found"
    settings.COMPAT_ANY_MODEL = ["openai"]
    assert edit(alices_program, {**body, "model": "midjourney"}).status_code == 200
    assert alices_program.get("/v1/models/midjourney").json()["id"] == "midjourney"


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
def test_the_models_are_listed(
    alices_program: Client, diffusion_requests: list[InpaintRequest], prefix: str, alice: User
) -> None:
    listed = alices_program.get(f"{prefix}/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["auto", "gpt-image-1", "dall-e-2", "tiny"]
    assert {model["object"] for model in listed["data"]} == {"model"}
    for name in ("tiny", "gpt-image-1"):
        assert alices_program.get(f"{prefix}/models/{name}").json()["id"] == name
    paints = Client(headers={"X-API-Key": ApiKey.issue(alice, scopes=[Scope.GENERATE])[1]})
    assert error(paints.get(f"{prefix}/models"), 403)["type"] == "permission_error"
    assert error(Client().get(f"{prefix}/models"), 401)["code"] is None


@pytest.mark.parametrize("place", ["/openai/v1", "/openai/deployments/tiny", "/openai"])
def test_azures_paths_paint_too(
    alices_program: Client, body: dict[str, Any], diffusion_requests: list[InpaintRequest], place: str
) -> None:
    del body["model"]
    answer = edit(alices_program, body, f"{place}/images/edits?api-version=2025-04-01-preview")
    assert answer.status_code == 200, answer.content
    requested = Generation.objects.get().requested_settings.settings
    assert requested.get("model") == ("tiny" if "tiny" in place else None)


# Other routes


def test_variations_are_not_built(alices_program: Client, photo_png: bytes) -> None:
    found = error(alices_program.post("/v1/images/variations", {"image": file(photo_png)}), 501)
    assert (found["type"], found["code"]) == ("server_error", "not_built")


@pytest.mark.parametrize(
    ("path", "shape"), [("/v1/images/x", "error"), ("/v1/models/", "error"), ("/v1/engines/x", "detail")]
)
def test_each_service_of_v1_keeps_its_own_voice(path: str, shape: str) -> None:
    assert list(Client().post(path).json()) == [shape]


def test_a_method_that_a_route_lacks_is_a_405(alices_program: Client) -> None:
    assert error(alices_program.get(EDITS), 405)["code"] == "method_not_supported"


# Requests that are repeated


def test_a_retried_request_gets_the_first_answer(alices_program: Client, body: dict[str, Any]) -> None:
    first = edit(alices_program, body, **{"x-stainless-retry-count": "0"})
    again = edit(alices_program, body, **RETRIED)
    assert first.json() == again.json()
    assert Generation.objects.count() == 1
    edit(alices_program, body, **{"x-stainless-retry-count": "0"})
    assert Generation.objects.count() == 2, "sent twice on purpose"
    edit(alices_program, {**body, "prompt": "another"}, **RETRIED)
    assert Generation.objects.count() == 3, "another body"


def test_another_keys_retry_and_a_late_one_paint(
    alice: User, alices_program: Client, bobs_program: Client, body: dict[str, Any]
) -> None:
    edit(alices_program, body, **{"x-stainless-retry-count": "0"})
    edit(bobs_program, body, **RETRIED)
    other_key = Client(headers={"X-API-Key": ApiKey.issue(alice)[1]})
    edit(other_key, body, **RETRIED)
    assert Generation.objects.count() == 3
    Generation.objects.update(finished_at=timezone.now() - timedelta(seconds=61))
    edit(alices_program, body, **RETRIED)
    assert Generation.objects.count() == 4


# Streams


def events_of(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    events = [chunk.split("\n") for chunk in content.decode().removesuffix("\n\n").split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]


def test_a_stream_ends_with_the_images(
    alices_program: Client, body: dict[str, Any], photo: NDArray[np.uint8], hole: NDArray[np.uint8]
) -> None:
    answer = edit(alices_program, {**body, "stream": "true", "partial_images": "2", "n": "2"})
    assert answer["Content-Type"] == "text/event-stream"
    events = events_of(answer.content)
    assert [name for name, _ in events] == ["image_edit.completed"] * 2
    for name, event in events:
        image = np.asarray(Image.open(BytesIO(base64.b64decode(event.pop("b64_json")))))
        assert np.array_equal(image[hole == 0], photo[hole == 0])
        about = {"size": "96x64", "quality": "medium", "background": "opaque", "output_format": "png"}
        created = int(Generation.objects.get().created_at.timestamp())
        assert event == {"type": name, "created_at": created, **about, "usage": NO_USAGE}


def test_a_failure_ends_a_stream_with_an_error(
    alices_program: Client, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.worker.run.paint_each", lambda *arguments: 1 / 0)
    ((name, event),) = events_of(edit(alices_program, {**body, "stream": "true"}).content)
    assert (name, event["error"]["type"]) == ("error", "server_error")


@pytest.mark.parametrize(("wanted", "steps"), [(0, []), (1, [2]), (2, [2, 3]), (3, [1, 2, 3])])
async def test_unfinished_images_are_spread_over_the_steps(
    alices_program: Client,
    body: dict[str, Any],
    photo: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    wanted: int,
    steps: list[int],
) -> None:
    await sync_to_async(edit)(alices_program, {**body, "stream": "true", "partial_images": str(wanted)})
    generation = await Generation.objects.aget()

    async def follow(pk: object) -> AsyncIterator[GenerationEvent | None]:
        yield None
        for step in range(1, 5):
            shown = thumbnail_webp(CanonicalImage(np.full((8, 8, 3), 50 * step, np.uint8)), side=8)
            preview: StepPreview = {
                "url": f"data:image/webp;base64,{base64.b64encode(shown).decode()}",
                "box": [8, 4, 40, 36],
            }
            yield progress(step, 4, preview=preview)

    monkeypatch.setattr(answers, "follow", follow)
    ping, *chunks, last = [chunk async for chunk in stream(generation)]
    assert ping == b": ping\n\n"
    events = events_of(b"".join(chunks)) if chunks else []
    assert [(name, event["partial_image_index"]) for name, event in events] == [
        ("image_edit.partial_image", index) for index in range(wanted)
    ]
    for (_, event), step in zip(events, steps, strict=True):
        image = np.asarray(Image.open(BytesIO(base64.b64decode(event["b64_json"]))))
        assert abs(int(image[20, 20, 0]) - 50 * step) < 8
        assert np.array_equal(image[40:], photo[40:])
    assert last.startswith(b"event: image_edit.completed")


def test_nothing_is_shown_of_a_generation_that_was_deleted_while_it_is_streamed() -> None:
    preview: StepPreview = {"url": "data:image/webp;base64,", "box": [0, 0, 8, 8]}
    assert answers.partial_image(uuid4(), preview, 0) == answers.PING
