"""Real answers have exactly the keys of their schema in the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from numpy.typing import NDArray
from pydantic import ValidationError

from accounts.models import User
from inpainting.api.native.schemas.base import Answer, Optional
from inpainting.catalog.specs import Kind
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.image import CanonicalImage
from inpainting.models import (
    Batch,
    BatchItem,
    Generation,
    InferenceModel,
    Lora,
    ModelState,
    WebhookAttempt,
    WebhookDelivery,
)
from tests.api.bodies import shape_a, upload
from tests.conftest import png
from tests.support.analyses import queued
from tests.support.drafts import document as draft_document

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

Generate = Callable[..., Generation]
Call = Callable[[], Any]
NULL = {"type": "null"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command("spectacular", file=str(file), format="openapi-json")
    schema: dict[str, Any] = json.loads(file.read_text())
    return schema


def differences(value: Any, schema: dict[str, Any], components: dict[str, Any], place: str) -> Iterator[str]:
    """Yield the places, at any depth, where the keys of an answer differ from its schema."""
    while True:
        if "$ref" in schema:
            schema = components[schema["$ref"].rpartition("/")[2]]
        elif "allOf" in schema:
            (schema,) = schema["allOf"]
        elif choices := [choice for choice in schema.get("oneOf", schema.get("anyOf", ())) if choice != NULL]:
            yield from min((list(differences(value, choice, components, place)) for choice in choices), key=len)
            return
        else:
            break
    if isinstance(value, list) and "items" not in schema:
        yield f"{place} is a list"
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from differences(entry, schema["items"], components, f"{place}[{index}]")
    elif isinstance(value, dict) and "properties" in schema:
        missing = set(schema.get("required", ())) - value.keys()
        extra = value.keys() - schema["properties"].keys()
        yield from (f"{place}.{key} is missing" for key in sorted(missing))
        yield from (f"{place}.{key} is not documented" for key in sorted(extra))
        for key in value.keys() & schema["properties"].keys():
            yield from differences(value[key], schema["properties"][key], components, f"{place}.{key}")


@pytest.fixture
def calls(
    alice: User,
    alices_program: Client,
    generate: Generate,
    batch_of: Callable[..., Batch],
    photo: NDArray[Any],
    photo_png: bytes,
    mask_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Call]:
    """Map each operation of the document to a request whose answer has every optional key."""
    image = CanonicalImage(photo)
    done = generate(alice, prompt="a lawn", **dict.fromkeys(CONDITIONING_IMAGES, image))
    failed = Generation.from_request(done.to_request(), owner=alice, engine="quick-fill")
    failed.save_new()
    assert failed.start()
    failed.refresh_from_db()
    assert failed.advance(1, 4)
    assert failed.fail(code="engine_failed", message="It failed.")
    batch = batch_of(done, failed)
    refusal = {"message": "No.", "code": "image_too_large", "field": "images[2]", "limit": 1, "actual": 2}
    BatchItem.objects.create(batch=batch, index=2, name="", refusal=refusal)
    delivery = WebhookDelivery.create_test(alice, "https://alice.example/hook")
    WebhookAttempt.objects.create(delivery=delivery, status=200, milliseconds=5)
    row = {"label": "Edges", "family": "sd", "kind": Kind.CONTROLNET, "control": "canny", "state": ModelState.INSTALLED}
    InferenceModel.objects.create(slug="edges", **row)
    for slug, kind in (("ink", "style"), ("lcm", "lcm")):
        Lora.objects.create(slug=slug, label=slug, family="sd", kind=kind, sha256="0" * 64, size_bytes=1)
    for table in (InferenceModel, Lora):
        monkeypatch.setattr(table, "is_installed", property(lambda self: True))
    monkeypatch.setattr("inpainting.worker.analyses.find_captioner", lambda: None)

    def analysis_path() -> str:
        return f"/api/analyses/{queued(alice, photo_png).pk}/"

    def waiting() -> Generation:
        generation = Generation.from_request(done.to_request(), owner=alice, engine="quick-fill")
        generation.save_new()
        return generation

    def body(**fields: Any) -> dict[str, Any]:
        return shape_a(photo_png, mask_png, seed="3", engine="quick-fill", **fields)

    def posted(path: str, data: Any = None, **headers: str) -> Any:
        return alices_program.post(path, data or {}, headers=headers)

    def of_batch(path: str) -> Any:
        return posted(f"/api/batches/{batch_of(waiting()).pk}/{path}/")

    def failed_batch() -> Any:
        generation = waiting()
        generation.cancel()
        again = batch_of(generation)
        BatchItem.objects.create(batch=again, index=1, name="", refusal=refusal)
        return posted(f"/api/batches/{again.pk}/retry/")

    def stored_stack() -> Any:
        sent = {"generation": str(done.pk)}
        return alices_program.post("/api/stacks/", sent, content_type="application/json")

    def stack_path() -> str:
        return f"/api/stacks/{stored_stack().json()['id']}/"

    def hidden_step() -> Any:
        step = {"generation": str(done.pk), "hidden": True}
        sent = {"revision": stored_stack().json()["revision"], "steps": [step]}
        return alices_program.patch(stack_path(), sent, content_type="application/json")

    def find_mask() -> Any:
        disc = np.full((64, 96, 3), 110, np.uint8)
        cv2.circle(disc, (60, 35), 10, (220, 20, 20), -1)
        return posted("/api/masks/", {"image": upload(png(disc)), "box": "[44, 20, 76, 50]"})

    draft = {"revision": 0, "document": draft_document(), "pictures": []}

    def batch_body() -> dict[str, Any]:
        return {"images": [upload(photo_png)], "masks": [upload(mask_png)], "prompt": "", "engine": "quick-fill"}

    return {
        "GET /api/analyses/{id}/": lambda: alices_program.get(analysis_path()),
        "GET /api/batches/": lambda: alices_program.get("/api/batches/"),
        "GET /api/batches/{id}/": lambda: alices_program.get(f"/api/batches/{batch.pk}/"),
        "GET /api/draft/": lambda: alices_program.get("/api/draft/"),
        "GET /api/engines/": lambda: alices_program.get("/api/engines/"),
        "GET /api/generations/": lambda: alices_program.get("/api/generations/"),
        "GET /api/generations/{id}/": lambda: alices_program.get(f"/api/generations/{done.pk}/"),
        "GET /api/generations/{id}/stack/": lambda: alices_program.get(f"/api/generations/{done.pk}/stack/"),
        "GET /api/stacks/{id}/": lambda: alices_program.get(stack_path()),
        "PATCH /api/stacks/{id}/": hidden_step,
        "POST /api/stacks/": stored_stack,
        "POST /api/stacks/{id}/masks/": lambda: posted(f"{stack_path()}masks/", {"file": upload(mask_png)}),
        "GET /api/masks/": lambda: alices_program.get("/api/masks/"),
        "GET /api/masks/{id}/": lambda: alices_program.get(f"/api/masks/{find_mask().json()['id']}/"),
        "GET /api/models": lambda: alices_program.get("/api/models"),
        "GET /api/usage/": lambda: alices_program.get("/api/usage/"),
        "GET /api/webhooks/deliveries/": lambda: alices_program.get("/api/webhooks/deliveries/"),
        "GET /api/webhooks/secret/": lambda: alices_program.get("/api/webhooks/secret/"),
        "POST /api/batches/": lambda: posted("/api/batches/", batch_body()),
        "POST /api/batches/upscale/": lambda: posted("/api/batches/upscale/", {"images": [upload(photo_png)]}),
        "POST /api/batches/{id}/cancel/": lambda: of_batch("cancel"),
        "POST /api/batches/{id}/retry/": failed_batch,
        "POST /api/analyses/{id}/cancel/": lambda: posted(f"{analysis_path()}cancel/"),
        "POST /api/captions/": lambda: posted("/api/captions/", {"image": upload(photo_png)}),
        "POST /api/generations/{id}/cancel/": lambda: posted(f"/api/generations/{waiting().pk}/cancel/"),
        "POST /api/generations/{id}/run-again/": lambda: posted(f"/api/generations/{done.pk}/run-again/"),
        "POST /api/img2img": lambda: posted("/api/img2img", body()),
        "POST /api/img2img, waiting": lambda: posted("/api/img2img", body(), Prefer="respond-async"),
        "POST /api/img2img, refused": lambda: posted("/api/img2img", body(num_images="99")),
        "POST /api/plan/": lambda: posted("/api/plan/", body()),
        "POST /api/plan/, without images": lambda: posted("/api/plan/", {"prompt": "a lawn"}),
        "POST /api/plan/, of an upscaling": lambda: posted(
            "/api/plan/", {"image": upload(photo_png), "engine": "upscale"}
        ),
        "POST /api/masks/": lambda: posted("/api/masks/", {"image": upload(photo_png), "box": "[8, 8, 60, 50]"}),
        "POST /api/masks/, found": find_mask,
        "POST /api/masks/, waiting": lambda: posted(
            "/api/masks/", {"image": upload(photo_png), "box": "[8, 8, 60, 50]"}, Prefer="respond-async"
        ),
        "POST /api/masks/operations/": lambda: posted("/api/masks/operations/", {"mask": upload(mask_png)}),
        "POST /api/img2img/interrupt": lambda: posted("/api/img2img/interrupt"),
        "POST /api/tickets/": lambda: posted("/api/tickets/"),
        "POST /api/upscale": lambda: posted("/api/upscale", {"image": upload(photo_png), "model": "lanczos"}),
        "POST /api/upscale, waiting": lambda: posted(
            "/api/upscale", {"image": upload(photo_png), "model": "lanczos"}, Prefer="respond-async"
        ),
        "POST /api/upload-mask": lambda: posted("/api/upload-mask", {"file": upload(mask_png)}),
        "POST /api/webhooks/deliveries/{webhook_id}/resend/": lambda: posted(
            f"/api/webhooks/deliveries/{delivery.webhook_id}/resend/"
        ),
        "POST /api/webhooks/secret/rotate/": lambda: posted("/api/webhooks/secret/rotate/"),
        "PUT /api/draft/": lambda: alices_program.put("/api/draft/", draft, content_type="application/json"),
        "POST /api/webhooks/test/": lambda: posted("/api/webhooks/test/", {"url": "https://alice.example/hook"}),
    }


def json_responses(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield operation, status and schema of every JSON answer that is not an error."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                content = response.get("content", {}).get("application/json")
                if content and status < "400":
                    yield f"{method.upper()} {path}", status, content["schema"]


def test_every_answer_has_exactly_the_keys_of_its_schema(document: dict[str, Any], calls: dict[str, Call]) -> None:
    components = document["components"]["schemas"]
    schemas = {(operation, status): schema for operation, status, schema in json_responses(document)}
    assert {operation for operation, _ in schemas} <= calls.keys(), "an operation has no request here"
    tried, found = set(), []
    assert all(calls["GET /api/models"]().json()[part] for part in ("models", "loras", "adapters"))
    for name, call in calls.items():
        answer = call()
        operation, status = name.partition(",")[0], str(answer.status_code)
        schema = schemas.get((operation, status), {"$ref": "#/components/schemas/Problem"})
        found += list(differences(answer.json(), schema, components, f"{name} {status}"))
        tried.add((operation, status))
    assert found == []
    assert schemas.keys() <= tried, "an answer was not seen"


def test_a_field_without_a_value_is_an_error_unless_it_is_optional() -> None:
    class Example(Answer):
        kind: Literal["example"] = "example"
        needed: str | None
        optional: Optional[str] = None

    assert Example.render({"needed": None, "optional": None}) == {"kind": "example", "needed": None}
    assert Example.render({"needed": "a", "optional": "b"})["optional"] == "b"
    with pytest.raises(ValidationError):
        Example.render({"optional": "b"})
