"""Z-Image: single results equal diffusers' pipeline, batched results equal single ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from inpainting.catalog.inspection.lora_files import detect_family
from inpainting.catalog.inspection.safetensors_header import read_header
from inpainting.catalog.specs import LoraSpec, ModelSpec
from inpainting.core.adapter_uses import LoraUse
from inpainting.core.geometry import Size
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import FLOW_SCHEDULERS
from inpainting.engines.diffusion.serving.batcher import Batcher
from inpainting.engines.diffusion.serving.model_cache import ModelCache
from inpainting.engines.diffusion.serving.model_loading import load
from inpainting.families.z_image.network import MAX_TOKENS, ZImage
from inpainting.networks.device.hardware import Hardware
from tests.engines.diffusion.pipelines import (
    CPU,
    STEPS,
    ShiftedHeun,
    call_arguments,
    counting_steps,
    denoised,
    ignore_step,
)
from tests.engines.diffusion.plain_flow import assert_equal, paint, request, rows_of_shared_calls
from tests.support import tiny_loras, tiny_models

EULER, HEUN = FLOW_SCHEDULERS
LORA = "ink"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "z", "z-image")


@pytest.fixture(scope="module")
def model(spec: ModelSpec) -> ZImage:
    loaded = load(spec, CPU)
    assert isinstance(loaded, ZImage)
    return loaded


def diffusers_result(model: ZImage, requested: InpaintRequest, scheduler: Any = None, **changes: Any) -> Any:
    """The result of the reference pipeline built from the same components. Its guidance scale counts from 0."""
    settings = requested.settings
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
    kind = counting_steps(diffusers.ZImageInpaintPipeline, scheduler)
    reference = kind(**{**model.pipeline.components, "scheduler": scheduler})
    reference.set_progress_bar_config(disable=True)
    arguments = {
        **call_arguments(requested),
        "negative_prompt": settings.negative_prompt,
        "guidance_scale": model.guidance(settings) - 1,
    }
    return reference(**{**arguments, **changes}).images


# One image


@pytest.mark.parametrize("guidance_scale", [None, 5.0])
@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
def test_a_single_generation_equals_the_reference_pipeline(
    model: ZImage, strength: float, guidance_scale: float | None
) -> None:
    requested = request(
        strength=strength,
        steps=12 if strength < 0.5 else STEPS,
        guidance_scale=guidance_scale,
        negative_prompt="blurred, and more words than in the prompt",
    )
    assert_equal(denoised(model, requested), diffusers_result(model, requested))


@pytest.mark.parametrize("strength", [0.75, 1.0])
@pytest.mark.parametrize("name", FLOW_SCHEDULERS)
def test_noise_levels_shifted_by_the_image_size_equal_the_reference_pipeline(
    spec: ModelSpec, name: str, strength: float
) -> None:
    loaded = load(spec, CPU)
    loaded.scheduler_config = {**loaded.scheduler_config, "use_dynamic_shifting": True}
    requested = request(scheduler=name, strength=strength)
    scheduler = ShiftedHeun() if name == HEUN else None
    assert_equal(denoised(loaded, requested), diffusers_result(loaded, requested, scheduler))


def test_its_decoded_image_equals_the_reference_pipeline(model: ZImage) -> None:
    requested = request(strength=0.75)
    (image,) = model.codec().decode(denoised(model, requested))
    expected = np.asarray(diffusers_result(model, requested, output_type="pil")[0])
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_guidance_is_applied_between_its_start_and_end_only(model: ZImage) -> None:
    plain, guided, part, never = (
        denoised(model, request(negative_prompt="blur", **settings))
        for settings in (
            {"guidance_scale": 1.0},
            {"guidance_scale": 5.0},
            {"guidance_scale": 5.0, "guidance_start": 0.2, "guidance_end": 0.6},
            {"guidance_scale": 5.0, "guidance_start": 0.9},
        )
    )
    assert_equal(never, plain)
    distances = [float((latents - plain).norm()) for latents in (part, guided)]
    assert 0.01 < distances[0] < distances[1]


def test_rescaled_guidance_keeps_the_spread_of_the_prediction(model: ZImage) -> None:
    strong = {"guidance_scale": 15.0, "steps": 1}
    plain, guided, rescaled = (
        float(denoised(model, request(**settings)).std())
        for settings in ({"steps": 1}, strong, {**strong, "guidance_rescale": 1.0})
    )
    assert abs(rescaled - plain) < abs(guided - plain)


# Prompts


def test_a_prompt_is_encoded_as_by_the_reference_pipeline_without_padding(model: ZImage) -> None:
    for prompt in ("a red bus", "", "a b c\nsecond line", "x " * 300):
        requested = request(prompt=prompt, guidance_scale=3.0, negative_prompt="blur")
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        expected = model.pipeline.encode_prompt(prompt, "cpu", True, "blur")
        for row, (reference,) in zip(text.row_embeds, reversed(expected), strict=True):
            assert_equal(row, reference)


def test_the_words_after_the_last_token_are_quoted(model: ZImage) -> None:
    assert model.tokenize(PaintSettings(prompt="a " * 200)).notes == ()
    long = model.tokenize(PaintSettings(prompt="a " * 260 + "zebra"))
    assert len(long.ids[0]) == MAX_TOKENS
    (note,) = long.notes
    assert note.startswith(f"The prompt is longer than the model reads ({MAX_TOKENS} tokens)")
    assert note.endswith("zebra”.")
    (note,) = model.tokenize(PaintSettings(prompt="a (red:1.3) bus")).notes
    assert "reads no weights" in note


# Batches


def test_jobs_of_different_prompts_share_calls_with_the_results_they_have_alone(spec: ModelSpec) -> None:
    assert max(rows_of_shared_calls(spec)) > 2


def test_each_image_of_a_request_equals_one_with_the_next_seed(spec: ModelSpec) -> None:
    several = paint(spec, request(num_images=3, guidance_scale=3.0), max_rows=32)
    for number, image in enumerate(several):
        alone = paint(spec, request(seed=7 + number, guidance_scale=3.0))[0]
        assert np.abs(image.astype(int) - alone).max() <= 1


def test_when_memory_is_short_rows_are_computed_one_after_another(spec: ModelSpec) -> None:
    loaded, requested = load(spec, CPU), request(guidance_scale=4.0)
    assert loaded.reduce_memory(Size(64, 64))  # tiles
    before = denoised(loaded, requested)
    assert loaded.reduce_memory(Size(64, 64))
    calls: list[int] = []
    loaded.transformer.register_forward_pre_hook(lambda module, given: calls.append(len(given[0])))
    assert_equal(denoised(loaded, requested), before)
    assert calls == [1] * 2 * STEPS


def test_it_never_computes_in_float16(spec: ModelSpec) -> None:
    loaded = load(spec, Hardware(torch.device("cpu"), torch.float16))
    types = {part.dtype for part in (loaded.transformer, loaded.vae, loaded.pipeline.text_encoder)}
    assert types == {torch.bfloat16}
    assert torch.isfinite(denoised(loaded, request())).all()


# LoRAs


@pytest.mark.parametrize("naming", ["diffusers", "kohya", "ai-toolkit"])
def test_a_lora_in_each_naming_gives_the_result_of_the_reference_pipeline(
    tmp_path: Path, spec: ModelSpec, model: ZImage, naming: str
) -> None:
    tensors = tiny_loras.weights(model.pipeline, parts=["transformer"], kohya=naming == "kohya")
    if naming == "ai-toolkit":
        tensors = {name.replace("transformer.", "diffusion_model.", 1): tensor for name, tensor in tensors.items()}
    file = tiny_loras.saved(tmp_path / f"{LORA}.safetensors", tensors)
    assert detect_family(read_header(file)) == "z-image"
    lora = LoraSpec(LORA, LORA, "z-image", path=file)
    requested = request(loras=(LoraUse(LORA, 0.8),))
    (painted,) = paint(spec, requested, loras=[lora])

    reference = diffusers.ZImageInpaintPipeline.from_pretrained(spec.path)
    reference.set_progress_bar_config(disable=True)
    reference.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=LORA)
    reference.set_adapters([LORA], [0.8])
    arguments = {**call_arguments(requested), "guidance_scale": 0.0, "output_type": "pil"}
    expected = np.asarray(reference(**arguments).images[0])
    assert np.abs(painted.astype(int) - expected).max() <= 1
    assert np.abs(painted.astype(int) - paint(spec, request())[0]).max() > 1


@pytest.mark.parametrize("stem", ["diffusion_model.layers.0.attention.qkv", "lora_unet_layers_0_attention_qkv"])
def test_tensors_of_a_lora_for_layers_that_the_model_lacks_are_named(
    tmp_path: Path, spec: ModelSpec, model: ZImage, stem: str
) -> None:
    is_kohya = stem.startswith("lora_unet")
    tensors = tiny_loras.weights(model.pipeline, parts=["transformer"], kohya=is_kohya)
    down, up = ("lora_down", "lora_up") if is_kohya else ("lora_A", "lora_B")
    rank = next(len(tensor) for name, tensor in tensors.items() if name.endswith(f"{down}.weight"))
    tensors |= {f"{stem}.{down}.weight": torch.ones(rank, 8), f"{stem}.{up}.weight": torch.ones(24, rank)}
    tensors = {name.replace("transformer.", "diffusion_model.", 1): tensor for name, tensor in tensors.items()}
    lora = LoraSpec(LORA, LORA, "z-image", path=tiny_loras.saved(tmp_path / f"{LORA}.safetensors", tensors))
    _, notes = Batcher(ModelCache(CPU, 10**9)).paint(request(loras=(LoraUse(LORA, 0.8),)), spec, ignore_step, [lora])
    assert any("attention" in note and "qkv" in note for note in notes), notes
