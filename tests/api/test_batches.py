"""`/api/batches/`: many images in one call; each is accepted, refused, run, retried and deleted on its own."""

from __future__ import annotations

import io
import json
import weakref
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pytest
from channels.db import database_sync_to_async
from django.conf import settings as site
from django.db import OperationalError, connection, connections
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.utils import timezone
from numpy.typing import NDArray
from pytest_django import Settings
from rest_framework.request import Request

from accounts.models import User
from inpainting import tasks
from inpainting.api.images import IMAGE, ImageRole, SentImage, read_image
from inpainting.api.native import batch_requests
from inpainting.core.codecs import DecodedImage, decode_image
from inpainting.core.request import InpaintRequest
from inpainting.generations import batches, submit
from inpainting.generations.delete import delete_all_of_user
from inpainting.generations.idempotency import Idempotency
from inpainting.generations.retention import sweep
from inpainting.media import archives
from inpainting.models import Batch, BatchItem, Generation, InferenceModel, Retention, UserLimits, WebhookDelivery
from inpainting.models.images import StoredImage
from tests.api.bodies import data_url, text, upload
from tests.conftest import png
from tests.support.commit_failures import lose_the_commit_reply

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

URL = "/api/batches/"
HOOK = "https://alice.example/hook"
PostBatch = Callable[..., HttpResponse]
Waits = Callable[..., Batch]


@pytest.fixture(autouse=True)
def _without_files_of_other_tests() -> None:
    """Remove the files of other tests: their rows are rolled back, their files stay and would be counted."""
    for path in files():
        path.unlink()


@pytest.fixture
def post_batch(alices_program: Client, photo_png: bytes, mask_png: bytes) -> PostBatch:
    """post_batch(images=…, masks=…, …) -> the answer to alice's form; one image and its mask by default."""

    def post(*, headers: dict[str, str] | None = None, **fields: Any) -> HttpResponse:
        form = {"images": [upload(photo_png)], "masks": [upload(mask_png)], "prompt": "", **fields}
        return cast("HttpResponse", alices_program.post(URL, form, headers=headers))

    return post


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop all notifications, so that no worker runs a generation."""
    monkeypatch.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)


def photo_uploads(count: int, name: str = "photo-{}.png") -> list[Any]:
    """Distinct 96x64 PNG uploads."""
    rng = np.random.default_rng(11)
    return [
        upload(png(rng.integers(0, 255, (64, 96, 3), np.uint8)), name=name.format(number)) for number in range(count)
    ]


def json_of(answer: HttpResponse) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.content)
    return body


def accepted_batch(answer: HttpResponse) -> Batch:
    assert answer.status_code == 202, answer.content
    return Batch.objects.get(pk=json_of(answer)["id"])


def batch_json(client: Client, batch: Batch) -> dict[str, Any]:
    return json_of(cast("HttpResponse", client.get(f"{URL}{batch.pk}/")))


def states(client: Client, batch: Batch) -> list[str]:
    return [item["status"] for item in batch_json(client, batch)["items"]]


def files() -> set[Path]:
    return {path for path in Path(site.DATA_DIR, "pictures").rglob("*") if path.is_file()}


# Accepting


def test_one_mask_serves_many_images(post_batch: PostBatch, alices_program: Client, hole: NDArray[np.uint8]) -> None:
    answer = post_batch(images=photo_uploads(3), seed="7", prompt="a lawn")
    batch, body = accepted_batch(answer), json_of(answer)
    assert (body["status"], body["url"]) == ("processing", f"{URL}{batch.pk}/")
    assert [(item["index"], item["name"]) for item in body["items"]] == [(n, f"photo-{n}.png") for n in range(3)]
    assert [item["url"] for item in body["items"]] == [f"/api/generations/{i['generation']}/" for i in body["items"]]
    found = batch_json(alices_program, batch)
    assert (found["status"], found["done"], found["total"]) == ("done", 3, 3)
    assert found["counts"] == {
        **dict.fromkeys(("queued", "running", "failed", "cancelled", "refused", "deleted"), 0),
        "succeeded": 3,
    }
    for item, sent in zip(found["items"], photo_uploads(3), strict=True):
        generation = Generation.objects.get(pk=item["generation"])
        assert (generation.settings["seed"], generation.prompt, generation.source.name) == (7, "a lawn", item["name"])
        assert np.array_equal(generation.source.read().pixels, decode_image(sent.read()).image.pixels)
        assert np.array_equal(generation.mask.read_pixels(), hole)
        assert alices_program.get(item["images"][0])["Content-Type"] == "image/png"


def test_each_mask_is_used_for_the_image_of_the_same_index(post_batch: PostBatch) -> None:
    masks = []
    for number in range(3):
        mask = np.full((64, 96), 255, np.uint8)
        mask[20:30, 10 + 20 * number : 20 + 20 * number] = 0
        masks.append(mask)
    batch = accepted_batch(post_batch(images=photo_uploads(3), masks=[upload(png(mask)) for mask in masks]))
    generations = [item.generation for item in batch.items.all() if item.generation]
    assert len({generation.settings["seed"] for generation in generations}) == 1, "a random seed holds for all"
    assert 0 not in {generation.settings["seed"] for generation in generations}
    for generation, mask in zip(generations, masks, strict=True):
        assert "seed" not in generation.requested["settings"]
        assert np.array_equal(generation.mask.read_pixels(), 255 - mask)


def test_json_takes_lists_of_base64_and_data_urls(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    body = {"images": [text(photo_png), data_url(photo_png)], "masks": [text(mask_png)], "prompt": "", "steps": 1000}
    answer = alices_program.post(URL, body, content_type="application/json")
    batch = accepted_batch(cast("HttpResponse", answer))
    assert states(alices_program, batch) == ["succeeded"] * 2
    assert all("steps was 1000" in item.generation.warnings[0] for item in batch.items.all() if item.generation)


def test_a_form_takes_base64_and_settings_in_params(post_batch: PostBatch, photo_png: bytes, mask_png: bytes) -> None:
    batch = accepted_batch(
        post_batch(images=[text(photo_png)] * 2, masks=[text(mask_png)], params=json.dumps({"prompt": "p", "seed": 3}))
    )
    assert [item.generation.settings["seed"] for item in batch.items.all() if item.generation] == [3, 3]


def test_our_own_links_are_read_from_storage(alices_program: Client, post_batch: PostBatch, mask_png: bytes) -> None:
    first = batch_json(alices_program, accepted_batch(post_batch()))["items"][0]
    body = {"images": [first["images"][0]], "masks": [text(mask_png)], "prompt": ""}
    answer = alices_program.post(URL, body, content_type="application/json")
    assert states(alices_program, accepted_batch(cast("HttpResponse", answer))) == ["succeeded"]


def test_a_batch_is_accepted_before_any_item_runs(post_batch: PostBatch, no_workers: None) -> None:
    items = json_of(post_batch(images=photo_uploads(3)))["items"]
    assert [(item["status"], item["position"], item["images"]) for item in items] == [
        ("queued", 1, []),
        ("queued", 2, []),
        ("queued", 3, []),
    ]


def test_an_image_that_cannot_be_accepted_is_refused_alone(
    post_batch: PostBatch, alices_program: Client, mask_png: bytes
) -> None:
    images = [*photo_uploads(1), upload(b"no image", name="notes.txt"), *photo_uploads(2, "more-{}.png")]
    masks = [upload(mask_png), upload(mask_png), upload(png(np.full((64, 96), 255, np.uint8))), upload(mask_png)]
    batch = accepted_batch(post_batch(images=images, masks=masks))
    found = batch_json(alices_program, batch)
    assert [item["status"] for item in found["items"]] == ["succeeded", "refused", "refused", "succeeded"]
    broken, empty = found["items"][1:3]
    assert (broken["generation"], broken["url"], broken["name"]) == (None, None, "notes.txt")
    assert (broken["error"]["code"], broken["error"]["field"]) == ("image_type_unsupported", "images[1]")
    assert broken["error"]["message"].startswith("Invalid input image")
    assert (empty["error"]["code"], found["counts"]["refused"]) == ("mask_empty", 2)
    assert "sentences" not in empty["error"]
    german = alices_program.get(f"{URL}{batch.pk}/", headers={"accept-language": "de"}).json()["items"]
    assert german[1]["error"]["message"].startswith("Invalid input image: Bild: Die Datei ist eine Textdatei")
    assert german[2]["error"]["message"].startswith("Nichts zu malen: Die Maske")
    assert Generation.objects.count() == 2


def test_a_broken_mask_refuses_only_its_own_image(
    post_batch: PostBatch, alices_program: Client, mask_png: bytes
) -> None:
    batch = accepted_batch(post_batch(images=photo_uploads(2), masks=[upload(b"none"), upload(mask_png)]))
    first = batch_json(alices_program, batch)["items"][0]
    assert (first["status"], first["error"]["field"]) == ("refused", "masks[0]")


def test_a_batch_without_any_valid_image_stores_nothing(post_batch: PostBatch) -> None:
    before = files()
    answer = post_batch(images=[upload(b"a"), upload(b"b")], headers={"Idempotency-Key": "one"})
    assert (answer.status_code, json_of(answer)["field"]) == (400, "images[0]")
    assert not Batch.objects.exists()
    assert files() == before
    assert post_batch(headers={"Idempotency-Key": "one"}).status_code == 202  # the key is still free


def test_a_model_that_edits_by_words_needs_no_masks_and_takes_shared_reference_images(
    alices_program: Client, diffusion_requests: list[InpaintRequest]
) -> None:
    scheduler = "FlowMatchEulerDiscreteScheduler"
    InferenceModel.objects.filter(slug="tiny").update(family="flux2-klein", scheduler=scheduler)
    look = np.full((70, 90, 3), 9, np.uint8)
    fields = {"prompt": "make it winter", "reference_image_2": upload(png(look))}
    answer = alices_program.post(URL, {"images": photo_uploads(2), **fields})
    assert answer.status_code == 202, answer.content
    assert [request.mask.all() for request in diffusion_requests] == [True, True]
    for request in diffusion_requests:
        assert np.array_equal(request.conditioning_images["reference_image_2"].pixels, look)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"images": []}, {"code": "field_missing", "field": "images"}),
        ({"masks": []}, {"code": "mask_required", "field": "masks"}),
        ({"masks": [b"m"] * 2}, {"field": "masks", "limit": 3, "actual": 2}),
        ({"masks": [b"m"]}, {"code": "mask_type_unsupported", "field": "masks[0]"}),
        ({"steps": "0"}, {"code": "field_out_of_range", "field": "steps", "limit": 1, "actual": 0}),
        ({"engine": "none"}, {"field": "engine"}),
        ({"webhook_url": "http://127.0.0.1/"}, {"code": "url_not_allowed", "field": "webhook_url"}),
        ({"params": "["}, {"field": "params"}),
        ({"images": ["text", b"file"]}, {"code": "field_invalid", "field": "images"}),
    ],
    ids=lambda value: ",".join(value),
)
def test_an_error_that_affects_all_images_refuses_the_call(
    post_batch: PostBatch, fields: dict[str, Any], problem: dict[str, Any]
) -> None:
    for name in ("images", "masks"):
        if name in fields:
            fields[name] = [upload(part) if isinstance(part, bytes) else part for part in fields[name]]
    before = files()
    answer = post_batch(**{"images": photo_uploads(3), **fields})
    assert answer.status_code == 400, answer.content
    assert problem.items() <= json_of(answer).items()
    assert not Batch.objects.exists()
    assert files() == before


@pytest.mark.parametrize("images", ["text", {"a": 1}, 7, [7], [None, 7], []])
def test_json_that_lists_no_images_is_refused(alices_program: Client, mask_png: bytes, images: Any) -> None:
    body = {"images": images, "masks": [text(mask_png)], "prompt": ""}
    answer = alices_program.post(URL, body, content_type="application/json")
    assert (answer.status_code, answer.json()["field"].partition("[")[0]) == (400, "images")


def test_a_batch_with_too_many_images_is_refused(post_batch: PostBatch, settings: Settings) -> None:
    settings.BATCH_MAX_ITEMS = 2
    assert post_batch(images=photo_uploads(2)).status_code == 202
    answer = post_batch(images=photo_uploads(3))
    problem = {"code": "field_out_of_range", "field": "images", "limit": 2, "actual": 3}
    assert answer.status_code == 400
    assert problem.items() <= json_of(answer).items()


def test_a_batch_may_have_the_maximum_number_of_images(
    post_batch: PostBatch, alices_program: Client, mask_png: bytes, no_workers: None
) -> None:
    most = site.BATCH_MAX_ITEMS
    batch = accepted_batch(post_batch(images=photo_uploads(most), masks=[upload(mask_png) for _ in range(most)]))
    assert batch_json(alices_program, batch)["counts"]["queued"] == most


def test_a_body_with_too_many_parts_is_refused(post_batch: PostBatch, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 5
    answer = post_batch(images=photo_uploads(9))
    assert (answer.status_code, json_of(answer)["code"], json_of(answer)["limit"]) == (400, "body_too_many_parts", 5)


def test_a_limit_reached_within_a_batch_refuses_the_remaining_images(
    post_batch: PostBatch, alice: User, alices_program: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    UserLimits.objects.create(user=alice, per_day=2)
    before = files()
    found = batch_json(alices_program, accepted_batch(post_batch(images=photo_uploads(4))))
    assert [item["status"] for item in found["items"]] == ["succeeded", "succeeded", "refused", "refused"]
    error = found["items"][3]["error"]
    assert (error["code"], error["limit"], error["actual"]) == ("quota_exceeded", 2, 2)
    assert len(files() - before) == 2 * 5  # refused images leave no file

    def read_no_image(sent: SentImage, role: ImageRole, request: Request) -> DecodedImage:
        assert role is not IMAGE, "an image was read although the quota was exhausted"
        return read_image(sent, role, request)

    monkeypatch.setattr(batch_requests, "read_image", read_no_image)
    answer = post_batch(images=photo_uploads(2))
    assert (answer.status_code, json_of(answer)["code"]) == (429, "quota_exceeded")
    assert int(answer["Retry-After"]) > 0
    assert Batch.objects.count() == 1


def test_a_full_disk_leaves_no_rows_or_files(post_batch: PostBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    before, prepared, count = files(), submit.prepare_generation, iter(range(9))

    def full(*args: Any, **kwargs: Any) -> Generation:
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        return prepared(*args, **kwargs)

    monkeypatch.setattr(batches, "prepare_generation", full)
    answer = post_batch(images=photo_uploads(3))
    assert (answer.status_code, json_of(answer)["code"]) == (507, "storage_full")
    assert files() == before
    assert not Batch.objects.exists()


def test_refused_images_are_freed_before_the_next_is_read(
    post_batch: PostBatch, mask_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[Any]] = []
    in_memory: list[int] = []

    def watched(sent: SentImage, role: ImageRole, request: Request) -> DecodedImage:
        if role is not IMAGE:
            return read_image(sent, role, request)
        in_memory.append(sum(image() is not None for image in seen))
        image = read_image(sent, role, request)
        seen.append(weakref.ref(image.image.pixels))
        return image

    monkeypatch.setattr(batch_requests, "read_image", watched)
    kept = png(np.full((64, 96), 255, np.uint8))
    masks = [upload(kept), upload(b"none"), upload(kept), upload(mask_png), upload(mask_png)]
    accepted_batch(post_batch(images=photo_uploads(5), masks=masks))
    assert in_memory == [0] * 5


def test_a_limit_followed_by_a_failed_commit_stores_nothing(
    post_batch: PostBatch, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    UserLimits.objects.create(user=alice, per_day=1)
    before = files()

    def locked(*_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(Idempotency, "remember_batch", locked)
    answer = post_batch(images=photo_uploads(3), headers={"Idempotency-Key": "one"})
    assert (answer.status_code, json_of(answer)["code"]) == (503, "try_again")
    assert files() == before


def test_a_commit_whose_answer_is_lost_keeps_the_accepted_images(
    post_batch: PostBatch, alice: User, no_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    UserLimits.objects.create(user=alice, per_day=2)
    before, remember = files(), Idempotency.remember_batch

    def remember_and_lose_the_reply(self: Idempotency, batch: Batch) -> None:
        remember(self, batch)
        lose_the_commit_reply()

    monkeypatch.setattr(Idempotency, "remember_batch", remember_and_lose_the_reply)
    headers = {"Idempotency-Key": "one"}
    assert post_batch(images=photo_uploads(3), headers=headers).status_code == 503
    assert len(files() - before) == 2 * 2  # source and mask
    for generation in Generation.objects.all():
        assert generation.to_request().mask.any()


def test_a_concurrent_retry_with_a_bad_first_image_gets_the_same_batch(
    post_batch: PostBatch, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    UserLimits.objects.create(user=alice, per_day=1)
    headers, earlier, looks = {"Idempotency-Key": "one"}, Idempotency.earlier_batch, iter([True])

    def too_early(self: Idempotency, owner: User) -> Batch | None:
        return None if next(looks, False) else earlier(self, owner)

    images = [b"none", photo_uploads(1)[0].read()]
    first = accepted_batch(post_batch(images=[upload(image) for image in images], headers=headers))
    monkeypatch.setattr(Idempotency, "earlier_batch", too_early)
    assert accepted_batch(post_batch(images=[upload(image) for image in images], headers=headers)) == first


def test_each_item_sends_a_webhook_when_it_ends(post_batch: PostBatch) -> None:
    batch = accepted_batch(post_batch(images=photo_uploads(2), webhook_url=HOOK))
    deliveries = WebhookDelivery.objects.values_list("generation", "url").order_by("id")
    assert sorted(deliveries) == sorted((item.generation_id, HOOK) for item in batch.items.all())


def test_the_same_key_and_body_are_the_same_batch(post_batch: PostBatch, alices_program: Client) -> None:
    headers = {"Idempotency-Key": "one"}
    first, again = (json_of(post_batch(images=photo_uploads(2), headers=headers)) for _ in "ab")
    assert first["id"] == again["id"]
    assert Generation.objects.count() == 2
    answer = post_batch(images=photo_uploads(3), headers=headers)
    assert (answer.status_code, json_of(answer)["code"]) == (422, "idempotency_key_reused")
    swapped = post_batch(images=photo_uploads(2)[::-1], headers=headers)
    assert swapped.status_code == 422
    single = {"image": photo_uploads(1)[0], "mask": upload(b""), "prompt": ""}
    assert alices_program.post("/api/img2img", single, headers=headers).status_code == 422


def test_parallel_calls_with_one_key_make_one_batch(
    alices_key: str, photo_png: bytes, mask_png: bytes, no_workers: None
) -> None:
    before = files()

    def call(_: int) -> str:
        try:
            form = {"images": [upload(photo_png)], "masks": [upload(mask_png)], "prompt": "", "seed": "1"}
            headers = {"X-API-Key": alices_key, "Idempotency-Key": "one"}
            answer = cast("HttpResponse", Client().post(URL, form, headers=headers))
            return str(json_of(answer)["id"])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(call, range(8)))
    assert ids == {str(Batch.objects.get().pk)}
    assert Generation.objects.count() == 1
    assert len(files() - before) == 2  # source and mask


# Listing


def test_the_list_is_paginated_and_has_only_the_users_batches(
    post_batch: PostBatch, alices_program: Client, bobs_program: Client
) -> None:
    every = [str(accepted_batch(post_batch(images=photo_uploads(2))).pk) for _ in range(3)][::-1]
    url: str | None = URL + "?page_size=2"
    seen = []
    while url:
        page = alices_program.get(url).json()
        assert page["count"] == 3
        seen += page["results"]
        url = page["next"]
    assert [batch["id"] for batch in seen] == every
    assert [(batch["done"], batch["total"], batch["status"]) for batch in seen] == [(2, 2, "done")] * 3
    assert bobs_program.get(URL).json()["count"] == 0
    assert alices_program.get(URL + "?page=9").status_code == 404
    assert alices_program.get(URL + "?page_size=0").status_code == 400


def test_a_batch_counts_its_items_by_state(post_batch: PostBatch, alices_program: Client, no_workers: None) -> None:
    batch = accepted_batch(post_batch(images=[*photo_uploads(5), upload(b"none")]))
    succeeded, failed, cancelled, running, _ = (item.generation for item in batch.items.all()[:5])
    for generation in (succeeded, failed, running):
        assert generation is not None
        assert generation.start()
    assert succeeded is not None
    assert succeeded.succeed([])
    assert failed is not None
    assert failed.fail(code="engine_failed", message="It broke.")
    assert cancelled is not None
    assert cancelled.cancel()
    found = batch_json(alices_program, batch)
    counts = {"queued": 1, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 1, "refused": 1, "deleted": 0}
    assert found["counts"] == counts
    assert (found["done"], found["total"], found["status"]) == (4, 6, "processing")
    assert found["items"][1]["error"] == {"message": "It broke.", "code": "engine_failed"}
    assert [item["position"] for item in found["items"]] == [None, None, None, None, 1, None]
    assert alices_program.get(URL).json()["results"][0]["counts"] == counts


def test_the_item_of_a_deleted_generation_is_listed_as_deleted(post_batch: PostBatch, alices_program: Client) -> None:
    batch = accepted_batch(post_batch(images=photo_uploads(2)))
    gone = batch_json(alices_program, batch)["items"][0]
    assert alices_program.delete(gone["url"]).status_code == 204
    found = batch_json(alices_program, batch)
    assert [item["status"] for item in found["items"]] == ["deleted", "succeeded"]
    assert (found["items"][0]["generation"], found["counts"]["deleted"], found["done"]) == (None, 1, 2)


# Cancelling and retrying


def test_cancelling_stops_only_queued_and_running_items(
    post_batch: PostBatch, alices_program: Client, no_workers: None
) -> None:
    other, batch = accepted_batch(post_batch()), accepted_batch(post_batch(images=photo_uploads(3)))
    running = batch.items.all()[1].generation
    assert running is not None
    assert running.start()
    answer = alices_program.post(f"{URL}{batch.pk}/cancel/")
    assert (answer.status_code, answer.json()["counts"]["cancelled"]) == (200, 2)
    assert not running.advance(1, 2)
    assert running.end_cancelled()
    again = alices_program.post(f"{URL}{batch.pk}/cancel/")
    assert (again.status_code, again.json()["code"]) == (409, "already_ended")
    assert states(alices_program, other) == ["queued"]


@pytest.fixture
def mixed_batch(post_batch: PostBatch, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch with one succeeded, one failed, one cancelled and one refused item."""
    with monkeypatch.context() as patched:
        patched.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)
        batch = accepted_batch(post_batch(images=[*photo_uploads(3), upload(b"none")], seed="4", webhook_url=HOOK))
        succeeded, failed, cancelled, _ = (item.generation for item in batch.items.all())
        assert succeeded is not None
        assert succeeded.start()
        assert succeeded.succeed([])
        assert failed is not None
        assert failed.start()
        assert failed.fail(code="engine_failed", message="It broke.")
        assert cancelled is not None
        assert cancelled.cancel()
    return batch


def test_only_failed_and_cancelled_items_are_retried(mixed_batch: Batch, alices_program: Client) -> None:
    before = [item.generation for item in mixed_batch.items.all()]
    answer = alices_program.post(f"{URL}{mixed_batch.pk}/retry/")
    assert answer.status_code == 202
    body = answer.json()
    assert body["retried"] == [1, 2]
    (refused,) = body["not_retried"]
    assert (refused["index"], refused["code"]) == (3, "new_picture_needed")
    after = [item.generation for item in mixed_batch.items.all()]
    assert after[0] == before[0]
    for former, again in zip(before[1:3], after[1:3], strict=True):
        assert former is not None
        assert again is not None
        assert (again.parent, again.settings, again.source.name) == (former, former.settings, former.source.name)
        assert (again.source, again.mask, again.warnings) == (former.source, former.mask, former.warnings)
        # The retry keeps the webhook URL of the original request.
        assert WebhookDelivery.objects.filter(generation=again, url=HOOK).exists()
    assert states(alices_program, mixed_batch) == ["succeeded", "succeeded", "succeeded", "refused"]
    second_retry = alices_program.post(f"{URL}{mixed_batch.pk}/retry/")
    assert (second_retry.status_code, second_retry.json()["code"]) == (409, "nothing_to_retry")
    assert "in a new batch" in second_retry.json()["message"]


def test_parallel_retries_run_each_item_once(mixed_batch: Batch, alices_key: str, no_workers: None) -> None:
    before = files()

    def call(_: int) -> int:
        try:
            return Client(headers={"X-API-Key": alices_key}).post(f"{URL}{mixed_batch.pk}/retry/").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(threads.map(call, range(6)))
    assert statuses == [202, 409, 409, 409, 409, 409]
    assert Generation.objects.count() == 3 + 2
    assert files() == before  # both generations share their files


def test_a_retry_reads_and_writes_no_image_file(
    mixed_batch: Batch, alices_program: Client, no_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("an image was read or written")

    for name in ("read", "write"):
        monkeypatch.setattr(StoredImage, name, unwanted)
    assert alices_program.post(f"{URL}{mixed_batch.pk}/retry/").json()["retried"] == [1, 2]


def test_a_retried_item_keeps_its_images_when_the_first_attempt_is_deleted(
    mixed_batch: Batch, alices_program: Client
) -> None:
    former = mixed_batch.items.all()[1].generation
    assert former is not None
    assert alices_program.post(f"{URL}{mixed_batch.pk}/retry/").status_code == 202
    assert alices_program.delete(f"/api/generations/{former.pk}/").status_code == 204
    again = mixed_batch.items.all()[1].generation
    assert again is not None
    assert again.to_request().mask.any()


def test_a_retry_with_an_unknown_engine_is_refused(mixed_batch: Batch, alices_program: Client) -> None:
    Generation.objects.update(engine="gone")
    answer = alices_program.post(f"{URL}{mixed_batch.pk}/retry/")
    assert (answer.status_code, answer.json()["code"]) == (400, "engine_not_found")


def test_a_retry_without_an_installed_safety_checker_is_refused(
    mixed_batch: Batch, alices_program: Client, settings: Settings
) -> None:
    settings.SAFETY_CHECKER = "blur"
    answer = alices_program.post(f"{URL}{mixed_batch.pk}/retry/")
    assert (answer.status_code, answer.json()["code"]) == (400, "safety_checker_unavailable")
    assert states(alices_program, mixed_batch)[1:3] == ["failed", "cancelled"]


def test_a_retry_over_a_limit_lists_the_items_that_were_not_retried(
    mixed_batch: Batch, alice: User, alices_program: Client
) -> None:
    UserLimits.objects.create(user=alice, per_day=4)
    body = alices_program.post(f"{URL}{mixed_batch.pk}/retry/").json()
    assert body["retried"] == [1]
    assert [(item["index"], item["code"]) for item in body["not_retried"]] == [
        (2, "quota_exceeded"),
        (3, "new_picture_needed"),
    ]
    assert states(alices_program, mixed_batch)[2] == "cancelled"
    answer = alices_program.post(f"{URL}{mixed_batch.pk}/retry/")
    assert (answer.status_code, answer.json()["code"]) == (429, "quota_exceeded")


def test_an_item_without_its_image_file_is_not_retried(mixed_batch: Batch, alices_program: Client) -> None:
    failed = mixed_batch.items.all()[1].generation
    assert failed is not None
    Path(failed.source.file.path).unlink()
    body = alices_program.post(f"{URL}{mixed_batch.pk}/retry/").json()
    assert (body["retried"], body["not_retried"][0]["code"]) == ([2], "image_gone")


# Downloading


def archive_of(client: Client, batch: Batch) -> zipfile.ZipFile:
    answer = cast("Any", client.get(f"{URL}{batch.pk}/results.zip"))
    assert answer.status_code == 200
    assert answer.streaming
    assert answer["Content-Type"] == "application/zip"
    assert answer["Cache-Control"] == "private, no-store"
    assert answer["Content-Disposition"] == f'attachment; filename="dreamlayer-batch-{str(batch.pk)[:8]}.zip"'
    return zipfile.ZipFile(io.BytesIO(answer.getvalue()))


def test_the_archive_has_unchanged_results_and_a_manifest(post_batch: PostBatch, alices_program: Client) -> None:
    images = [*photo_uploads(2, "holiday.jpg"), upload(b"none"), *photo_uploads(1)]
    batch = accepted_batch(post_batch(images=images))
    archive = archive_of(alices_program, batch)
    assert archive.testzip() is None
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert {entry.flag_bits & 8 for entry in archive.infolist()} == {0}  # sizes are in the local headers
    generations = [item.generation for item in batch.items.all() if item.generation]
    stored = [image.file for generation in generations for image in generation.images.all()]
    names = [name for name in archive.namelist() if name != "manifest.json"]
    assert names == ["holiday.png", "holiday-2.png", "photo-0.png"]
    for name, file in zip(names, stored, strict=True):
        assert archive.read(name) == Path(file.path).read_bytes()
    manifest = json.loads(archive.read("manifest.json"))
    assert [file["file"] for file in manifest["files"]] == names
    assert manifest["items"][2]["status"] == "refused"
    assert datetime.fromisoformat(manifest["created_at"]) - batch.created_at < timedelta(milliseconds=1)
    assert {UUID(file["generation"]) for file in manifest["files"]} == {generation.pk for generation in generations}


def test_archive_names_are_safe_and_unique() -> None:
    names = archives.ArchiveNames("manifest.json")
    wanted = [
        "../../etc/passwd",
        "C:\\a\\b.png",
        "b.PNG",
        "B.gif",
        "con.png",
        "..",
        "",
        "Ünï ©.jpg",
        "manifest.json",
        "x" * 300,
        "\u4f60" * 300,  # of three bytes each
        "--help.png",
        "com\u00b9.png",
    ]
    got = [names.unique(name, fallback="image-001", extension="png") for name in wanted]
    assert got == [
        *("passwd.png", "b.png", "b-2.png", "B-3.png", "_con.png", "image-001.png", "image-001-2.png"),
        *("Ünï _.png", "manifest.png", "x" * 80 + ".png"),
        *("\u4f60" * 66 + ".png", "help.png", "_com\u00b9.png"),
    ]


def test_an_archive_without_results_is_refused(post_batch: PostBatch, alices_program: Client, no_workers: None) -> None:
    batch = accepted_batch(post_batch())
    assert batch_json(alices_program, batch)["results"] is None
    answer = alices_program.get(f"{URL}{batch.pk}/results.zip")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_succeeded")


def test_a_result_with_a_missing_file_is_left_out_and_named_in_the_manifest(
    post_batch: PostBatch, alices_program: Client
) -> None:
    batch = accepted_batch(post_batch(images=photo_uploads(2)))
    first = batch.items.all()[0].generation
    assert first is not None
    Path(first.images.get().file.path).unlink()
    archive = archive_of(alices_program, batch)
    assert archive.namelist() == ["photo-1.png", "manifest.json"]
    assert [file["file"] for file in json.loads(archive.read("manifest.json"))["files"]] == [None, "photo-1.png"]


def test_the_archive_holds_at_most_one_result_in_memory(post_batch: PostBatch, alices_program: Client) -> None:
    batch = accepted_batch(post_batch(images=photo_uploads(3)))
    url = f"{URL}{batch.pk}/results.zip"
    chunks = list(cast("Any", alices_program.get(url)).streaming_content)
    sizes = [generation.images.get().byte_count for generation in Generation.objects.all()]
    assert len(chunks) == 4
    assert max(len(chunk) for chunk in chunks[:3]) < max(sizes) + 200


async def test_the_archive_is_streamed_under_asgi(post_batch: PostBatch, alices_key: str) -> None:
    batch = await database_sync_to_async(lambda: accepted_batch(post_batch(images=photo_uploads(2))))()
    url, headers = f"{URL}{batch.pk}/results.zip", {"X-API-Key": alices_key}
    answer: Any = await AsyncClient().get(url, headers=headers)
    assert answer.status_code == 200, answer.content
    chunks = [chunk async for chunk in answer]
    await database_sync_to_async(connections.close_all)()  # connections of the view's thread, which lives on
    assert len(chunks) == 3
    archive = zipfile.ZipFile(io.BytesIO(b"".join(chunks)))
    assert archive.namelist() == ["photo-0.png", "photo-1.png", "manifest.json"]
    assert archive.testzip() is None


# Deleting


def test_deleting_a_batch_removes_its_rows_and_files(
    mixed_batch: Batch, post_batch: PostBatch, alices_program: Client
) -> None:
    before = files()
    kept = accepted_batch(post_batch())
    after = files()
    assert alices_program.post(f"{URL}{mixed_batch.pk}/retry/").status_code == 202
    assert Generation.objects.count() == 6
    answer = alices_program.delete(f"{URL}{mixed_batch.pk}/")
    assert (answer.status_code, answer.content) == (204, b"")
    assert list(Batch.objects.all()) == [kept]
    assert Generation.objects.count() == 1
    assert files() == after - before
    assert alices_program.get(f"{URL}{mixed_batch.pk}/").status_code == 404


def test_a_running_item_is_cancelled_before_the_batch_is_deleted(
    post_batch: PostBatch, alices_program: Client, no_workers: None
) -> None:
    batch = accepted_batch(post_batch(images=photo_uploads(2)))
    running = batch.items.all()[0].generation
    assert running is not None
    assert running.start()
    answer = alices_program.delete(f"{URL}{batch.pk}/")
    assert (answer.status_code, answer.json()["code"]) == (409, "still_running")
    assert BatchItem.objects.filter(generation__isnull=False).count() == 2
    assert running.end_cancelled()
    assert alices_program.delete(f"{URL}{batch.pk}/").status_code == 204
    assert not Generation.objects.exists()


def test_retention_removes_expired_generations_and_their_batch(post_batch: PostBatch, alice: User) -> None:
    old, young = accepted_batch(post_batch()), accepted_batch(post_batch())
    long_ago = timezone.now() - timedelta(days=9)
    Batch.objects.filter(pk=old.pk).update(created_at=long_ago)
    Generation.objects.filter(batch_item__batch=old).update(created_at=long_ago, finished_at=long_ago)
    Retention.set(alice, 7)
    assert sweep(timezone.now())
    assert list(Batch.objects.all()) == [young]


def test_deleting_a_user_removes_their_batches(post_batch: PostBatch, alice: User) -> None:
    accepted_batch(post_batch())
    delete_all_of_user(alice)
    assert not Batch.objects.exists()
    assert not BatchItem.objects.exists()


def test_another_users_batch_is_a_404(post_batch: PostBatch, bobs_program: Client) -> None:
    url = f"{URL}{accepted_batch(post_batch()).pk}/"
    answers = [
        bobs_program.get(url),
        bobs_program.delete(url),
        bobs_program.post(url + "cancel/"),
        bobs_program.post(url + "retry/"),
        bobs_program.get(url + "results.zip"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert Batch.objects.exists()
