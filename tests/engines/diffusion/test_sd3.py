"""Stable Diffusion 3.5: the contract of flow-matching families, and how three text encoders read a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from inpainting.catalog.inspection.formats.safetensors_header import read_header
from inpainting.catalog.inspection.lora_files import check_lora, detect_family
from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.serving.loading.model_loading import load
from inpainting.families.sd3.network import MAX_TOKENS
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import FlowLoraContract, cases
from tests.engines.diffusion import loras_of_layers
from tests.engines.diffusion.loras_of_layers import Layers
from tests.engines.diffusion.pipelines import CPU, STEPS, denoised
from tests.engines.diffusion.plain_flow import EULER, HEUN
from tests.support import tiny_loras, tiny_models

SHIFT = 3.0
GUIDED: dict[str, Any] = {"guidance_scale": 5.0, "negative_prompt": "blurred, and more words than in the prompt"}


ORIGINAL: Layers = {
    "joint_blocks.1.x_block.attn.qkv": tuple(f"transformer_blocks.1.attn.to_{name}" for name in "qkv"),
    "joint_blocks.0.x_block.attn2.qkv": tuple(f"transformer_blocks.0.attn2.to_{name}" for name in "qkv"),
    "joint_blocks.1.context_block.attn.qkv": tuple(f"transformer_blocks.1.attn.add_{name}_proj" for name in "qkv"),
    "joint_blocks.0.context_block.attn.proj": ("transformer_blocks.0.attn.to_add_out",),
    "joint_blocks.0.x_block.mlp.fc1": ("transformer_blocks.0.ff.net.0.proj",),
    "joint_blocks.0.context_block.mlp.fc2": ("transformer_blocks.0.ff_context.net.2",),
    "joint_blocks.0.context_block.adaLN_modulation.1": ("transformer_blocks.0.norm1_context.linear",),
    "joint_blocks.1.x_block.adaLN_modulation.1": ("transformer_blocks.1.norm1.linear",),
    "t_embedder.mlp.2": ("time_text_embed.timestep_embedder.linear_2",),
    "y_embedder.mlp.0": ("time_text_embed.text_embedder.linear_1",),
}
"""Layer in the names of the publisher's code -> the layers in diffusers that give its outputs."""


class WithShiftedLatents(diffusers.StableDiffusion3InpaintPipeline):  # type: ignore[misc]  # diffusers ships no types
    """diffusers' pipeline, which decodes latents without the VAE's `shift_factor`, as `StableDiffusion3Pipeline` does.

    It takes a strength of 1 for noise alone.
    """

    def __call__(self, *given: Any, output_type: str = "pil", **named: Any) -> Any:
        answer = super().__call__(*given, output_type="latent", **named)
        if output_type == "pil":
            config = self.vae.config
            decoded = self.vae.decode(answer.images / config.scaling_factor + config.shift_factor).sample
            answer.images = self.image_processor.postprocess(decoded.detach(), output_type="pil")
        return answer


class TestStableDiffusion3(FlowLoraContract):
    family = "sd3"
    unknown_layer = "joint_blocks.7.x_block.attn.proj"
    lora_namings = ("diffusers",)
    lora_components = ("transformer", "text_encoder", "text_encoder_2")
    lora_layers = ("add_k_proj", "ff.net.2")
    pipeline = WithShiftedLatents
    cases = cases({"scheduler": HEUN}, GUIDED)

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        found = {**super().arguments(model, settings), "negative_prompt": settings.negative_prompt}
        if settings.clip_skip:
            found["clip_skip"] = settings.clip_skip - 1
        if settings.scheduler == HEUN:  # diffusers' takes no sigmas, and its stand-in does not shift them
            levels = np.linspace(1.0, shifted(0.001), settings.steps or STEPS)
            found["sigmas"] = [*map(shifted, levels)]
        return found

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
        return latents

    def test_all_text_encoders_read_a_prompt_as_in_the_reference_pipeline(self, model: Any) -> None:
        for prompt in ("a red bus", "", "word " * 200):
            requested = self.request(prompt=prompt, clip_skip=2, **GUIDED)
            text = tiny_models.encoded_request(model, requested)
            embeds, negative, pooled, negative_pooled = model.pipeline.encode_prompt(
                prompt,
                None,
                None,
                negative_prompt=GUIDED["negative_prompt"],
                clip_skip=1,
                max_sequence_length=MAX_TOKENS,
            )
            assert_equal(text.embeds, torch.cat([negative, embeds]))
            assert_equal(text.pooled, torch.cat([negative_pooled, pooled]))

    def test_clip_skip_equals_the_reference_pipeline(self, model: Any) -> None:
        requested = self.request(clip_skip=2, scheduler=EULER, **GUIDED)
        latents = denoised(model, requested)
        assert_equal(latents, self.reference_result(model, requested))
        assert not torch.allclose(latents, denoised(model, self.request(scheduler=EULER, **GUIDED)), atol=1e-3)

    def test_the_words_that_t5_does_not_read_are_quoted(self, model: Any) -> None:
        assert model.tokenize(PaintSettings(prompt="a " * 126 + "b")).notes == ()
        (note,) = model.tokenize(PaintSettings(prompt="a " * 126 + "b unread")).notes
        assert note.endswith("(255 tokens); not read: “unread”.")
        (note,) = model.tokenize(PaintSettings(prompt="a (red:1.3) bus")).notes
        assert "reads no weights" in note

    @pytest.mark.parametrize("prefix", ["diffusion_model.", "lora_unet_", "lycoris_"])
    def test_layers_in_the_names_of_the_original_are_changed_as_their_product_says(
        self, tmp_path: Path, model: Any, prefix: str
    ) -> None:
        tensors = loras_of_layers.plain(model, ORIGINAL, prefix, is_kohya=prefix.endswith("_"))
        path = tiny_loras.saved(tmp_path / "one.safetensors", tensors)
        assert detect_family(read_header(path)) == "sd3"
        changed, notes = loras_of_layers.painted(model, path, self.family, self.request(), 0.7)
        assert notes == ()
        assert_equal(changed, loras_of_layers.merged(model, ORIGINAL, "plain", self.request(), 0.7))
        assert not torch.allclose(changed, denoised(model, self.request()), atol=1e-2)

    def test_clips_and_transformer_are_changed_in_the_names_of_each_trainer(self, tmp_path: Path, model: Any) -> None:
        plain = tiny_loras.weights(model.pipeline)
        namings = {
            "diffusers": {name: tensor / 2 if "lora_B" in name else tensor for name, tensor in plain.items()},
            "kohya": tiny_loras.weights(model.pipeline, kohya=True),  # with an alpha of half the rank
        }
        painted = [
            loras_of_layers.painted(
                model, tiny_loras.saved(tmp_path / f"{naming}.safetensors", tensors), "sd3", self.request(), 1.0
            )
            for naming, tensors in namings.items()
        ]
        assert [notes for _, notes in painted] == [(), ()]
        assert_equal(painted[0][0], painted[1][0])
        assert not torch.allclose(painted[0][0], denoised(model, self.request()), atol=1e-3)

    def test_the_layers_whose_outputs_are_in_another_order_are_named(self, tmp_path: Path, model: Any) -> None:
        unread = {"joint_blocks.1.context_block.adaLN_modulation.1": ("transformer_blocks.1.norm1_context.linear",)}
        layers = {"joint_blocks.0.x_block.attn.proj": ("transformer_blocks.0.attn.to_out.0",), **unread}
        tensors = loras_of_layers.plain(model, layers, "lora_unet_", is_kohya=True)
        path = tiny_loras.saved(tmp_path / "one.safetensors", tensors)
        check_lora(path, "sd3")
        _, (note,) = loras_of_layers.painted(model, path, "sd3", self.request(), 1.0)
        assert "lora_unet_joint_blocks_1_context_block_adaLN_modulation_1" in note

    def test_when_memory_is_short_rows_are_computed_one_after_another(self, spec: Any) -> None:
        loaded, requested = load(spec, CPU), self.request(guidance_scale=4.0)
        assert loaded.reduce_memory(Size(64, 64))  # tiles
        before = denoised(loaded, requested)
        assert loaded.reduce_memory(Size(64, 64))
        calls: list[int] = []
        loaded.transformer.register_forward_pre_hook(
            lambda module, given, named: calls.append(len(named["hidden_states"])), with_kwargs=True
        )
        assert_equal(denoised(loaded, requested), before)
        assert calls == [1] * 2 * STEPS


def shifted(level: float) -> float:
    return SHIFT * level / (1 + (SHIFT - 1) * level)


def test_the_noise_levels_end_where_those_of_the_scheduler_do(tmp_path: Any) -> None:
    model: Any = load(tiny_models.saved(tmp_path / "sd3", "sd3"), CPU)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(model.scheduler_config)
    scheduler.set_timesteps(4)
    levels = model.levels(scheduler, 4)
    assert levels == pytest.approx([1.0, 0.66767, 0.33533, 0.002994], abs=1e-4)
