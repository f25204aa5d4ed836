"""`POST /api/upscale`: an enlarged image as a generation, with all that a generation has."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from numpy.typing import NDArray
from pytest_django import Settings

from accounts.models import User
from inpainting.core.codecs import decode_image, encode_png
from inpainting.core.errors import ModelRequired
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.inputs import upscale_request
from inpainting.core.request import PaintSettings
from inpainting.engines.upscaling import UPSCALE
from inpainting.models import Generation, LedgerEntry, Status, UserLimits
from inpainting.planning import planner
from inpainting.upscalers.enlarging import Enlargement
from inpainting.upscalers.lanczos import Lanczos
from inpainting.worker import run as running

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.


def upload(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("photo.png", data, "image/png")


def result_of(client: Client, answer: Any) -> CanonicalImage:
    (url,) = answer.json()["images"]
    response: Any = client.get(url)
    data = b"".join(response.streaming_content) if response.streaming else response.content
    return decode_image(data).image


def test_an_image_is_enlarged_as_the_upscaler_does(
    alices_program: Client, photo_png: bytes, photo: NDArray[np.uint8]
) -> None:
    answer = alices_program.post("/api/upscale", {"image": upload(photo_png)})
    assert answer.status_code == 200, answer.json()
    height, width = photo.shape[:2]
    size = Size(2 * width, 2 * height)
    expected = Enlargement(decode_image(photo_png).image, size, Lanczos()).run(lambda done, of: None)
    assert np.array_equal(result_of(alices_program, answer).pixels, expected.pixels)
    metadata = answer.json()["metadata"]
    assert [metadata[name] for name in ("engine", "model", "verb")] == ["upscale", "lanczos", "Enlarged"]
    assert [metadata[name] for name in ("width", "height", "source_width", "source_height")] == [
        *(2 * width, 2 * height),
        *(width, height),
    ]
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    assert metadata["results"][0]["work_size"] == [2 * width, 2 * height]


def test_each_image_of_a_batch_is_enlarged(alices_program: Client, photo_png: bytes) -> None:
    small = encode_png(CanonicalImage(np.full((30, 40, 3), 128, np.uint8)))
    form = {"images": [upload(photo_png), upload(b"no image"), upload(small)], "width": "80", "output_format": "jpeg"}
    answer = alices_program.post("/api/batches/upscale/", form)
    assert answer.status_code == 202, answer.json()
    batch = alices_program.get(answer.json()["url"]).json()
    assert [item["status"] for item in batch["items"]] == ["refused", "refused", "succeeded"]
    assert [item["error"]["code"] for item in batch["items"][:2]] == ["field_out_of_range", "image_type_unsupported"]
    metadata = alices_program.get(batch["items"][2]["url"]).json()["metadata"]
    assert (metadata["engine"], metadata["width"], metadata["height"]) == ("upscale", 80, 60)
    assert metadata["output_format"] == "jpeg"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"scale": "9"}, "field_out_of_range"),
        ({"model": "nothing"}, "upscaler_not_found"),
        ({"images": []}, "field_missing"),
    ],
)
def test_a_batch_with_an_invalid_field_is_refused_as_a_whole(
    alices_program: Client, photo_png: bytes, form: dict[str, Any], code: str
) -> None:
    answer = alices_program.post("/api/batches/upscale/", {"images": [upload(photo_png)], **form})
    assert answer.json()["code"] == code
    assert 400 <= answer.status_code < 500
    assert not Generation.objects.exists()


def test_a_repeated_key_returns_the_same_batch(alices_program: Client, photo_png: bytes) -> None:
    body = json.dumps({"images": [base64.b64encode(photo_png).decode()]})
    headers = {"Idempotency-Key": "one"}
    first, second = (
        alices_program.post("/api/batches/upscale/", body, content_type="application/json", headers=headers)
        for _ in range(2)
    )
    assert first.json()["id"] == second.json()["id"]
    assert Generation.objects.count() == 1


@pytest.mark.parametrize(("channels", "depth"), [(1, np.uint8), (4, np.uint8), (3, np.uint16), (4, np.uint16)])
def test_mode_and_depth_stay(alices_program: Client, channels: int, depth: type[np.uint8 | np.uint16]) -> None:
    pixels: Any = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (64, 80, channels)).astype(depth)
    answer = alices_program.post("/api/upscale", {"image": upload(encode_png(CanonicalImage(pixels))), "scale": "1.5"})
    result = result_of(alices_program, answer)
    assert result.pixels.shape == (96, 120, channels)
    assert result.pixels.dtype == depth


def test_json_names_a_size_and_numbers_out_of_range_are_clamped(alices_program: Client, photo_png: bytes) -> None:
    body = {"input_image": base64.b64encode(photo_png).decode(), "scale": 9, "output_format": "jpeg", "nonsense": 1}
    answer = alices_program.post("/api/upscale", json.dumps(body), content_type="application/json")
    content = answer.json()
    assert answer.status_code == 200, content
    assert content["metadata"]["width"] == 4 * content["metadata"]["source_width"]
    assert any("scale" in warning for warning in content["metadata"]["warnings"])
    assert content["metadata"]["ignored_fields"] == ["nonsense"]
    assert content["images"][0].endswith(".jpg")


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"scale": "5"}, 400, "field_out_of_range", "scale"),
        ({"scale": "x"}, 400, "field_invalid", "scale"),
        ({"width": "10"}, 400, "field_out_of_range", "width"),
        ({"scale": "2", "width": "300"}, 400, "field_invalid", "width"),
        ({"model": "nothing"}, 400, "upscaler_not_found", "model"),
        ({"model": "realesrgan-x4plus"}, 400, "model_unavailable", "model"),
        ({"model": "sd15-inpainting"}, 400, "upscaler_not_found", "model"),
        ({"webhook_url": "ftp://x"}, 400, "url_not_allowed", "webhook_url"),
        ({"parent": "00000000-0000-0000-0000-000000000000"}, 400, "parent_unknown", "parent"),
    ],
)
def test_a_wrong_field_is_refused_and_named(
    alices_program: Client, photo_png: bytes, fields: dict[str, str], status: int, code: str, field: str
) -> None:
    answer = alices_program.post("/api/upscale", {"image": upload(photo_png), **fields})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)
    assert not Generation.objects.exists()


def test_an_image_is_needed(alices_program: Client) -> None:
    answer = alices_program.post("/api/upscale", {"scale": "2"})
    assert (answer.status_code, answer.json()["code"]) == (400, "field_missing")


@pytest.mark.parametrize("settings_of", [{"MAX_MEGAPIXELS": 0.05}, {"MAX_PAINT_MEGAPIXELS": 0.05}])
def test_the_limits_of_the_site_apply_to_the_result(
    alices_program: Client, photo_png: bytes, settings: Any, settings_of: dict[str, float]
) -> None:
    for name, value in settings_of.items():
        setattr(settings, name, value)
    answer = alices_program.post("/api/upscale", {"image": upload(photo_png), "scale": "4"})
    assert answer.status_code == 400
    assert answer.json()["code"] in ("image_dimensions", "too_much_to_paint")


def test_quotas_count_the_pixels_of_the_result(alices_program: Client, alice: User, photo_png: bytes) -> None:
    UserLimits.objects.create(user=alice, megapixels_per_day=1)
    alices_program.post("/api/upscale", {"image": upload(photo_png), "scale": "2"})
    generation = Generation.objects.get()
    assert LedgerEntry.objects.get().pixels == generation.result_size.area
    assert (
        generation.painted_pixels
        == generation.result_size.area
        == 4 * generation.source.width * generation.source.height
    )


def test_it_waits_in_the_queue_and_is_cancelled_at_the_next_tile(
    alices_program: Client, photo_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelling(Enlargement):
        def run(self, on_tile: Any) -> Any:
            Generation.objects.get().cancel()
            return super().run(on_tile)

    monkeypatch.setattr("inpainting.engines.upscaling.Enlargement", Cancelling)
    answer = alices_program.post("/api/upscale", {"image": upload(photo_png)}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    running.run_waiting()
    assert Generation.objects.get().status == Status.CANCELLED


def test_a_result_can_be_enlarged_further_and_run_again(alices_program: Client, photo_png: bytes) -> None:
    first = alices_program.post("/api/upscale", {"image": upload(photo_png)}).json()
    again = alices_program.post("/api/upscale", {"image": upload(photo_png), "parent": first["id"]})
    assert Generation.objects.get(pk=again.json()["id"]).parent_id is not None
    answer = alices_program.post(f"/api/generations/{first['id']}/run-again/", {"output_format": "webp"})
    assert answer.status_code == 202, answer.json()
    running.run_waiting()
    rerun = Generation.objects.get(pk=answer.json()["id"])
    assert (rerun.status, rerun.engine, rerun.result_size) == (
        Status.SUCCEEDED,
        "upscale",
        Generation.objects.get(pk=first["id"]).result_size,
    )
    refused = alices_program.post(f"/api/generations/{first['id']}/run-again/", {"engine": "quick-fill"})
    assert (refused.status_code, refused.json()["field"]) == (400, "engine")


def test_a_painting_cannot_name_it_as_its_engine(alices_program: Client, photo_png: bytes, mask_png: bytes) -> None:
    body = {"image": upload(photo_png), "mask": upload(mask_png), "prompt": "", "engine": "upscale"}
    answer = alices_program.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "engine_not_found")


def test_the_same_key_gives_the_same_generation(alices_program: Client, photo_png: bytes) -> None:
    answers = [
        alices_program.post("/api/upscale", {"image": upload(photo_png)}, headers={"Idempotency-Key": "one"})
        for _ in range(2)
    ]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert Generation.objects.count() == 1


def test_a_network_of_the_catalog_is_the_default_once_it_is_installed(
    alices_program: Client, photo_png: bytes, models_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="a light installation has no onnx")
    from django.core.management import call_command

    from tests.support.tiny_upscalers import onnx_upscaler

    (tmp_path / "x4.onnx").write_bytes(onnx_upscaler(4))
    call_command(
        "add_model", "mine", "--family", "onnx-upscaler", "--from", str(tmp_path / "x4.onnx"), stdout=StringIO()
    )
    for fields, model in (({}, "mine"), ({"model": "mine"}, "mine"), ({"model": "lanczos"}, "lanczos")):
        answer = alices_program.post("/api/upscale", {"image": upload(photo_png), "scale": "3", **fields})
        assert answer.status_code == 200, answer.json()
        assert answer.json()["metadata"]["model"] == model
    assert {generation.model for generation in Generation.objects.all()} == {"mine", "lanczos"}


def test_history_and_the_page_of_the_generation_say_what_was_done(
    alices_program: Client, alice: User, client: Client, photo_png: bytes
) -> None:
    pk = alices_program.post("/api/upscale", {"image": upload(photo_png)}).json()["id"]
    generation = Generation.objects.get()
    client.force_login(alice)
    page = client.get(f"/generations/{pk}/").content.decode()
    assert f"Enlarged to {generation.result_size}" in page
    assert "Enlarged from" in page
    assert "Mask: white" not in page
    assert "Seam score" not in page
    assert "Enlarge, " in client.get("/history/").content.decode()


@pytest.mark.parametrize("required", [False, True])
def test_another_service_enlarges_without_a_diffusion_model(
    photo: NDArray[np.uint8], settings: Settings, required: bool
) -> None:
    settings.COMPAT_REQUIRE_DIFFUSION = required
    request = upscale_request(CanonicalImage(photo), Size(192, 128), PaintSettings())
    assert planner().plan_of_service(request, UPSCALE.name).engine is UPSCALE
    with pytest.raises(ModelRequired):
        planner().plan_of_service(replace(request, enlarged_to=None))


def plan_of(program: Client, **fields: Any) -> dict[str, Any]:
    answer = program.post("/api/plan/", {"engine": "upscale", **fields})
    assert answer.status_code == 200, answer.json()
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def four_tiles_png() -> bytes:
    """An image that `lanczos` enlarges in two rows of two tiles."""
    return encode_png(CanonicalImage(np.random.default_rng(0).integers(0, 255, (260, 300, 3)).astype(np.uint8)))


def test_a_plan_says_what_the_upscaling_then_does(
    alices_program: Client, four_tiles_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    class Counting(Enlargement):
        def run(self, on_tile: Any) -> Any:
            counts.append(len(self.tiles))
            return super().run(on_tile)

    monkeypatch.setattr("inpainting.engines.upscaling.Enlargement", Counting)
    fields = {"scale": "1.5", "output_format": "webp", "prompt": "a bus"}
    plan = plan_of(alices_program, image=upload(four_tiles_png), **fields)
    assert not Generation.objects.exists()
    assert plan["estimate_seconds"] is None
    made = alices_program.post("/api/upscale", {"image": upload(four_tiles_png), **fields}).json()["metadata"]
    same = [
        *("engine", "engine_reason", "model", "width", "height", "source_width", "source_height", "quality"),
        *("ignored", "ignored_fields", "warnings"),
    ]
    assert {name: plan[name] for name in same} == {name: made[name] for name in same}
    assert (plan["tiles"], counts) == (4, [4])
    assert (plan["width"], plan["height"], plan["ignored_fields"]) == (450, 390, ["prompt"])
    assert plan["engine_reason"].endswith("no network for that is installed.")
    again = plan_of(alices_program, image=upload(four_tiles_png), **fields)
    assert again["estimate_seconds"] == pytest.approx(Generation.objects.get().seconds, rel=0.01)


def test_a_plan_needs_the_size_of_the_image_alone(alices_program: Client, four_tiles_png: bytes) -> None:
    with_image = plan_of(alices_program, image=upload(four_tiles_png), scale="3", model="lanczos")
    without = alices_program.post(
        "/api/plan/",
        {"engine": "upscale", "scale": 3, "model": "lanczos", "image_size": [300, 260]},
        content_type="application/json",
    )
    assert without.json() == with_image
    assert plan_of(alices_program, scale="3", model="lanczos", image_size="[300, 260]") == with_image


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "field_missing", "image"),
        ({"image_size": "[300]"}, "field_invalid", "image_size"),
        ({"image_size": "[0, 9]"}, "field_out_of_range", "image_size"),
        ({"image_size": "[300, 260]", "scale": "5"}, "field_out_of_range", "scale"),
        ({"image_size": "[300, 260]", "width": "10"}, "field_out_of_range", "width"),
        ({"image_size": "[300, 260]", "model": "nothing"}, "upscaler_not_found", "model"),
        ({"image_size": "[9000, 9000]"}, "image_dimensions", "scale"),
        ({"image_size": "[9000, 20]", "output_format": "webp"}, "field_invalid", "output_format"),
    ],
)
def test_a_plan_refuses_what_the_upscaling_would(
    alices_program: Client, settings: Any, fields: dict[str, str], code: str | None, field: str | None
) -> None:
    settings.MAX_SIDE = 20_000
    answer = alices_program.post("/api/plan/", {"engine": "upscale", **fields})
    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (400, code, field)


def test_a_plan_refuses_a_result_above_the_limit_of_the_site(alices_program: Client, settings: Any) -> None:
    settings.MAX_PAINT_MEGAPIXELS = 0.05
    answer = alices_program.post("/api/plan/", {"engine": "upscale", "image_size": "[300, 260]"})
    assert (answer.status_code, answer.json()["code"]) == (400, "too_much_to_paint")
