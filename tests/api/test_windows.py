"""The window that a diffusion model gets: small masks are scaled up to its size, and the plan is what is painted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from skimage import data

pytest.importorskip("torch", reason="diffusion is not installed")

from inpainting.core.geometry import Box, Size, Window
from inpainting.engines.base import Queue
from inpainting.families.sd.network import StableDiffusion
from inpainting.models import Generation
from inpainting.worker.run import run_waiting
from tests.api.bodies import shape_a, upload
from tests.conftest import png
from tests.support import tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)

PHOTO = data.astronaut()
HOLE = np.zeros(PHOTO.shape[:2], np.uint8)
HOLE[200:220, 240:260] = 255


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(str(tiny_models.saved(tmp_path_factory.mktemp("models") / "tiny").path))


@pytest.fixture(autouse=True)
def tiny(tiny_folder: Path, models_dir: Path) -> None:
    """An installed model with a native size of 64 pixels."""
    add_model("tiny", tiny_folder, width=64, height=64, steps=2)


def body(**fields: Any) -> dict[str, Any]:
    sent = {"prompt": "a patch", "seed": "5", **{name: str(value) for name, value in fields.items()}}
    return shape_a(png(PHOTO), png(255 - HOLE), **sent)


def sides(box: list[int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({"only_masked_padding": 6}, 32),
        ({"only_masked_padding": 0}, 22),  # one pixel around the mask
        ({"only_masked_padding": 6, "max_upscaling": 1}, 64),
        ({"only_masked_padding": 6, "width": 64, "height": 64}, 32),
        ({"context_factor": 1.6}, 32),  # 6 of the mask's 20 pixels on each side
        ({"context_factor": 2.2, "only_masked_padding": 3}, 44),  # the larger of the two
        ({"context_factor": 1.2, "only_masked_padding": 6}, 32),
        ({"context_factor": 3, "width": 64, "height": 64}, 60),
    ],
)
def test_a_small_mask_is_scaled_up_to_the_models_size(
    alices_program: Client, fields: dict[str, float], side: int
) -> None:
    planned = alices_program.post("/api/plan/", body(**fields)).json()
    assert sides(planned["window"]) == (side, side)
    painted = alices_program.post("/api/img2img", body(**fields)).json()["metadata"]["results"][0]
    assert (painted["window"], painted["work_size"]) == (planned["window"], planned["work_size"])
    assert painted["work_size"] == [64, 64]
    assert planned["scale"] == [round(64 / side, 4)] * 2


def test_a_plan_without_images_has_the_window_of_a_mask_that_will_be_sent(alices_program: Client) -> None:
    fields = {
        "engine": "diffusion",
        "only_masked_padding": 6,
        "image_size": [512, 512],
        "mask_box": [240, 200, 260, 220],
    }
    answer = alices_program.post("/api/plan/", fields, content_type="application/json").json()
    assert answer["window"] == alices_program.post("/api/plan/", body(only_masked_padding=6)).json()["window"]
    assert (answer["work_size"], answer["scale"]) == ([64, 64], [2, 2])
    grown = alices_program.post("/api/plan/", {**fields, "mask_grow": 20}, content_type="application/json").json()
    assert sides(grown["window"]) == (80, 80)  # a multiple of the model's
    outside = alices_program.post("/api/plan/", {**fields, "mask_box": [0, 0, 600, 9]}, content_type="application/json")
    assert (outside.status_code, outside.json()["field"]) == (400, "mask_box")
    without = alices_program.post("/api/plan/", {"engine": "diffusion"}, content_type="application/json").json()
    assert (without["window"], without["work_size"], without["scale"]) == (None, None, None)


@pytest.mark.parametrize("asked", [{"only_masked_padding": 6}, {"context_factor": 1.6}])
def test_a_context_that_the_largest_upscaling_exceeds_is_reported(
    alices_program: Client, asked: dict[str, float]
) -> None:
    def warnings(**fields: int) -> list[str]:
        found: list[str] = alices_program.post("/api/plan/", body(**asked, **fields)).json()["warnings"]
        return [warning for warning in found if "max_upscaling" in warning]

    assert warnings() == []
    (warning,) = warnings(max_upscaling=1)
    assert "{}={}".format(*asked.popitem()) in warning


def test_an_image_too_small_for_the_work_size_is_not_stretched(alices_program: Client) -> None:
    narrow = shape_a(png(PHOTO[:, :64]), png(np.zeros((512, 64), np.uint8)), prompt="a patch", width="64", height="64")
    answer = alices_program.post("/api/img2img", narrow).json()
    assert answer["metadata"]["results"][0]["work_size"] == [8, 64]
    assert any("painted at 8x64" in w or "paints at 8x64" in w for w in answer["metadata"]["warnings"])


def test_the_worker_paints_the_window_of_the_stored_plan(alices_program: Client) -> None:
    answer = alices_program.post("/api/img2img", body(), headers={"Prefer": "respond-async"})
    generation = Generation.objects.get()
    assert answer.status_code in (200, 202)
    assert generation.planned_window is not None
    other = Window(Box(200, 150, 300, 250), Size(64, 64))
    again = generation.copy_for_rerun()
    again.window = other.to_dict()
    again.save_new()
    run_waiting(Queue.GPU)
    again.refresh_from_db()
    assert again.images.get().report["window"] == other.box.to_list()


def test_a_large_area_is_painted_in_tiles_whose_edges_do_not_show(alices_program: Client) -> None:
    hole = np.zeros(PHOTO.shape[:2], np.uint8)
    hole[150:280, 120:260] = 255
    fields = {"prompt": "a face", "seed": "5", "denoising_strength": "0.3", "tiled": "true"}
    sent = shape_a(png(PHOTO), png(255 - hole), **fields)
    planned = alices_program.post("/api/plan/", sent).json()
    answer = alices_program.post("/api/img2img", shape_a(png(PHOTO), png(255 - hole), **fields)).json()
    (report,) = answer["metadata"]["results"]
    assert (report["window"], report["work_size"]) == (planned["window"], planned["work_size"])
    assert list(sides(report["window"])) == report["work_size"]  # at the size of the photo
    assert report["outside_mask_changed_pixels"] == 0
    generation = Generation.objects.get()
    assert generation.planned_window is not None
    tiles = generation.planned_window.passes
    assert len(tiles) >= 9
    assert {tile.size for tile in tiles} == {Size(64, 64)}
    change = (generation.images.get().read().pixels.astype(int) - PHOTO)[150:280, 120:260]
    for axis, first, ends in (
        (1, 120, {tile.left for tile in tiles} | {tile.right for tile in tiles}),
        (0, 150, {tile.top for tile in tiles} | {tile.bottom for tile in tiles}),
    ):
        steps = np.abs(np.diff(change, axis=axis)).mean(axis=(1 - axis, 2))
        at_edges = [end - first - 1 for end in ends if 1 < end - first < len(steps)]
        beside = np.delete(steps, at_edges)
        assert steps[at_edges].max() <= beside.max()


def painted(client: Client, **fields: Any) -> np.ndarray[Any, Any]:
    answer = client.post("/api/img2img", body(**fields))
    assert answer.status_code == 200, answer.json()
    return np.asarray(Generation.objects.latest("created_at").images.get().read().pixels).astype(int)


def test_masked_content_is_what_a_strength_below_1_starts_from(alices_program: Client) -> None:
    contents = ("original", "fill", "noise", "nothing")
    results = [painted(alices_program, masked_content=name, denoising_strength=0.5) for name in contents]
    for first in range(len(results)):
        for second in range(first):
            assert (results[first] != results[second]).any()
    free = [painted(alices_program, masked_content=name, denoising_strength=1) for name in contents]
    assert all((other == free[0]).all() for other in free)
    metadata = Generation.objects.latest("created_at")
    assert "masked_content" in metadata.ignored


def test_an_insert_is_what_a_strength_below_1_starts_from(alices_program: Client) -> None:
    insert = np.ascontiguousarray(data.coffee()[:40, :40])
    fields = {"denoising_strength": 0.6, "max_upscaling": 1}
    pasted = PHOTO.copy()
    pasted[HOLE > 0] = insert[10:30, 10:30].reshape(-1, 3)
    sent = {**body(**fields), "image": upload(png(pasted))}
    assert alices_program.post("/api/img2img", sent).status_code == 200
    expected = np.asarray(Generation.objects.latest("created_at").images.get().read().pixels)[HOLE > 0]
    for content in ("original", "nothing"):
        sent = {**body(**fields, masked_content=content), "insert_image": upload(png(insert)), "insert_width": "40"}
        assert alices_program.post("/api/img2img", sent).status_code == 200
        result = np.asarray(Generation.objects.latest("created_at").images.get().read().pixels)
        assert np.array_equal(result[HOLE > 0], expected)
        assert np.array_equal(result[HOLE == 0], PHOTO[HOLE == 0])
    sent = {**body(**fields, masked_content="nothing"), "insert_image": upload(png(insert)), "insert_x": "258"}
    assert alices_program.post("/api/img2img", sent).status_code == 200
    beside = np.asarray(Generation.objects.latest("created_at").images.get().read().pixels)[HOLE > 0]
    sent = {**body(**fields), "insert_image": upload(png(insert)), "insert_x": "258"}
    assert alices_program.post("/api/img2img", sent).status_code == 200
    original = np.asarray(Generation.objects.latest("created_at").images.get().read().pixels)[HOLE > 0]
    assert not np.array_equal(beside, original)


def test_the_model_sees_the_ramp_of_the_mask(alices_program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray[Any, Any]] = []
    start = StableDiffusion.start

    def recorded(self: StableDiffusion, request: Any, *arguments: Any) -> Any:
        seen.append(request.mask)
        return start(self, request, *arguments)

    monkeypatch.setattr(StableDiffusion, "start", recorded)
    painted(alices_program, mask_blur=6)
    painted(alices_program)
    faded, sharp = seen
    assert len(np.unique(faded)) > 3
    assert set(np.unique(sharp)) <= {0, 255}
    assert ((faded > 0) == (sharp > 0)).all()
