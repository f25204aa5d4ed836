"""`webhook_url` of a generation, and the link from a re-run to its parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.test.client import MULTIPART_CONTENT

from accounts.models import User
from inpainting.core.request import InpaintRequest
from inpainting.generations import submit
from inpainting.models import Generation, WebhookDelivery
from tests.api.bodies import shape_a, shape_b, shape_c, upload

pytestmark = pytest.mark.django_db(transaction=True)

HOOK = "https://alice.example/hook"
Generate = Callable[..., Generation]
Shape = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("shape", [shape_a, shape_b, shape_c])
def test_the_end_of_a_generation_creates_a_delivery(
    shape: Shape, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    kind = "application/json" if shape is shape_c else MULTIPART_CONTENT
    body = shape(photo_png, mask_png, webhook_url=HOOK)
    answer = alices_program.post("/api/img2img", body, content_type=kind)
    assert answer.status_code == 200
    assert "webhook_url" not in answer.json()["metadata"]
    delivery = WebhookDelivery.objects.get()
    assert (str(delivery.generation_id), delivery.event, delivery.url) == (
        answer.json()["id"],
        "generation.succeeded",
        HOOK,
    )


def test_the_end_of_an_upscaling_creates_one_too(alices_program: Client, photo_png: bytes) -> None:
    fields = {"image": upload(photo_png), "model": "lanczos", "webhook_url": HOOK}
    assert alices_program.post("/api/upscale", fields).status_code == 200
    delivery = WebhookDelivery.objects.get()
    assert (delivery.event, delivery.url) == ("generation.succeeded", HOOK)


def test_an_absent_or_empty_url_creates_no_delivery(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    for changes in ({}, {"webhook_url": ""}):
        assert alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **changes)).status_code == 200
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1/", "url_not_allowed"),
        ("http://169.254.169.254/latest", "url_not_allowed"),
        ("ftp://alice.example/", "url_not_allowed"),
        ("hook", "url_not_allowed"),
        ("https://alice.example/" + "x" * 2000, "field_out_of_range"),
    ],
)
@pytest.mark.parametrize("path", ["/api/img2img", "/api/plan/"])
def test_a_forbidden_url_is_refused(
    path: str, url: str, code: str, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post(path, shape_a(photo_png, mask_png, webhook_url=url))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, "webhook_url")
    assert not Generation.objects.exists()


def test_a_url_that_is_not_text_is_refused(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    body = shape_c(photo_png, mask_png, webhook_url=7)
    answer = alices_program.post("/api/img2img", body, content_type="application/json")
    assert (answer.status_code, answer.json()["field"]) == (400, "webhook_url")


def test_running_again_uses_only_its_own_webhook_url(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    first = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, webhook_url=HOOK)).json()["id"]
    url = f"/api/generations/{first}/run-again/"
    silent = alices_program.post(url).json()["id"]
    notified = alices_program.post(url, {"webhook_url": HOOK + "/again"}).json()["id"]
    assert alices_program.post(url, {"webhook_url": "http://127.0.0.1/"}).json()["field"] == "webhook_url"
    by_generation = {str(delivery.generation_id): delivery.url for delivery in WebhookDelivery.objects.all()}
    assert by_generation == {first: HOOK, notified: HOOK + "/again"}
    assert Generation.objects.filter(pk=silent).exists()


def test_a_rerun_has_its_parent_before_its_first_event(
    alice: User, alices_program: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = generate(alice)
    parents: list[object] = []
    latest = Generation.objects.order_by("created_at")
    monkeypatch.setattr(submit, "notify_workers", lambda queue: parents.extend(latest.values_list("parent", flat=True)))
    assert alices_program.post(f"/api/generations/{parent.pk}/run-again/").status_code == 202
    assert parents == [None, parent.pk]


def test_a_parent_deleted_meanwhile_is_null(
    alice: User, alices_program: Client, generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, read = generate(alice), Generation.to_request

    def read_then_delete(generation: Generation, *args: Any) -> InpaintRequest:
        monkeypatch.setattr(Generation, "to_request", read)  # only the first read is replaced
        request = read(generation, *args)
        Generation.objects.filter(pk=generation.pk).delete()
        return request

    monkeypatch.setattr(Generation, "to_request", read_then_delete)
    assert alices_program.post(f"/api/generations/{parent.pk}/run-again/").status_code == 202
    assert Generation.objects.get().parent is None
