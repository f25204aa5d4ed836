"""Qwen-Image: single results equal diffusers' pipeline, batched results equal single ones."""

from __future__ import annotations

from functools import reduce
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
from inpainting.families.qwen_image.network import QwenImage, apply_guidance
from inpainting.families.z_image.network import MAX_TOKENS
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
from tests.engines.diffusion.plain_flow import HEIGHT, WIDTH, assert_equal, paint, request, rows_of_shared_calls
from tests.support import tiny_loras, tiny_models

EULER, HEUN = FLOW_SCHEDULERS
LORA = "ink"
MORE = ("img_mlp.net.2", "txt_mod.1", "img_in")
"""Layers beside those of attention, as trainers take them."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_models.saved(tmp_path_factory.mktemp("models") / "qwen", "qwen-image")


@pytest.fixture(scope="module")
def model(spec: ModelSpec) -> QwenImage:
    loaded = load(spec, CPU)
    assert isinstance(loaded, QwenImage)
    return loaded


def diffusers_result(model: QwenImage, requested: InpaintRequest, scheduler: Any = None, **changes: Any) -> Any:
    """The result of the reference pipeline built from the same components; latents as our own."""
    settings = requested.settings
    scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
    kind = counting_steps(diffusers.QwenImageInpaintPipeline, scheduler)
    reference = kind(**{**model.pipeline.components, "scheduler": scheduler})
    reference.set_progress_bar_config(disable=True)
    arguments = {
        **call_arguments(requested),
        "negative_prompt": settings.negative_prompt,
        "true_cfg_scale": model.guidance(settings),
    }
    result = reference(**{**arguments, **changes}).images
    if changes.get("output_type"):
        return result
    return reference._unpack_latents(result, HEIGHT, WIDTH, reference.vae_scale_factor)[:, :, 0]


# One image


@pytest.mark.parametrize("guidance_scale", [None, 5.0])
@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
def test_a_single_generation_equals_the_reference_pipeline(
    model: QwenImage, strength: float, guidance_scale: float | None
) -> None:
    requested = request(
        strength=strength,
        steps=12 if strength < 0.5 else STEPS,
        guidance_scale=guidance_scale,
        negative_prompt="blurred, and more words than in the prompt",
    )
    assert_equal(denoised(model, requested), diffusers_result(model, requested))


@pytest.mark.parametrize("strength", [0.75, 1.0])
def test_heuns_method_equals_the_reference_pipeline(spec: ModelSpec, strength: float) -> None:
    loaded = load(spec, CPU)
    loaded.scheduler_config = {"use_dynamic_shifting": True, "num_train_timesteps": 1000}
    requested = request(scheduler=HEUN, strength=strength)
    assert_equal(denoised(loaded, requested), diffusers_result(loaded, requested, ShiftedHeun()))


def test_its_decoded_image_equals_the_reference_pipeline(model: QwenImage) -> None:
    requested = request(strength=0.75)
    (image,) = model.codec().decode(denoised(model, requested))
    expected = np.asarray(diffusers_result(model, requested, output_type="pil")[0])
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_guidance_is_applied_between_its_start_and_end_only(model: QwenImage) -> None:
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


def test_guidance_keeps_the_length_of_each_token(model: QwenImage) -> None:
    torch.manual_seed(0)
    velocity = torch.randn(2, 24, 64)
    rows = apply_guidance(velocity, 7.0)
    assert torch.equal(rows[0], rows[1])
    torch.testing.assert_close(rows[1].norm(dim=-1), velocity[1].norm(dim=-1))
    assert not torch.allclose(rows[1], velocity[1], atol=0.1)
    assert torch.equal(apply_guidance(velocity[:1], 7.0), velocity[:1])


# Prompts


def test_a_prompt_is_encoded_as_by_the_reference_pipeline_without_padding(model: QwenImage) -> None:
    for prompt in ("a red bus", "", "a b c\nsecond line", "x " * 300):
        requested = request(prompt=prompt, negative_prompt="blur")
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        for row, one in zip(text.row_embeds, ("blur", prompt), strict=True):
            (expected,), mask = model.pipeline.encode_prompt(one, max_sequence_length=MAX_TOKENS)
            assert mask is None
            assert_equal(row, expected)


def test_the_words_after_the_last_token_are_quoted(model: QwenImage) -> None:
    assert model.tokenize(PaintSettings(prompt="a " * 150)).notes == ()
    long = model.tokenize(PaintSettings(prompt="a " * 260 + "zebra"))
    assert len(long.ids[1]) == model.skipped_tokens + MAX_TOKENS
    (note,) = long.notes
    assert note.startswith(f"The prompt is longer than the model reads ({MAX_TOKENS} tokens)")
    assert note.endswith("zebra”.")
    (note,) = model.tokenize(PaintSettings(prompt="a (red:1.3) bus")).notes
    assert "reads no weights" in note


# Batches


def test_jobs_of_different_prompts_share_calls_with_the_results_they_have_alone(spec: ModelSpec) -> None:
    assert max(rows_of_shared_calls(spec)) > 2


def test_the_padding_of_a_shorter_text_changes_nothing(model: QwenImage) -> None:
    states = []
    for prompt in ("a red bus", "many words " * 20):
        requested = request(prompt=prompt, guidance_scale=1.0)
        text = tiny_models.encoded(model, requested.settings, requested.image.size)
        states.append(model.start(requested, 0, text)[0])
    together = model.predict(states)
    for state, velocity in zip(states, together, strict=True):
        torch.testing.assert_close(velocity, model.predict([state])[0], rtol=1e-5, atol=1e-5)


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
    loaded.transformer.register_forward_pre_hook(
        lambda module, args, given: calls.append(len(given["hidden_states"])), with_kwargs=True
    )
    assert_equal(denoised(loaded, requested), before)
    assert calls == [1] * 2 * STEPS


def test_it_never_computes_in_float16(spec: ModelSpec) -> None:
    loaded = load(spec, Hardware(torch.device("cpu"), torch.float16))
    types = {part.dtype for part in (loaded.transformer, loaded.vae, loaded.pipeline.text_encoder)}
    assert types == {torch.bfloat16}
    assert torch.isfinite(denoised(loaded, request())).all()


# LoRAs


@pytest.mark.parametrize("naming", ["diffusers", "kohya", "ai-toolkit", "lightning"])
def test_a_lora_in_each_naming_gives_the_result_of_the_reference_pipeline(
    tmp_path: Path, spec: ModelSpec, model: QwenImage, naming: str
) -> None:
    tensors = tiny_loras.weights(model.pipeline, parts=["transformer"], kohya=naming == "kohya", more_layers=MORE)
    if naming == "ai-toolkit":
        tensors = {name.replace("transformer.", "diffusion_model.", 1): tensor for name, tensor in tensors.items()}
    if naming == "lightning":
        names = {"transformer.": "", "lora_A": "lora_down", "lora_B": "lora_up"}
        tensors = {
            reduce(lambda name, pair: name.replace(*pair, 1), names.items(), name): tensor
            for name, tensor in tensors.items()
        }
        tensors |= {
            name.replace("lora_down.weight", "alpha"): torch.tensor(2.0) for name in tensors if "lora_down" in name
        }
    file = tiny_loras.saved(tmp_path / f"{LORA}.safetensors", tensors)
    assert detect_family(read_header(file)) == "qwen-image"
    lora = LoraSpec(LORA, LORA, "qwen-image", path=file)
    requested = request(loras=(LoraUse(LORA, 0.8),))
    (painted,) = paint(spec, requested, loras=[lora])

    reference = diffusers.QwenImageInpaintPipeline.from_pretrained(spec.path)
    reference.set_progress_bar_config(disable=True)
    reference.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=LORA)
    reference.set_adapters([LORA], [0.8])
    arguments = {**call_arguments(requested), "true_cfg_scale": 4.0, "negative_prompt": "", "output_type": "pil"}
    expected = np.asarray(reference(**arguments).images[0])
    assert np.abs(painted.astype(int) - expected).max() <= 1
    assert np.abs(painted.astype(int) - paint(spec, request())[0]).max() > 1


@pytest.mark.parametrize(
    "stem", ["diffusion_model.transformer_blocks.7.attn.to_q", "lora_unet_transformer_blocks_7_attn_to_q"]
)
def test_tensors_of_a_lora_for_layers_that_the_model_lacks_are_named(
    tmp_path: Path, spec: ModelSpec, model: QwenImage, stem: str
) -> None:
    is_kohya = stem.startswith("lora_unet")
    tensors = tiny_loras.weights(model.pipeline, parts=["transformer"], kohya=is_kohya, more_layers=MORE)
    down, up = ("lora_down", "lora_up") if is_kohya else ("lora_A", "lora_B")
    rank = next(len(tensor) for name, tensor in tensors.items() if name.endswith(f"{down}.weight"))
    tensors |= {f"{stem}.{down}.weight": torch.ones(rank, 8), f"{stem}.{up}.weight": torch.ones(24, rank)}
    tensors = {name.replace("transformer.", "diffusion_model.", 1): tensor for name, tensor in tensors.items()}
    lora = LoraSpec(LORA, LORA, "qwen-image", path=tiny_loras.saved(tmp_path / f"{LORA}.safetensors", tensors))
    _, notes = Batcher(ModelCache(CPU, 10**9)).paint(request(loras=(LoraUse(LORA, 0.8),)), spec, ignore_step, [lora])
    assert any("blocks.7." in note or "blocks_7_" in note for note in notes), notes
