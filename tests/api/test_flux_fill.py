"""The native API with a tiny model of the family flux-fill that has random weights; no part is mocked."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

pytest.importorskip("torch", reason="diffusion is not installed")

from inpainting.models import Generation, InferenceModel
from tests.api.bodies import shape_a, shape_b
from tests.support import tiny_loras, tiny_models
from tests.support.catalog_entries import add_model

pytestmark = pytest.mark.django_db(transaction=True)  # Workers are notified on commit.


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.saved(folder / "fill", "flux-fill")
    tiny_models.saved(folder / "small")
    return folder


@pytest.fixture
def fill(folders: Path, models_dir: Path) -> InferenceModel:
    """A model added by an administrator, with a native size of 64 pixels."""
    return add_model("fill", folders / "fill", family="flux-fill", width=64, height=64)


@pytest.fixture
def small(fill: InferenceModel, folders: Path) -> InferenceModel:
    """A second model, of another family."""
    return add_model("small", folders / "small", width=64, height=64)


def test_a_prompt_is_followed_and_the_metadata_is_complete(
    alices_program: Client, fill: InferenceModel, photo_png: bytes, mask_png: bytes, photo: Any, hole: Any
) -> None:
    assert (fill.steps, fill.guidance_scale, fill.scheduler) == (50, 30.0, "FlowMatchEulerDiscreteScheduler")
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, seed="3", steps="2"))
    assert answer.status_code == 200, answer.json()
    metadata = answer.json()["metadata"]
    assert (metadata["engine"], metadata["model"], metadata["steps"]) == ("diffusion", "fill", 2)
    assert (metadata["guidance_scale"], metadata["scheduler"]) == (30.0, "FlowMatchEulerDiscreteScheduler")
    assert metadata["results"][0]["outside_mask_changed_pixels"] == 0
    painted = np.asarray(Generation.objects.get().images.get(index=0).read().pixels)
    assert np.array_equal(painted[hole == 0], photo[hole == 0])
    assert not np.array_equal(painted[hole > 0], photo[hole > 0])


@pytest.mark.parametrize(("model", "most"), [("fill", 100), ("small", 20)])
def test_guidance_goes_up_to_the_limit_of_the_family(
    alices_program: Client, small: InferenceModel, model: str, most: int
) -> None:
    settings = {"model": model, "prompt": "a lawn", "guidance_scale": 100}
    answer = alices_program.post("/api/plan/", settings, content_type="application/json")
    assert answer.json()["resolved"]["guidance_scale"] == most


def test_settings_without_effect_are_listed_as_ignored(
    alices_program: Client, fill: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    unread = {"negative_prompt": "blur", "clip_skip": "2", "use_karras_sigmas": "true", "algorithm_type": "dpmsolver++"}
    images = []
    for more in ({}, unread):
        body = shape_a(photo_png, mask_png, seed="3", steps="2", **more)
        answer = alices_program.post("/api/img2img", {**body, "negative_prompt": more.get("negative_prompt", "")})
        ignored = set(answer.json()["metadata"]["ignored"])
        assert ignored & unread.keys() == more.keys()
        generation = Generation.objects.order_by("-created_at").first()
        assert generation is not None
        images.append(generation.images.get().read().pixels)
    assert np.array_equal(images[0], images[1])


@pytest.mark.parametrize("family", ["flux-dev", "flux-fill", "flux-kontext"])
def test_the_guidance_scale_is_listed_where_the_transformer_takes_none(
    alices_program: Client, tmp_path: Path, models_dir: Path, photo_png: bytes, mask_png: bytes, family: str
) -> None:
    settings = {"prompt": "a lawn", "guidance_scale": 10}
    for guidance in (True, False):
        build: Any = tiny_models.BUILDERS[family]
        build(tmp_path, guidance=guidance).save_pretrained(tmp_path / f"{guidance}", safe_serialization=True)
        slug = f"guided-{guidance}".lower()
        add_model(slug, tmp_path / f"{guidance}", family=family, width=64, height=64)
        answer = alices_program.post("/api/plan/", {**settings, "model": slug}, content_type="application/json")
        ignored = answer.json()["ignored"]
        assert ("guidance_scale" in ignored) is not guidance
    assert ignored["guidance_scale"] == f"The transformer of {slug} was distilled without a guidance scale."
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, model=slug, steps="1"))
    assert "guidance_scale" in answer.json()["metadata"]["ignored"]


def test_an_unknown_scheduler_falls_back_with_a_warning(
    alices_program: Client, fill: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    for more in ({"scheduler": "DDIMScheduler"}, {"sampler_name": "ddim"}):
        answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, steps="1", **more))
        warnings = answer.json()["metadata"]["warnings"]
        sentence = "DDIMScheduler does not support flow matching; FlowMatchEulerDiscreteScheduler was used instead."
        assert sentence in warnings


def test_flow_matching_schedulers_are_accepted_only_by_this_family(
    alices_program: Client, small: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    fields = {"steps": "1", "scheduler": "FlowMatchHeunDiscreteScheduler"}
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, model="fill", **fields))
    metadata = answer.json()["metadata"]
    assert metadata["scheduler"] == "FlowMatchHeunDiscreteScheduler"
    assert metadata["warnings"] == []
    answer = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, model="small", **fields))
    assert (answer.status_code, answer.json()["code"]) == (400, "scheduler_unfit")
    assert answer.json()["field"] == "scheduler"
    assert "DDIMScheduler" in answer.json()["message"]


def test_only_this_family_accepts_higher_guidance(
    alices_program: Client, small: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    limits = {("fill", "99.5"): None, ("fill", "101"): 100.0, ("small", "20"): None, ("small", "20.5"): 20.0}
    for (model, guidance), limit in limits.items():
        body = shape_a(photo_png, mask_png, steps="1", model=model, guidance_scale=guidance)
        answer = alices_program.post("/api/img2img", body).json()
        assert (answer.get("limit"), answer.get("field")) == (limit, "guidance_scale" if limit else None), answer
    for model, limit in (("fill", 100.0), ("small", 20.0)):
        body = shape_b(photo_png, mask_png, steps=1, model_name=model, cfg_scale=150)
        metadata = alices_program.post("/api/img2img", body).json()["metadata"]
        assert metadata["guidance_scale"] == limit
        assert f"guidance_scale was 150.0; {limit} was used." in metadata["warnings"]


def test_run_again_keeps_the_guidance_scale_that_another_family_refuses(
    alices_program: Client, small: InferenceModel, photo_png: bytes, mask_png: bytes
) -> None:
    InferenceModel.objects.filter(slug="small").update(is_fallback=True)  # used when the request names no model
    body = shape_a(photo_png, mask_png, steps="1", model="fill", guidance_scale="40")
    assert alices_program.post("/api/img2img", body).status_code == 200
    where = f"/api/generations/{Generation.objects.get().pk}/run-again/"
    as_json = "application/json"
    assert alices_program.post(where, {"guidance_scale": 50}, content_type=as_json).status_code == 202
    answer = alices_program.post(where, {"model": "small"}, content_type=as_json)
    assert (answer.status_code, answer.json()["code"]) == (400, "field_out_of_range")
    assert answer.json()["limit"] == 20.0


def test_loras_of_other_families_are_refused(
    alices_program: Client, small: InferenceModel, photo_png: bytes, mask_png: bytes, tmp_path: Path
) -> None:
    file = tiny_loras.saved(tmp_path / "ink.safetensors", tiny_loras.weights(tiny_models.sd(tmp_path / "words")))
    call_command("add_lora", "ink", "--family", "sd", "--from", str(file), stdout=StringIO())
    body = shape_a(photo_png, mask_png, steps="1", model="fill", loras='[{"slug": "ink"}]')
    answer = alices_program.post("/api/img2img", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "lora_unfit")
    with pytest.raises(CommandError, match=r"no LoRA for FLUX\.1 Fill"):
        call_command("add_lora", "ours", "--family", "flux-fill", "--from", str(file), stdout=StringIO())


def test_loras_of_flux_are_added_and_used(
    alices_program: Client, small: InferenceModel, photo_png: bytes, mask_png: bytes, tmp_path: Path
) -> None:
    name = "lora_unet_double_blocks_0_img_attn_proj"  # of the tiny model: 32 features
    tensors = {f"{name}.lora_down.weight": torch.randn(2, 32), f"{name}.lora_up.weight": torch.randn(32, 2)}
    t5 = {"lora_te3_encoder.lora_down.weight": torch.ones(2, 2), "lora_te3_encoder.lora_up.weight": torch.ones(2, 2)}
    file = tiny_loras.saved(tmp_path / "ink.safetensors", tensors | t5)
    with pytest.raises(CommandError, match="no lcm LoRAs are known"):
        call_command("add_lora", "ink", "--family", "flux-fill", "--kind", "lcm", "--from", str(file))
    call_command("add_lora", "ink", "--family", "flux-fill", "--from", str(file), stdout=StringIO())
    without = alices_program.post("/api/img2img", shape_a(photo_png, mask_png, steps="1", model="fill", seed="3"))
    body = shape_a(photo_png, mask_png, steps="1", model="fill", seed="3", loras='[{"slug": "ink"}]')
    with_lora = alices_program.post("/api/img2img", body)
    assert (without.status_code, with_lora.status_code) == (200, 200)
    metadata = with_lora.json()["metadata"]
    assert [use["slug"] for use in metadata["loras"]] == ["ink"]
    assert any("lora_te3_encoder" in warning for warning in metadata["warnings"])


def test_the_admin_refuses_defaults_of_another_family(small: InferenceModel) -> None:
    fill = InferenceModel.objects.get(slug="fill")
    fill.guidance_scale = 60.0
    fill.full_clean()
    wrong = (
        (fill, "scheduler", "DDIMScheduler"),
        (small, "scheduler", fill.scheduler),
        (small, "guidance_scale", 30.0),
    )
    for model, name, value in wrong:
        kept = getattr(model, name)
        setattr(model, name, value)
        with pytest.raises(ValidationError) as caught:
            model.full_clean()
        assert list(caught.value.message_dict) == [name]
        setattr(model, name, kept)


def test_a_single_file_is_refused_with_the_reason(fill: InferenceModel, folders: Path) -> None:
    file = next((folders / "fill" / "transformer").glob("*.safetensors"))
    with pytest.raises(CommandError, match="is no transformer of FLUX"):
        call_command("add_model", "one", "--family", "flux-fill", "--from", str(file), stdout=StringIO())
    assert not InferenceModel.objects.filter(slug="one").exists()
