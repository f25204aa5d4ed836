"""FLUX.1 Kontext: single results equal diffusers' pipeline, batched results equal single ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from inpainting import families
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.errors import EngineFailed
from inpainting.core.request import InpaintRequest, LoraUse
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.engines.diffusion.conditioning.lora_adapters import ActiveLora
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.model_loading import load
from inpainting.families.flux_kontext.network import FluxKontext
from tests.engines.diffusion.flux_reference import SIZE, assert_equal
from tests.engines.diffusion.pipelines import (
    CPU,
    STEPS,
    ShiftedHeun,
    call_arguments,
    counting_steps,
    denoised,
    ignore_step,
)
from tests.engines.diffusion.plain_flow import request
from tests.support import tiny_loras, tiny_models

EULER, HEUN = FLOW_SCHEDULERS


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "kontext", "flux-kontext")


@pytest.fixture(scope="module")
def model(spec: ModelSpec) -> FluxKontext:
    loaded = load(spec, CPU)
    assert isinstance(loaded, FluxKontext)
    return loaded


def reference(model: FluxKontext, requested: InpaintRequest, scheduler: Any = None) -> torch.Tensor:
    """The latents of diffusers' pipeline built from the same components."""
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
    kind = counting_steps(diffusers.FluxKontextInpaintPipeline, scheduler)
    pipeline = kind(**{**model.pipeline.components, "scheduler": scheduler})
    pipeline.set_progress_bar_config(disable=True)
    arguments = {**call_arguments(requested), "guidance_scale": model.guidance(requested.settings)}
    answer = pipeline(**{**arguments, "output_type": "latent", "_auto_resize": False, "max_area": SIZE.area}).images
    return torch.as_tensor(pipeline._unpack_latents(answer, SIZE.height, SIZE.width, 8))


@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("name", FLOW_SCHEDULERS)
def test_a_single_generation_equals_the_reference_pipeline(model: FluxKontext, name: str, strength: float) -> None:
    requested = request(scheduler=name, strength=strength, steps=12 if strength < 0.5 else STEPS)
    assert_equal(
        denoised(model, requested), reference(model, requested, scheduler=ShiftedHeun() if name == HEUN else None)
    )


def test_the_source_image_prompt_and_guidance_change_what_is_painted(model: FluxKontext) -> None:
    usual = request()
    pixels = np.asarray(usual.image.pixels)
    inverted = np.where(usual.mask[..., None] > 0, 255 - pixels, pixels)
    changed = [
        replace(usual, image=replace(usual.image, pixels=inverted)),  # at a strength of 1 the noise hides nothing of it
        request(prompt="a lawn"),
        request(guidance_scale=9.0),
    ]
    expected = denoised(model, usual)
    for one in changed:
        latents = denoised(model, one)
        assert_equal(latents, reference(model, one))
        assert not torch.allclose(latents, expected, atol=1e-3)


def test_jobs_that_share_the_calls_have_the_results_they_have_alone(spec: ModelSpec) -> None:
    requested = [request(seed=seed, steps=STEPS + seed % 2, guidance_scale=2.0 + seed) for seed in range(4)]
    batcher = Batcher(ModelCache(CPU, 10**9), max_rows=32)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sent: batcher.paint(sent, spec, ignore_step)[0][0], requested))
    for sent, image in zip(requested, together, strict=True):
        alone = Batcher(ModelCache(CPU, 10**9), max_rows=1).paint(sent, spec, ignore_step)[0][0]
        assert np.abs(image.astype(int) - alone).max() <= 1


def test_loras_for_flux_change_it_as_in_the_reference_pipeline(model: FluxKontext, tmp_path: Path) -> None:
    assert families.lora_family("flux-kontext") == "flux-fill"
    assert "flux-kontext" not in families.families_with_loras()
    layer = "transformer_blocks.0.attn.to_q"
    linear = model.transformer.get_submodule(layer)
    tensors = {
        f"transformer.{layer}.lora_A.weight": torch.randn(4, linear.in_features),
        f"transformer.{layer}.lora_B.weight": torch.randn(linear.out_features, 4),
    }
    path = tiny_loras.saved(tmp_path / "ink.safetensors", tensors)
    lora = ActiveLora(LoraSpec(slug="ink", label="Ink", family="flux-fill", digest="ink", path=path), 0.7)
    plain = denoised(model, request())
    model.loras.load(lora)
    model.loras.activate((lora,))
    with_lora = denoised(model, request())
    model.loras.activate(())
    pipeline = diffusers.FluxKontextInpaintPipeline(**model.pipeline.components)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="one", local_files_only=True)
    pipeline.set_adapters(["one"], [0.7])
    try:
        assert_equal(with_lora, reference(model, request()))
    finally:
        pipeline.unload_lora_weights()
    assert not torch.allclose(with_lora, plain, atol=1e-3)


def test_a_request_uses_a_lora_of_flux(spec: ModelSpec, model: FluxKontext, tmp_path: Path) -> None:
    tensors = tiny_loras.weights(model.pipeline, parts=["text_encoder"], rank=4)
    path = tiny_loras.saved(tmp_path / "words.safetensors", tensors)
    lora = LoraSpec(slug="words", label="Words", family="flux-fill", digest="words", path=path)
    batcher = Batcher(ModelCache(CPU, 10**9))
    plain, changed = (
        batcher.paint(request(loras=uses), spec, ignore_step, loras)[0][0].astype(int)
        for uses, loras in (((), []), ((LoraUse("words"),), [lora]))
    )
    assert np.abs(plain - changed).max() > 1


def test_a_transformer_of_fill_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    pipeline = tiny_models.flux_fill(tmp_path, kind=diffusers.FluxKontextInpaintPipeline)
    pipeline.save_pretrained(tmp_path / "fill", safe_serialization=True)
    with pytest.raises(EngineFailed, match="was not trained for editing: its transformer takes 384 channels, not 64"):
        load(replace(spec, path=tmp_path / "fill"), CPU)
