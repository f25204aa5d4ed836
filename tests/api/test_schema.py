"""Answers match the OpenAPI document: every operation is fuzzed with generated requests."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import schemathesis
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from schemathesis import BaseSchema, Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from accounts.models import User
from inpainting.api.media.links import SIGNER
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.core.masks import MaskPolarity
from inpainting.generations import stacks
from inpainting.generations.uploads import store_mask
from inpainting.models import Batch, Generation, WebhookDelivery
from tests.api.bodies import text
from tests.support import analyses, drafts
from tests.support.strategies import PROFILES

Generate = Callable[..., Generation]
OPERATIONS = [
    "DELETE /api/analyses/{id}/",
    "DELETE /api/batches/{id}/",
    "DELETE /api/generations/{id}/",
    "DELETE /api/masks/{id}/",
    "GET /api/analyses/{id}/",
    "GET /api/batches/",
    "GET /api/batches/{id}/",
    "GET /api/batches/{id}/results.zip",
    "GET /api/draft/",
    "GET /api/draft/pictures/{sha256}/",
    "GET /api/draft/pictures/{sha256}/png/",
    "GET /api/engines/",
    "GET /api/generations/",
    "GET /api/generations/{id}/",
    "GET /api/generations/{id}/images/{index}/",
    "GET /api/generations/{id}/images/{index}/preview/",
    "GET /api/generations/{id}/images/{index}/thumbnail/",
    "GET /api/generations/{id}/mask/",
    "GET /api/generations/{id}/mask/preview/",
    "GET /api/generations/{id}/source/",
    "GET /api/generations/{id}/source/preview/",
    "GET /api/generations/{id}/source/thumbnail/",
    "GET /api/generations/{id}/stack/",
    "GET /api/generations/{id}/{name}/",
    "GET /api/generations/{id}/{name}/preview/",
    "GET /api/masks/",
    "GET /api/masks/{id}/",
    "GET /api/masks/{id}/file/",
    "GET /api/models",
    "GET /api/stacks/{id}/",
    "GET /api/stacks/{id}/image/",
    "GET /api/stacks/{id}/masks/{mask}/",
    "GET /api/usage/",
    "GET /api/webhooks/deliveries/",
    "GET /api/webhooks/secret/",
    "GET /images/{token}.{extension}",
    "PATCH /api/stacks/{id}/",
    "POST /api/analyses/{id}/cancel/",
    "POST /api/batches/",
    "POST /api/batches/upscale/",
    "POST /api/batches/{id}/cancel/",
    "POST /api/batches/{id}/retry/",
    "POST /api/captions/",
    "POST /api/generations/{id}/cancel/",
    "POST /api/generations/{id}/run-again/",
    "POST /api/img2img",
    "POST /api/img2img/interrupt",
    "POST /api/masks/",
    "POST /api/masks/operations/",
    "POST /api/plan/",
    "POST /api/stacks/",
    "POST /api/stacks/{id}/masks/",
    "POST /api/tickets/",
    "POST /api/upload-mask",
    "POST /api/upscale",
    "POST /api/webhooks/deliveries/{webhook_id}/resend/",
    "POST /api/webhooks/secret/rotate/",
    "POST /api/webhooks/test/",
    "PUT /api/draft/",
    "PUT /api/draft/pictures/{sha256}/",
]


MASK_OPERATIONS = {"mask", "mask_polarity", "operations", "format"}
"""The fields of `POST /api/masks/operations/`."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema, which must be valid and made without a warning."""
    file = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command("spectacular", file=str(file), format="openapi-json", validate=True, fail_on_warn=True)
    schema: dict[str, Any] = json.loads(file.read_text())
    return schema


@pytest.fixture(scope="module")
def schema(document: dict[str, Any]) -> BaseSchema:
    """The schema as Schemathesis reads it; its requests go to this process."""
    config = SchemathesisConfig.from_dict({"generation": {"allow-x00": False, "with-security-parameters": False}})
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = get_wsgi_application()
    return schema


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_is_described_and_fuzzed(document: dict[str, Any]) -> None:
    described = dict(operations(document))
    assert sorted(described) == OPERATIONS
    for name, operation in described.items():
        assert operation["summary"], name
        if not name.endswith("{token}.{extension}"):
            assert {"401", "403"} <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            assert response["description"] or response.get("content"), (name, status)
            if status >= "400":
                (content,) = response["content"].values()
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_fields_have_ranges_in_the_form_and_none_in_json(document: dict[str, Any]) -> None:
    form = document["components"]["schemas"]["Upload"]["properties"]
    assert (form["steps"]["minimum"], form["steps"]["maximum"]) == (1, 150)
    assert (form["denoising_strength"]["minimum"], form["denoising_strength"]["maximum"]) == (0, 1)
    for name, required in (("Upload", ["image", "prompt"]), ("Json", ["input_image", "prompt"])):
        assert sorted(document["components"]["schemas"][name]["required"]) == required, "a mask may be left out"
    polarity = document["components"]["schemas"]["MaskPolarity"]
    assert form["mask_polarity"]["$ref"] == "#/components/schemas/MaskPolarity"
    assert polarity["enum"] == list(MaskPolarity)
    assert all(value.get("description") for value in form.values())
    lora = document["components"]["schemas"]["LoraEntry"]["properties"]
    for slug in (form["embeddings"]["items"], lora["slug"]):
        assert (slug["maxLength"], slug["pattern"]) == (64, "^[a-z0-9][a-z0-9._-]{0,63}$")


def test_the_schema_and_its_page_are_public_and_load_nothing_external(client: Client, db: None) -> None:
    assert client.get("/api/schema/").status_code == 200
    page = client.get("/api/docs/")
    html = page.content.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(loaded) == 5
    for address in loaded:
        if address.startswith("/static/"):
            assert finders.find(address.removeprefix("/static/")), address
        else:
            script = client.get(address)
            assert script["Content-Type"].startswith("application/javascript")
            assert "/api/schema/" in script.content.decode()
    assert "<style" not in html
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []


def test_an_unknown_url_below_api_is_a_404_in_json(client: Client, db: None) -> None:
    for path in ("/api/nowhere/", "/api/generations/7/", "/api/generations/x/images/-1/"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.get("/nowhere/")["Content-Type"].startswith("text/html")


@pytest.fixture
def path_parameters(
    alice: User,
    alices_key: str,
    generate: Generate,
    batch_of: Callable[..., Batch],
    photo: NDArray[np.uint8],
    photo_png: bytes,
) -> Callable[[str], dict[str, Any]]:
    """path_parameters(operation) -> path parameters of an object that alice owns, made by the first call."""

    @cache
    def objects() -> tuple[Generation, Batch, dict[str, Any]]:
        image = CanonicalImage(photo)
        done = generate(alice, **dict.fromkeys(CONDITIONING_IMAGES, image))
        ids = {
            "webhook_id": WebhookDelivery.create_test(alice, "https://alice.example/hook").webhook_id,
            "sha256": drafts.stored(alice, photo_png),
            "token": SIGNER.sign(done.images.get().pk.hex),
        }
        return done, batch_of(done), ids

    def make(operation: str) -> dict[str, Any]:
        done, batch, ids = objects()
        if "analyses" in operation:
            return {"id": str(analyses.queued(alice, photo_png).pk)}
        if "stacks" in operation:
            row = stacks.store(alice, done).row
            assert row is not None
            return {"id": str(row.pk), "mask": str(stacks.store_mask(alice, np.zeros((8, 8), np.uint8)).pk)}
        if "masks" in operation:
            found = {"segmenter": "grabcut", "box": [0, 0, 8, 8], "area": 64, "score": None}
            return {"id": str(store_mask(alice, np.full((8, 8), 255, np.uint8), found).pk)}
        fresh = operation.startswith("DELETE") or "cancel" in operation or "retry" in operation
        if not fresh:
            pk = batch.pk if "batches" in operation else done.pk
            return {**ids, "id": str(pk), "index": 0, "extension": "png", "name": "control-image-2"}
        waiting = Generation.from_request(done.to_request(), owner=alice, engine="quick-fill")
        waiting.save_new()
        if "retry" in operation:
            waiting.cancel()
        return {"id": str(batch_of(waiting).pk if "batches" in operation else waiting.pk)}

    return make


UPSCALING = {"POST /api/upscale", "POST /api/batches/upscale/"}
OF_PHOTO_OR_MODEL = {"width", "height", "model", "detail", "detail_model", "mask", "masks"}
ALL_FORMS_ARE_VALID = UPSCALING | {"POST /api/plan/", "POST /api/batches/"}
"""They require no field, clamp numbers, leave some unread, or refuse each image alone; and forms hold texts alone."""


@pytest.mark.hypothesis
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_matches_the_schema(
    name: str,
    mode: GenerationMode,
    schema: BaseSchema,
    path_parameters: Callable[[str], dict[str, Any]],
    alices_key: str,
    photo_png: bytes,
    mask_png: bytes,
) -> None:
    operation = schema.find_operation_by_label(name)
    assert operation is not None
    if mode is GenerationMode.NEGATIVE and not can_be_invalid(operation.definition.raw):
        return
    reached: dict[int, int] = defaultdict(int)
    few = 2 if settings().max_examples == PROFILES["default"] else 37  # requests, for each operation and mode

    @settings(max_examples=few, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send_case(case: Case) -> None:
        if case.path_parameters and mode is GenerationMode.POSITIVE:
            parameters = path_parameters(name)
            case.path_parameters = {parameter: parameters[parameter] for parameter in case.path_parameters}
        sent: Any = bytes if case.media_type == "multipart/form-data" else text
        if isinstance(case.body, dict) and mode is GenerationMode.POSITIVE:
            case.body = completed_body(case.body, sent(photo_png), sent(mask_png))
            if name in UPSCALING:  # the size depends on the photo, and excludes a scale; no model is installed
                case.body = {key: value for key, value in case.body.items() if key not in OF_PHOTO_OR_MODEL}
        if name == "POST /api/masks/" and mode is GenerationMode.POSITIVE:
            # No field is required alone, so the schema allows a request without a body.
            generated = case.body if isinstance(case.body, dict) else {}
            case.media_type = case.media_type or "application/json"
            case.body = {"image": sent(photo_png), "points": "[[50, 30]]", **within_photo(generated)}
        if "/api/stacks/" in name and isinstance(case.body, dict) and mode is GenerationMode.POSITIVE:
            case.body |= steps_of(path_parameters("GET /api/generations/{id}/")["id"], case.body)
        if "sha256" in (case.path_parameters or {}) and case.method == "PUT" and mode is GenerationMode.POSITIVE:
            case.body = photo_png
        if mode is GenerationMode.POSITIVE and "Idempotency-Key" in (case.headers or {}):
            case.headers["Idempotency-Key"] = str(uuid4())  # a new key for each request
        if name in ALL_FORMS_ARE_VALID and mode is GenerationMode.NEGATIVE and case.media_type == "multipart/form-data":
            return
        # Do not judge generated valid data as invalid, for example text in place of a file.
        beside = [ignored_auth if mode is GenerationMode.NEGATIVE else negative_data_rejection]
        if name == "POST /api/masks/":
            beside.append(positive_data_acceptance)  # the schema allows a request without a point and a box
        headers = {"X-API-Key": alices_key, "Host": "testserver"}
        answer = case.call_and_validate(headers=headers, excluded_checks=beside)
        reached[answer.status_code] += 1

    send_case()
    if mode is GenerationMode.POSITIVE:
        assert any(status < 300 for status in reached), reached


def can_be_invalid(operation: dict[str, Any]) -> bool:
    """Whether a request can be invalid: it has a body, or a parameter that is not text in the path."""
    demanding = [
        parameter
        for parameter in operation.get("parameters", [])
        if parameter["in"] != "path" or parameter["schema"] != {"type": "string"}
    ]
    return "requestBody" in operation or bool(demanding)


def steps_of(generation: str, body: dict[str, Any]) -> dict[str, Any]:
    """The values of a generated body about a stack that a schema cannot express: a generation of the user's."""
    if "steps" in body:
        return {"revision": 1, "steps": [{"generation": generation}]}
    return {"generation": generation, "image": 0} if "generation" in body else {}


def within_photo(body: dict[str, Any]) -> dict[str, Any]:
    """A generated selection without ids of images, in place of which the photo is sent, and with a box in that."""
    fields = {key: value for key, value in body.items() if key not in ("image", "points", "source", "picture")}
    return fields | ({"box": "[30, 10, 70, 50]"} if "box" in fields else {})


def completed_body(body: dict[str, Any], image: str | bytes, mask: str | bytes) -> dict[str, Any]:
    """Complete a generated body with values that a schema cannot express: real images, existing names, a mask.

    image, mask: as they are sent, texts in JSON and files in forms.
    """
    images: dict[str, Any] = {"input_image": image, "image": image, "mask": mask}
    images |= dict.fromkeys(CONDITIONING_IMAGES, image)
    images |= {"file": mask, "images": [image] * len(body.get("images") or ""), "masks": [mask]}
    completed = {**body, **{part: canonical for part, canonical in images.items() if part in body}}
    if {"image", "input_image"} & completed.keys():
        completed["mask"] = mask  # optional only with models that are not installed here
        if completed.get("prompt") is None:  # which a plan without an image may leave out
            completed["prompt"] = "a lawn"
    if "select" in completed:  # in place of the mask, and its values depend on the photo
        completed["select"] = '{"points": [[50, 30]], "segmenter": "colour"}'
        completed.pop("mask", None)
    marked = {"image_size": [64, 48], "mask_box": [8, 8, 24, 24]}  # the box lies in the image
    completed |= {field: value for field, value in marked.items() if field in completed}
    if "images" in completed:
        completed["masks"] = [mask]  # likewise
    if "operations" in completed:
        completed["operations"] = '[{"name": "grow", "pixels": 3}]'  # some need pixels, others a mask of this size
    if str(completed.get("mask_polarity")).startswith("transparent") and set(completed) <= MASK_OPERATIONS:
        del completed["mask_polarity"]  # the mask has no alpha
    completed |= {name: "https://alice.example/hook" for name in ("url", "webhook_url") if name in completed}
    if completed.get("prompt") == "":
        completed["prompt"] = "a lawn"  # the generator sends no empty form fields
    if "document" in completed:
        completed |= {"revision": 0, "document": drafts.document(), "pictures": []}
    for name in (
        "engine",
        "model",
        "vae",
        "control",
        "controls",
        "ip_adapter",
        "ip_adapters",
        "control_start",
        "guidance_start",
        "guidance_end",
        "safety_checker",
        "parent",
        "segmenter",
    ):
        completed.pop(name, None)
    if isinstance(completed.get("loras"), list) and all(isinstance(use, dict) for use in completed["loras"]):
        # Each slug at most once.
        completed["loras"] = list({str(use.get("slug")): use for use in completed["loras"]}.values())
    if isinstance(completed.get("mask_grow"), int):
        completed["mask_grow"] = abs(completed["mask_grow"]) % 20
    if isinstance(completed.get("guidance_scale"), int | float):
        # Higher values need models that are not installed here.
        completed["guidance_scale"] = min(completed["guidance_scale"], 20)
    return completed
