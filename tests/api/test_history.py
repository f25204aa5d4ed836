"""The history (list, delete, run again), the engines and models, the usage and plans of images."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from django.conf import settings
from django.test import Client
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone
from numpy.typing import NDArray

from accounts.models import User
from dreamlayer_site.server.body_limit import max_body_bytes
from inpainting import families
from inpainting.api.native.schemas import batches as batch_schemas
from inpainting.catalog.shipped import SHIPPED
from inpainting.core.codecs import decode_image
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.models import Batch, GeneratedImage, Generation, Mask, SourceImage, Status, UserLimits
from inpainting.worker.run_time_estimates import Positions
from tests.api.bodies import shape_a, shape_c

pytestmark = pytest.mark.django_db(transaction=True)

Generate = Callable[..., Generation]


@pytest.fixture
def queued(photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> Callable[..., Generation]:
    """queued(owner) -> a queued generation of which no worker was notified."""

    def make(owner: User, prompt: str = "") -> Generation:
        request = InpaintRequest(CanonicalImage(photo), hole, PaintSettings(prompt=prompt, seed=5))
        generation = Generation.from_request(request, owner=owner, engine="quick-fill")
        generation.save_new()
        return generation

    return make


def found(client: Client, **query: Any) -> list[str]:
    return [result["id"] for result in client.get("/api/generations/", query).json()["results"]]


def test_the_list_has_only_the_users_generations_newest_first(
    alice: User, bob: User, alices_program: Client, bobs_program: Client, generate: Generate
) -> None:
    older, newer, theirs = generate(alice), generate(alice), generate(bob)
    assert found(alices_program) == [str(newer.pk), str(older.pk)]
    assert found(bobs_program) == [str(theirs.pk)]
    assert Client().get("/api/generations/").status_code == 401


def test_the_list_can_be_filtered(alice: User, alices_program: Client, generate: Generate, queued: Generate) -> None:
    lawn, path = generate(alice, prompt="A green lawn"), queued(alice, "a stone path")
    week = timezone.now() - timedelta(days=7)
    Generation.objects.filter(pk=path.pk).update(created_at=week)
    assert found(alices_program, status="succeeded") == [str(lawn.pk)]
    assert found(alices_program, status="queued") == [str(path.pk)]
    assert found(alices_program, engine="quick-fill") == [str(lawn.pk), str(path.pk)]
    assert found(alices_program, engine="none") == []
    Generation.objects.filter(pk=path.pk).update(service="toy")
    assert found(alices_program, service="native") == [str(lawn.pk)]
    assert found(alices_program, service="toy") == [str(path.pk)]
    assert found(alices_program, prompt="LAWN green") == [str(lawn.pk)]
    assert found(alices_program, prompt="green path") == []
    assert found(alices_program, prompt=" \N{NO-BREAK SPACE}") == found(alices_program)  # no words
    assert found(alices_program, prompt="%") == []
    day_ago = (timezone.now() - timedelta(days=1)).isoformat()
    assert found(alices_program, created_after=day_ago) == [str(lawn.pk)]
    assert found(alices_program, created_before=day_ago) == [str(path.pk)]


def test_the_list_is_paginated_with_links(
    alice: User, alices_program: Client, generate: Generate, queued: Generate
) -> None:
    every = [str(queued(alice).pk) for _ in range(5)][::-1]
    url: str | None = "/api/generations/?page_size=2&status=queued"
    seen, counts = [], set()
    while url:
        page = alices_program.get(url).json()
        seen += [result["id"] for result in page["results"]]
        counts.add(page["count"])
        url = page["next"]
    assert (seen, counts) == (every, {5})
    assert "page=2" in page["previous"]
    assert "status=queued" in page["previous"]
    assert alices_program.get("/api/generations/?page=2").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "sleeping"}, "status"),
        ({"page": "0"}, "page"),
        ({"page": str(10**30)}, "page"),
        ({"page_size": "101"}, "page_size"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "0001-01-01T00:00:00+14:00"}, "created_before"),
        ({"prompt": "a\x00"}, "prompt"),
        ({"prompt": "x" * 301}, "prompt"),
    ],
)
def test_an_invalid_filter_is_refused(alices_program: Client, query: dict[str, str], field: str) -> None:
    answer = alices_program.get("/api/generations/", query)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def files() -> set[Path]:
    return {path for path in Path(settings.DATA_DIR, "pictures").rglob("*") if path.is_file()}


def test_deleting_removes_rows_and_files(alice: User, alices_program: Client, generate: Generate) -> None:
    kept = generate(alice)
    before = files()
    gone = generate(alice)
    url = f"/api/generations/{gone.pk}/"
    assert len(files() - before) == 5  # source, mask, result and two thumbnails
    answer = alices_program.delete(url)
    assert (answer.status_code, answer.content) == (204, b"")
    assert files() == before
    for model in (Generation, SourceImage, Mask, GeneratedImage):
        assert model._default_manager.count() == 1
    assert alices_program.delete(url).status_code == alices_program.get(url).status_code == 404
    assert alices_program.get(f"/api/generations/{kept.pk}/images/0/").status_code == 200


def test_a_queued_generation_is_cancelled_and_deleted(
    alice: User, alices_program: Client, generate: Generate, queued: Generate
) -> None:
    waiting = queued(alice)
    assert alices_program.delete(f"/api/generations/{waiting.pk}/").status_code == 204
    assert not SourceImage.objects.exists()


def test_a_running_generation_is_cancelled_and_can_be_deleted_once_it_has_ended(
    alice: User, alices_program: Client, generate: Generate, queued: Generate
) -> None:
    running = queued(alice)
    running.start()
    answer = alices_program.delete(f"/api/generations/{running.pk}/")
    assert (answer.status_code, answer.json()["code"]) == (409, "still_running")
    assert not running.advance(1, 2)
    assert running.end_cancelled()
    assert alices_program.delete(f"/api/generations/{running.pk}/").status_code == 204


def test_a_generation_runs_again_with_changes(alice: User, alices_program: Client, generate: Generate) -> None:
    parent = generate(alice, prompt="a lawn", seed=5)
    url = f"/api/generations/{parent.pk}/"
    answer = alices_program.post(
        url + "run-again/", {"prompt": "a path", "mask_grow": 2}, content_type="application/json"
    )
    assert answer.status_code == 202
    child = alices_program.get(answer.json()["url"]).json()
    assert (child["status"], child["parent"]) == ("succeeded", str(parent.pk))
    assert (child["metadata"]["prompt"], child["metadata"]["mask_grow"], child["metadata"]["seed"]) == ("a path", 2, 5)
    assert alices_program.get(url).json()["children"] == [child["id"]]
    assert alices_program.delete(url).status_code == 204
    orphan = alices_program.get(answer.json()["url"]).json()
    assert (orphan["parent"], alices_program.get(orphan["source"]).status_code) == (None, 200)


def test_stored_settings_that_are_now_invalid_are_still_listed(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    strange, plain = generate(alice), generate(alice)
    settings = {**strange.settings, "guidance_scale": 0.5}
    Generation.objects.filter(pk=strange.pk).update(
        settings=settings, requested={"engine": "auto", "settings": settings}
    )
    rows = alices_program.get("/api/generations/").json()["results"]
    assert [row["id"] for row in rows] == [str(plain.pk), str(strange.pk)]
    assert rows[1]["metadata"]["guidance_scale"] == rows[1]["metadata"]["requested"]["guidance_scale"] == 0.5
    url = f"/api/generations/{strange.pk}/run-again/"
    answer = alices_program.post(url)
    assert (answer.status_code, answer.json()["field"], answer.json()["actual"]) == (400, "guidance_scale", 0.5)
    assert alices_program.post(url, {"guidance_scale": "7"}).status_code == 202

    requested = {"engine": "auto", "settings": {**settings, "of_another_version": 1}}
    Generation.objects.filter(pk=strange.pk).update(settings=requested["settings"], requested=requested)
    rows = alices_program.get(f"/api/generations/{strange.pk}/").json()
    assert rows["metadata"]["requested"]["of_another_version"] == 1
    answer = alices_program.post(url)
    assert (answer.status_code, answer.json()["field"]) == (400, "of_another_version")


def test_running_again_without_changes_gives_the_same_result(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    parent = generate(alice, seed=5)
    again = alices_program.post(f"/api/generations/{parent.pk}/run-again/").json()
    assert again["id"] != str(parent.pk)
    assert Generation.objects.get(pk=again["id"]).images.get().sha256 == parent.images.get().sha256
    other = alices_program.post(f"/api/generations/{parent.pk}/run-again/", {"seed": "-1"}).json()
    assert Generation.objects.get(pk=other["id"]).settings["seed"] != 5


def test_running_again_draws_a_new_seed_unless_one_was_requested(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    first = alices_program.post("/api/img2img", shape_a(photo_png, mask_png)).json()
    assert first["metadata"]["requested"] == {"engine": "auto", "prompt": "a stone path"}
    again = alices_program.post(f"/api/generations/{first['id']}/run-again/").json()
    child = alices_program.get(again["url"]).json()
    assert child["metadata"]["requested"] == first["metadata"]["requested"]
    assert 0 != child["metadata"]["seed"] != first["metadata"]["seed"] != 0
    assert child["metadata"]["denoising_strength"] == 0.75


def test_running_again_refuses_unknown_fields_and_honours_idempotency_keys(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    first, second = generate(alice), generate(alice)
    answer = alices_program.post(f"/api/generations/{first.pk}/run-again/", {"steps": "0"})
    assert (answer.status_code, answer.json()["field"]) == (400, "steps")
    headers = {"Idempotency-Key": "again"}
    ids = {alices_program.post(f"/api/generations/{first.pk}/run-again/", headers=headers).json()["id"] for _ in "ab"}
    assert len(ids) == 1
    assert alices_program.post(f"/api/generations/{second.pk}/run-again/", headers=headers).status_code == 422
    url = f"/api/generations/{first.pk}/run-again/"
    assert alices_program.post(url, {"steps": ""}, headers=headers).status_code == 422


def test_running_again_without_the_source_file_is_refused(
    alice: User, alices_program: Client, generate: Generate
) -> None:
    parent = generate(alice)
    Path(settings.DATA_DIR, "pictures", str(parent.mask.file.name)).unlink()
    answer = alices_program.post(f"/api/generations/{parent.pk}/run-again/")
    assert (answer.status_code, answer.json()["code"]) == (400, "image_gone")


@pytest.mark.parametrize("slash", ["", "/"])
def test_interrupting_stops_only_the_callers_newest_generation(
    alice: User, bob: User, alices_program: Client, generate: Generate, queued: Generate, slash: str
) -> None:
    ended, older, newer, theirs = generate(alice), *(queued(owner) for owner in (alice, alice, bob))
    newer.start()
    url = "/api/img2img/interrupt" + slash
    for _ in range(2):  # the newest first, then the remaining one
        answer = alices_program.post(url, {}, content_type="application/json")
        assert (answer.status_code, answer.json()) == (200, {"status": "received"})
        assert not newer.advance(1, 2)
    states = [Generation.objects.get(pk=generation.pk).status for generation in (ended, older, newer, theirs)]
    assert states == [Status.SUCCEEDED, Status.CANCELLED, Status.RUNNING, Status.QUEUED]
    assert alices_program.post(url).json() == {"status": "received"}


def test_a_queued_generation_has_its_queue_position(
    alice: User, alices_program: Client, generate: Generate, queued: Generate
) -> None:
    generate(alice)
    waiting = [queued(alice) for _ in range(2)]
    places = [alices_program.get(f"/api/generations/{job.pk}/").json() for job in waiting]
    assert [place["position"] for place in places] == [1, 2]
    assert 0 <= places[0]["eta"] <= places[1]["eta"]


def test_queue_positions_are_computed_only_for_batches_with_queued_items(
    alice: User,
    alices_program: Client,
    generate: Generate,
    queued: Generate,
    batch_of: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = Mock(return_value=Positions())
    monkeypatch.setattr(batch_schemas, "positions", look)
    for batch, looks in ((batch_of(generate(alice)), 0), (batch_of(generate(alice), queued(alice)), 1)):
        assert alices_program.get(f"/api/batches/{batch.pk}/").status_code == 200
        assert look.call_count == looks


def test_engines_and_models_are_listed(alices_program: Client) -> None:
    filling, erasing, diffusion = alices_program.get("/api/engines/").json()["engines"]
    assert (filling["name"], filling["label"]) == ("quick-fill", "Quick fill")
    assert (filling["accepts_prompt"], filling["is_default"], filling["unavailable"]) == (False, True, None)
    assert "denoising_strength" in filling["ignores"]
    assert (erasing["name"], erasing["is_default"], erasing["accepts_prompt"]) == ("erase", False, False)
    assert (diffusion["name"], diffusion["is_default"], diffusion["ignores"]) == ("diffusion", False, [])
    assert "pull_model" in diffusion["unavailable"]
    for path in ("/api/models", "/api/models/"):
        models = alices_program.get(path).json()["models"]
        assert [model["id"] for model in models] == [
            spec.slug for spec in SHIPPED if spec.family in families.generating()
        ]
        assert {"name", "filename", "family", "defaults"} < models[0].keys()
        assert not any(model["installed"] for model in models)


def test_usage_counts_only_the_users_generations(
    alice: User, bob: User, alices_program: Client, generate: Generate, queued: Generate
) -> None:
    done, _, _ = generate(alice), generate(bob), queued(alice)
    UserLimits.objects.create(per_day=7)
    used = alices_program.get("/api/usage/").json()
    counts = {"queued": 1, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 0, "total": 2}
    assert used["generations"] == counts
    assert used["limits"]["per_day"] == 7
    assert used["limits"]["waiting"] is None
    assert used["stored_bytes"] > done.images.get().byte_count


def test_usage_includes_deleted_generations_that_the_limits_count(
    alice: User, bob: User, alices_program: Client, generate: Generate
) -> None:
    first, _, _ = generate(alice), generate(alice), generate(bob)
    assert alices_program.delete(f"/api/generations/{first.pk}/").status_code == 204
    used = alices_program.get("/api/usage/").json()
    assert used["generations"]["total"] == 1
    assert used["spent"] == {"per_minute": 2, "per_day": 2, "megapixels_per_day": 1}


def test_an_exceeded_limit_is_named_with_the_time_to_retry(
    alice: User, alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    UserLimits.objects.create(user=alice, per_minute=1)
    assert alices_program.post("/api/img2img", shape_a(photo_png, mask_png)).status_code == 200
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png))
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (429, "rate_limited", 1)
    assert 1 <= int(answer["Retry-After"]) <= 60


def test_a_plan_returns_the_plan_and_stores_nothing(
    alices_program: Client, photo_png: bytes, mask_png: bytes, hole: NDArray[np.uint8]
) -> None:
    before = files()
    for body, content_type in (
        (shape_c(photo_png, mask_png), "application/json"),
        (shape_a(photo_png, mask_png), MULTIPART_CONTENT),
    ):
        answer = alices_program.post("/api/plan/", body, content_type=content_type)
        assert answer.status_code == 200
        content = answer.json()
        mask = decode_image(base64.b64decode(content["mask"].removeprefix("data:image/png;base64,"))).image.pixels
        assert np.array_equal(mask[:, :, 0], hole)
        assert (content["engine"], content["width"], content["height"], content["mode"]) == (
            "quick-fill",
            96,
            64,
            "RGB",
        )
        assert content["coverage"] == pytest.approx(np.count_nonzero(hole) / hole.size, abs=1e-6)
        assert content["window"] == [0, 0, 96, 64]
        assert "prompt" in content["ignored"]
        assert not {"loras", "embeddings"} & set(content["ignored"])
    assert any(
        "normal" in warning
        for warning in alices_program.post(
            "/api/plan/", shape_c(photo_png, mask_png), content_type="application/json"
        ).json()["warnings"]
    )
    assert not Generation.objects.exists()
    assert files() == before


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_former_dry_run_names_the_route_of_plans(
    alices_program: Client, photo_png: bytes, mask_png: bytes, slash: str
) -> None:
    answer = alices_program.post(f"/api/img2img/dry-run{slash}", shape_a(photo_png, mask_png))
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "/api/plan/" in answer.json()["message"]
    assert max_body_bytes(f"/api/img2img/dry-run{slash}") == max_body_bytes("/api/plan/"), "not 413 in its place"


def test_a_plan_grows_the_mask_and_refuses_invalid_requests(
    alices_program: Client, photo_png: bytes, mask_png: bytes
) -> None:
    shares = [
        alices_program.post("/api/plan/", shape_a(photo_png, mask_png, mask_grow=grow)).json()["coverage"]
        for grow in (0, 4)
    ]
    assert shares[0] < shares[1]
    answer = alices_program.post("/api/plan/", shape_a(photo_png, mask_png, mask_grow=-200))
    assert (answer.status_code, answer.json()["code"]) == (400, "mask_empty")
