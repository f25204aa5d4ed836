"""`POST /api/upscale` with `detail`: a tiny diffusion model paints the enlarged image in tiles; no part is mocked."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from numpy.typing import NDArray
from skimage import data

pytest.importorskip("torch", reason="diffusion is not installed")

from accounts.models import User
from inpainting.catalog.specs import ControlImageKind
from inpainting.core.codecs import decode_image
from inpainting.core.credentials import DigitalSourceType
from inpainting.core.geometry import Size
from inpainting.engines.base import Queue
from inpainting.media.results import provenance_of
from inpainting.models import Generation, InferenceModel, LedgerEntry, Status
from inpainting.upscalers.enlarging import Enlargement
from inpainting.worker.fleet import needed_by
from inpainting.worker.run import run_waiting
from inpainting.worker.run_time_estimates import generation_workload
from tests.api.bodies import upload
from tests.conftest import png
from tests.support import tiny_adapters, tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.

PHOTO = np.ascontiguousarray(data.astronaut()[40:120, 180:280])
"""100 pixels wide, 80 high."""
DETAIL = {"detail": "0.5", "prompt": "a face", "seed": "5"}


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(str(tiny_models.saved(tmp_path_factory.mktemp("models") / "tiny").path))


@pytest.fixture
def tiny(tiny_folder: Path, models_dir: Path) -> InferenceModel:
    """A diffusion model with a native size of 64 pixels."""
    return add_model("tiny", tiny_folder, width=64, height=64, steps=3)


def enlarge(client: Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/upscale", {"image": upload(png(PHOTO)), **fields})
    assert answer.status_code == 200, answer.json()
    content: dict[str, Any] = answer.json()
    return content


def result_bytes() -> bytes:
    return Generation.objects.latest("created_at").images.get().read_bytes()


def result() -> NDArray[np.uint8]:
    return np.asarray(decode_image(result_bytes()).image.pixels)


@pytest.mark.parametrize("detail", [{}, {"detail": "0"}])
def test_without_detail_nothing_is_painted_and_its_fields_have_no_effect(
    alices_program: Client, tiny: InferenceModel, settings: Any, detail: dict[str, str]
) -> None:
    settings.EMBED_SETTINGS = False  # the seed, which is random, is among them
    enlarge(alices_program)
    plain = result_bytes()
    fields = {"prompt": "a face", "cfg_scale": "3", "detail_model": "tiny", "mask": upload(png(PHOTO[:, :, 0]))}
    metadata = enlarge(alices_program, **detail, **fields)["metadata"]
    assert result_bytes() == plain
    assert (metadata["engine"], metadata["model"], metadata["upscaler"]) == ("upscale", "lanczos", "lanczos")
    assert metadata["ignored_fields"] == ["cfg_scale", "detail_model", "mask", "prompt"]


def test_detail_equals_an_upscaling_and_then_a_painting_in_tiles(alices_program: Client, tiny: InferenceModel) -> None:
    metadata = enlarge(alices_program, **DETAIL, guidance_scale="4", negative_prompt="rain")["metadata"]
    found = result()
    enlarge(alices_program)
    plain = result()
    fields = {"image": upload(png(plain)), "prompt": "a face", "seed": "5", "denoising_strength": "0.5"}
    fields |= {"guidance_scale": "4", "negative_prompt": "rain", "tiled": "true", "engine": "diffusion"}
    assert alices_program.post("/api/img2img", fields).status_code == 200
    assert np.array_equal(found, result())
    assert not np.array_equal(found, plain)
    assert [metadata[name] for name in ("engine", "model", "upscaler", "denoising_strength", "tiled", "seed")] == [
        *("diffusion", "tiny", "lanczos", 0.5, True, 5)
    ]
    assert [metadata[name] for name in ("width", "height", "source_width", "source_height")] == [200, 160, 100, 80]
    assert metadata["requested"] == {
        **{"engine": "upscale", "model": "lanczos", "detail": 0.5, "detail_model": "tiny"},
        **{"prompt": "a face", "negative_prompt": "rain", "seed": 5, "guidance_scale": 4.0},
    }
    assert metadata["warnings"] == ["The area is painted in 12 tiles."]
    assert metadata["ignored_fields"] == []
    assert metadata["engine_reason"] == "The request asks for a larger image, with detail that a diffusion model adds."


@pytest.mark.parametrize("scale", ["2", "1.7"])
def test_outside_of_a_mask_the_result_is_the_plain_upscaling(
    alices_program: Client, tiny: InferenceModel, scale: str
) -> None:
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[20:50, 30:61] = 255
    metadata = enlarge(alices_program, **DETAIL, scale=scale, mask=upload(png(mask)), mask_polarity="white_repaints")[
        "metadata"
    ]
    found = result().astype(int)
    generation = Generation.objects.get()
    enlarge(alices_program, scale=scale)
    changed = (found != result()).any(axis=2)
    factor = float(scale)
    rows, columns = np.nonzero(changed)
    assert (rows.min() >= 20 * factor - 1, columns.min() >= 30 * factor - 1) == (True, True)
    assert (rows.max() <= 50 * factor, columns.max() <= 61 * factor) == (True, True)
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    assert 0 < metadata["results"][0]["coverage"] < 0.2
    assert generation.images.get().source_type is DigitalSourceType.COMPOSITE


def test_an_empty_mask_is_refused(alices_program: Client, tiny: InferenceModel) -> None:
    mask = upload(png(np.full(PHOTO.shape[:2], 255, np.uint8)))
    answer = alices_program.post("/api/upscale", {"image": upload(png(PHOTO)), "mask": mask, **DETAIL})
    assert (answer.status_code, answer.json()["code"]) == (400, "mask_empty")


def test_it_counts_as_a_painting_by_diffusion(alices_program: Client, alice: User, tiny: InferenceModel) -> None:
    enlarge(alices_program, **DETAIL)
    generation = Generation.objects.get()
    assert (generation.queue, generation.model, generation.result_size) == (Queue.GPU, "tiny", Size(200, 160))
    assert needed_by(generation) == {"tiny", "lanczos"}
    assert LedgerEntry.objects.get().pixels == generation.painted_pixels == 200 * 160
    provenance = provenance_of(generation.images.get())
    assert provenance.source_type is DigitalSourceType.COMPOSITE
    assert provenance.description == "The whole image was enlarged, and 100.0 % of it was repainted."
    manifest = provenance.manifest("1")
    assert [action["action"] for action in manifest["assertions"][0]["data"]["actions"]] == [
        *("c2pa.opened", "c2pa.resized", "c2pa.edited")
    ]


def test_the_safety_checker_has_to_be_there_where_it_is_asked_for(alices_program: Client, tiny: InferenceModel) -> None:
    fields = {"image": upload(png(PHOTO)), "safety_checker": "true", **DETAIL}
    answer = alices_program.post("/api/upscale", fields)
    assert answer.status_code == 400
    assert answer.json()["code"] == "safety_checker_unavailable"


def test_a_plan_says_what_is_then_done(alices_program: Client, tiny: InferenceModel) -> None:
    def plan(**fields: Any) -> dict[str, Any]:
        answer = alices_program.post("/api/plan/", {"engine": "upscale", "scale": "3", **DETAIL, **fields})
        assert answer.status_code == 200, answer.json()
        found: dict[str, Any] = answer.json()
        return found

    before = plan(image=upload(png(PHOTO)))
    assert not Generation.objects.exists()
    assert plan(image_size="[100, 80]") == before
    made = enlarge(alices_program, scale="3", **DETAIL)["metadata"]
    same = ["engine", "engine_reason", "model", "upscaler", "width", "height", "source_width", "source_height"]
    same += ["ignored", "ignored_fields", "warnings"]
    assert {name: before[name] for name in same} == {name: made[name] for name in same}
    generation = Generation.objects.get()
    assert generation.planned_window is not None
    assert (before["tiles"], before["detail_tiles"]) == (1, len(generation.planned_window.passes)) == (1, 30)
    assert (before["estimate_seconds"], plan(image_size="[100, 80]")["estimate_seconds"]) == (
        None,
        pytest.approx(generation.seconds, rel=0.01),
    )
    assert plan(image_size="[100, 80]", detail="0")["detail_tiles"] is None


def test_a_plan_counts_only_the_tiles_that_the_mask_touches(alices_program: Client, tiny: InferenceModel) -> None:
    def plan(**fields: Any) -> dict[str, Any]:
        answer = alices_program.post("/api/plan/", {"engine": "upscale", **DETAIL, **fields})
        assert answer.status_code == 200, answer.json()
        found: dict[str, Any] = answer.json()
        return found

    mask = np.full(PHOTO.shape[:2], 255, np.uint8)
    mask[10:20, 30:40] = 0
    enlarge(alices_program, **DETAIL)
    enlarge(alices_program, **DETAIL, mask=upload(png(mask)))
    part, whole = Generation.objects.order_by("-created_at")
    for generation, seconds in ((part, 10), (whole, 1000)):
        assert generation.started_at is not None
        generation.finished_at = generation.started_at + timedelta(seconds=seconds)
        generation.save()
    with_images = plan(image=upload(png(PHOTO)), mask=upload(png(mask)))
    by_sizes = plan(image_size="[100, 80]", mask_box="[30, 10, 40, 20]")
    assert with_images == by_sizes
    assert part.planned_window is not None
    assert by_sizes["detail_tiles"] == len(part.planned_window.passes) < 12
    everywhere = plan(image_size="[100, 80]")
    assert everywhere["detail_tiles"] == 12
    assert by_sizes["estimate_seconds"] < everywhere["estimate_seconds"] / 3
    assert generation_workload(part).steps * 12 == generation_workload(whole).steps * by_sizes["detail_tiles"]
    without = plan(image_size="[100, 80]", mask_box="[30, 10, 40, 20]", detail="0")
    assert (without["detail_tiles"], without["ignored_fields"]) == (None, ["prompt", "seed"])
    for box, message in (("[30, 10, 140, 20]", "extends beyond the image"), ("[30, 10]", "4")):
        answer = alices_program.post(
            "/api/plan/", {"engine": "upscale", **DETAIL, "image_size": "[100, 80]", "mask_box": box}
        )
        assert (answer.status_code, answer.json()["field"]) == (400, "mask_box")
        assert message in answer.json()["message"]


def test_it_is_cancelled_while_it_is_painted(
    alices_program: Client, tiny: InferenceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int]] = []

    class Cancelling(Enlargement):
        def run(self, on_tile: Any) -> Any:
            image = super().run(on_tile)
            Generation.objects.get().cancel()
            return image

    advance = Generation.advance

    def recorded(generation: Generation, done: int, of: int, **more: Any) -> bool:
        steps.append((done, of))
        return advance(generation, done, of, **more)

    monkeypatch.setattr("inpainting.engines.upscaling.Enlargement", Cancelling)
    monkeypatch.setattr(Generation, "advance", recorded)
    fields = {"image": upload(png(PHOTO)), **DETAIL}
    answer = alices_program.post("/api/upscale", fields, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    run_waiting(Queue.GPU)
    generation = Generation.objects.get()
    assert (generation.status, generation.images.count()) == (Status.CANCELLED, 0)
    assert all(done < of for done, of in steps if of)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"detail": "1.1"}, "field_out_of_range", "detail"),
        ({"detail": "-0.1"}, "field_out_of_range", "detail"),
        ({"detail": "much"}, "field_invalid", "detail"),
        ({"detail_model": "nothing"}, "model_not_found", "detail_model"),
        ({"detail_model": "flux-fill"}, "model_unavailable", "detail_model"),
        ({"model": "tiny"}, "upscaler_not_found", "model"),
        ({"control": "nothing"}, "adapter_not_found", "control"),
        ({"loras": '[{"slug": "nothing"}]'}, "lora_not_found", "loras"),
        ({"guidance_scale": "0.5"}, "field_out_of_range", "guidance_scale"),
        ({"scale": "9"}, "field_out_of_range", "scale"),
        ({"mask_polarity": "green_repaints"}, "field_invalid", "mask_polarity"),
    ],
)
def test_a_wrong_field_is_refused_and_named(
    alices_program: Client, tiny: InferenceModel, fields: dict[str, str], code: str, field: str
) -> None:
    for path, image in (("/api/upscale", "image"), ("/api/batches/upscale/", "images")):
        if "mask_polarity" in fields and image == "images":
            continue
        answer = alices_program.post(path, {image: upload(png(PHOTO)), **DETAIL, **fields})
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert not Generation.objects.exists()


def test_without_a_diffusion_model_the_answer_says_how_to_get_one(alices_program: Client, models_dir: Path) -> None:
    answer = alices_program.post("/api/upscale", {"image": upload(png(PHOTO)), **DETAIL})
    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["field"]) == ("model_unavailable", "detail_model")
    assert "pull_model" in answer.json()["message"]


def test_a_result_above_the_limit_of_the_site_is_refused(
    alices_program: Client, tiny: InferenceModel, settings: Any
) -> None:
    settings.MAX_PAINT_MEGAPIXELS = 0.03
    answer = alices_program.post("/api/upscale", {"image": upload(png(PHOTO)), **DETAIL})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "too_much_to_paint", "scale")


def test_each_image_of_a_batch_gets_detail(alices_program: Client, tiny: InferenceModel) -> None:
    enlarge(alices_program, **DETAIL)
    single = result_bytes()
    body = {"images": [base64.b64encode(png(PHOTO)).decode()] * 2, **DETAIL, "detail": 0.5, "seed": 5}
    answer = alices_program.post("/api/batches/upscale/", json.dumps(body), content_type="application/json")
    assert answer.status_code == 202, answer.json()
    run_waiting(Queue.GPU)
    items = alices_program.get(answer.json()["url"]).json()["items"]
    assert [item["status"] for item in items] == ["succeeded"] * 2
    assert result_bytes() == single
    assert len(set(Generation.objects.values_list("engine_reason", flat=True))) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_the_masks_of_a_batch_say_where_detail_is_added(
    alices_program: Client, tiny: InferenceModel, count: int
) -> None:
    """One for all images, or one for each."""
    masks = [np.zeros(PHOTO.shape[:2], np.uint8) for _ in range(count)]
    for number, mask in enumerate(masks):
        mask[20:50, 30 + 20 * number : 61 + 20 * number] = 255
    fields = {**DETAIL, "mask_polarity": "white_repaints"}
    alone = []
    for mask in masks:
        enlarge(alices_program, **fields, mask=upload(png(mask)))
        alone.append(result_bytes())
    Generation.objects.all().delete()
    body = {"images": [upload(png(PHOTO)) for _ in range(2)], "masks": [upload(png(mask)) for mask in masks]}
    answer = alices_program.post("/api/batches/upscale/", {**body, **fields})
    assert answer.status_code == 202, answer.json()
    run_waiting(Queue.GPU)
    assert set(Generation.objects.values_list("status", flat=True)) == {Status.SUCCEEDED}
    made = [generation.images.get().read_bytes() for generation in Generation.objects.order_by("created_at")]
    assert made == (alone * 2 if count == 1 else alone)
    body = {"images": [upload(png(PHOTO))], "masks": [upload(png(masks[0])) for _ in range(2)]}
    refused = alices_program.post("/api/batches/upscale/", {**body, **fields})
    assert (refused.status_code, refused.json()["field"]) == (400, "masks")


def test_a_tile_controlnet_is_conditioned_on_the_enlarged_image(
    alices_program: Client, tiny: InferenceModel, tmp_path: Path
) -> None:
    enlarge(alices_program, **DETAIL)
    without = result()
    for kind in (ControlImageKind.CANNY, ControlImageKind.TILE):
        tiny_adapters.saved_controlnet(tmp_path / kind, "sd", kind)
        add_model(kind, tmp_path / kind, "--kind", "controlnet", "--control", kind)
    metadata = enlarge(alices_program, **DETAIL, control_strength="1.5")["metadata"]
    assert [use["slug"] for use in metadata["controls"]] == ["tile"], "the installed one for tiles, where none is named"
    chosen = result()
    assert not np.array_equal(chosen, without)
    enlarge(alices_program, **DETAIL, control="tile", control_strength="1.5")
    assert np.array_equal(result(), chosen)
    named = enlarge(alices_program, **DETAIL, control="canny", control_strength="1.5")["metadata"]
    assert [use["slug"] for use in named["controls"]] == ["canny"]


def test_running_again_keeps_the_size_and_the_upscaler_and_takes_other_settings(
    alices_program: Client, tiny: InferenceModel
) -> None:
    first = enlarge(alices_program, **DETAIL, scale="1.5")
    again = f"/api/generations/{first['id']}/run-again/"
    assert alices_program.post(again, {"denoising_strength": "0.7"}).status_code == 202
    run_waiting(Queue.GPU)
    rerun = Generation.objects.latest("created_at")
    assert (rerun.status, rerun.engine, rerun.result_size) == (Status.SUCCEEDED, "diffusion", Size(150, 120))
    rerun_result = result()
    enlarge(alices_program, **{**DETAIL, "detail": "0.7"}, scale="1.5")
    assert np.array_equal(result(), rerun_result)
    refused = alices_program.post(again, {"engine": "quick-fill"})
    assert (refused.status_code, refused.json()["field"]) == (400, "engine")


def test_its_pages_say_what_was_done(alices_program: Client, alice: User, client: Client, tiny: InferenceModel) -> None:
    pk = enlarge(alices_program, **DETAIL)["id"]
    client.force_login(alice)
    page = client.get(f"/generations/{pk}/").content.decode()
    assert "Enlarged to 200x160" in page
    assert "Mask: white" not in page
    assert ">a face<" in page
    assert ">Upscaler<" in page
    assert "Enlarge, lanczos, tiny" in client.get("/history/").content.decode()
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[20:50, 30:61] = 255
    part = enlarge(alices_program, **DETAIL, mask=upload(png(mask)), mask_polarity="white_repaints")["id"]
    assert "Mask: white" in client.get(f"/generations/{part}/").content.decode()


def test_the_command_line_makes_the_same(alices_program: Client, tiny: InferenceModel, tmp_path: Path) -> None:
    (photo := tmp_path / "photo.png").write_bytes(png(PHOTO))
    options = ["--prompt", "a face", "--detail", "0.5", "--seed", "5", "--width", "200"]
    errors = StringIO()
    call_command("upscale", str(photo), "-o", str(tmp_path / "large.png"), *options, stdout=StringIO(), stderr=errors)
    enlarge(alices_program, **DETAIL)
    written = decode_image((tmp_path / "large.png").read_bytes()).image
    assert np.array_equal(written.pixels, result())
    assert "painted in 12 tiles" in errors.getvalue()
    for more, message in (
        (["--detail", "2"], "detail is 2.0; it must be"),
        (["--detail-model", "nothing"], "no model"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command("upscale", str(photo), "-o", str(tmp_path / "a.png"), *options, *more, stderr=StringIO())
    plain = [*options[:2], "--detail-model", "tiny", "--mask", str(tmp_path / "missing.png")]
    call_command("upscale", str(photo), "-o", str(tmp_path / "b.png"), *plain, stdout=StringIO(), stderr=errors)
    assert "Without effect, as --detail is 0: --prompt, --detail-model, --mask." in errors.getvalue()


def test_the_command_line_reads_a_mask_as_the_api(alices_program: Client, tiny: InferenceModel, tmp_path: Path) -> None:
    (photo := tmp_path / "photo.png").write_bytes(png(PHOTO))
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[20:50, 30:61] = 255
    (folder := tmp_path / "masks").mkdir()
    (folder / "photo_mask.png").write_bytes(png(mask))
    options = ["--prompt", "a face", "--detail", "0.5", "--seed", "5", "--mask-polarity", "white_repaints"]

    def written(name: str, where: Path) -> NDArray[np.uint8]:
        out = str(tmp_path / name)
        call_command("upscale", str(photo), "-o", out, *options, "--mask", str(where), stdout=StringIO(), stderr=errors)
        return np.asarray(decode_image((tmp_path / name).read_bytes()).image.pixels)

    errors = StringIO()
    enlarge(alices_program, **DETAIL, mask=upload(png(mask)), mask_polarity="white_repaints")
    expected = result()
    assert np.array_equal(written("large.png", folder / "photo_mask.png"), expected)
    assert np.array_equal(written("again.png", folder), expected), "found in the folder by the name of the photo"
    enlarge(alices_program, **DETAIL)
    assert not np.array_equal(result(), expected)
    (folder / "photo_mask.png").unlink()
    for where, message in ((folder, "photo.png has no mask"), (tmp_path / "missing.png", "does not exist")):
        with pytest.raises(CommandError, match=message):
            written("none.png", where)
