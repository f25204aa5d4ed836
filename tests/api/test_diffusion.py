"""The native API with a tiny diffusion model that has random weights; no part is mocked."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connections
from django.test import Client
from numpy.typing import NDArray

pytest.importorskip("torch", reason="diffusion is not installed")

import torch

from inpainting import tasks
from inpainting.core.codecs import decode_image
from inpainting.engines import registry
from inpainting.engines.base import Queue
from inpainting.engines.diffusion.engine import Diffusion
from inpainting.families.sd.network import StableDiffusion
from inpainting.models import Generation, InferenceModel, Status
from inpainting.worker.run import run_waiting
from tests.api.bodies import shape_a, shape_b, upload
from tests.support import tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(str(tiny_models.saved(tmp_path_factory.mktemp("models") / "tiny").path))


@pytest.fixture
def tiny(tiny_folder: Path, models_dir: Path) -> InferenceModel:
    """A model added by an administrator, with a native size of 64 pixels."""
    return add_model("tiny", tiny_folder, "--alias", "acme/tiny", width=64, height=64, steps=3)


def diffusion() -> Diffusion:
    engine = registry.find("diffusion")
    assert isinstance(engine, Diffusion)
    return engine


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_image(data).image.pixels)


def result(generation: Generation) -> NDArray[np.uint8]:
    return np.asarray(generation.images.get(index=0).read().pixels)


@pytest.mark.parametrize("strength", ["0.5", "1"])
def test_a_large_border_is_painted_in_several_passes(
    alices_program: Client, tiny: InferenceModel, photo: Any, photo_png: bytes, strength: str
) -> None:
    body = {"image": upload(photo_png), "prompt": "a lake", "outpaint_left": "128", "denoising_strength": strength}
    metadata = alices_program.post("/api/img2img", body).json()["metadata"]
    assert metadata["engine"] == "diffusion"
    assert metadata["source_box"] == [128, 0, 224, 64]
    assert metadata["results"][0]["work_size"] == [192, 64]
    assert metadata["warnings"] == ["The border is painted in 6 passes of the model."]
    assert np.array_equal(result(Generation.objects.get())[:, 128:], photo)


def test_the_installed_model_follows_a_prompt_and_the_metadata_is_complete(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes, photo: Any, hole: Any
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, seed="3", denoising_strength="1"))
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert (metadata["engine"], metadata["model"], metadata["steps"]) == ("diffusion", "tiny", 3)
    assert metadata["guidance_scale"] == 7.5
    assert metadata["scheduler"] == "DPMSolverMultistepScheduler"
    assert metadata["ignored"] == []
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    painted = result(Generation.objects.get())
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])


def test_auto_uses_quick_fill_without_a_prompt_unless_a_model_is_named(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    for more, engine in (({}, "quick-fill"), ({"model": "acme/tiny"}, "diffusion")):
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, prompt="", **more))
        assert answer.json()["metadata"]["engine"] == engine


def test_a_request_without_a_mask_repaints_the_whole_image(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes
) -> None:
    body = shape_a(photo_png, b"")
    del body["mask"]
    answer = alices_program.post("/api/img2img", body)
    assert answer.status_code == 200, answer.json()
    assert answer.json()["metadata"]["results"][0]["coverage"] == 1
    assert answer.json()["metadata"]["warnings"] == []  # none about a mask
    again = shape_a(photo_png, b"", engine="quick-fill")
    del again["mask"]
    assert alices_program.post("/api/img2img", again).json()["code"] == "mask_required"


def test_a_batch_without_masks_repaints_whole_images(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes
) -> None:
    body = {"images": [upload(photo_png), upload(photo_png)], "prompt": "winter"}
    answer = alices_program.post("/api/batches/", body)
    assert answer.status_code == 202, answer.json()
    refused = alices_program.post("/api/batches/", {**body, "images": [upload(photo_png)], "engine": "quick-fill"})
    assert refused.json()["code"] == "mask_required"


@pytest.mark.parametrize(
    ("family", "references"), [("sd", 0), ("flux-kontext", 4), ("flux2-klein", 4), ("qwen-image-edit", 3)]
)
def test_the_plan_tells_a_form_which_models_edit_without_a_mask(
    alices_program: Client, models_dir: Path, tmp_path: Path, photo_png: bytes, family: str, references: int
) -> None:
    tiny_models.saved(tmp_path / "model", family)
    add_model("model", tmp_path / "model", family=family, width=64, height=64, steps=1)
    plan = alices_program.post("/api/plan/", {"prompt": "make it winter"}).json()
    assert plan["model"] == "model"
    assert (plan["form"]["edits"], plan["form"]["reference_images"]) == (references > 0, references)
    body = {"image": upload(photo_png), "prompt": "make it winter", "denoising_strength": "1"}
    answer = alices_program.post("/api/img2img", body)
    assert answer.status_code == 200, answer.json()
    assert answer.json()["metadata"]["warnings"] == []


def test_deviations_from_the_request_are_reported(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    body = shape_a(photo_png, mask_png, scheduler="KarrasVeScheduler")
    warnings = alices_program.post("/api/img2img", body).json()["metadata"]["warnings"]
    assert any("HeunDiscreteScheduler" in warning for warning in warnings)


def test_width_and_height_set_the_working_size(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes, photo: Any
) -> None:
    content = alices_program.post("/api/img2img", shape_b(photo_png, mask_png, width=80, height=64)).json()
    assert content["metadata"]["results"][0]["work_size"] == [80, 64]
    assert result(Generation.objects.get()).shape == photo.shape


def test_an_unknown_model_is_refused_with_the_known_slugs(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, model="../../etc/passwd"))
    assert answer.status_code == 400
    assert answer.json()["code"] == "model_not_found"
    assert "tiny" in answer.json()["message"]


def test_diffusion_without_a_model_names_the_install_command(
    alices_program: Client, photo_png: bytes, mask_png: bytes, settings: Any, tmp_path: Path
) -> None:
    settings.MODELS_DIR = tmp_path
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, engine="diffusion"))
    assert answer.status_code == 400
    assert "manage.py pull_model" in answer.json()["message"]


def test_generations_of_eight_users_share_step_batches(
    tiny: InferenceModel, generate: Any, django_user_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)
    settings = {"steps": 8, "strength": 1.0, "engine": "diffusion"}
    owners = [django_user_model.objects.create_user(f"user{n}@example.com", "secret") for n in range(8)]
    generations = [generate(owner, prompt="a red bus", seed=n, run=False, **settings) for n, owner in enumerate(owners)]
    batcher = diffusion().batcher
    calls: list[int] = []
    barrier = threading.Barrier(8)

    def one(_: int) -> None:
        barrier.wait(10)
        run_waiting(Queue.GPU)
        connections.close_all()

    hook = batcher.cache.get(tiny.spec).unet.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    hook.remove()
    assert {Generation.objects.get(pk=generation.pk).status for generation in generations} == {Status.SUCCEEDED}
    assert sum(calls) == 8 * 8 * 2
    assert max(calls) > 2


@pytest.fixture
def out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every denoising step run out of device memory."""

    def predict(self: StableDiffusion, samples: Any, backend: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(StableDiffusion, "predict", predict)


@pytest.mark.usefixtures("out_of_memory")
def test_a_smaller_engine_is_used_when_memory_runs_out_if_allowed(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes, photo: Any, hole: Any
) -> None:
    refused = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, seed="5")).json()
    assert refused["code"] == "gpu_out_of_memory"
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, seed="5", step_down="true"))
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert metadata["engine"] == "quick-fill"
    assert metadata["engine_reason"].startswith("The device's memory was too small for the model")
    assert "prompt" in metadata["ignored"]
    assert "model" not in metadata
    stepped_down = Generation.objects.get(status=Status.SUCCEEDED)
    painted = result(stepped_down)
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])
    address = f"/api/generations/{stepped_down.pk}/run-again/"
    again = alices_program.post(address, {"step_down": False, "steps": 2}, content_type="application/json").json()
    once_more = Generation.objects.get(pk=again["id"])  # the requested model is used, not the fallback engine
    assert (once_more.engine, once_more.settings["model"], once_more.settings["steps"]) == ("diffusion", "tiny", 2)
    assert "There is a prompt" in once_more.engine_reason


@pytest.mark.usefixtures("out_of_memory")
def test_the_fallback_engine_needs_known_pixels(alices_program: Client, tiny: InferenceModel, photo_png: bytes) -> None:
    body = shape_a(photo_png, b"", step_down="true")
    del body["mask"]
    assert alices_program.post("/api/img2img", body).json()["code"] == "gpu_out_of_memory"


def test_the_metadata_has_the_reason_for_the_engine(
    alices_program: Client, tiny: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    for fields, reason in (
        ({"prompt": "a lawn"}, "There is a prompt, and a diffusion model is installed."),
        ({"prompt": ""}, "There is no prompt, so the masked area is filled from the rest of the image"),
        ({"prompt": "", "model": "tiny"}, "A model was requested, and a diffusion model is installed."),
        ({"prompt": "a lawn", "engine": "quick-fill"}, "The request names this engine."),
    ):
        metadata = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, **fields)).json()["metadata"]
        assert metadata["engine_reason"].startswith(reason)
