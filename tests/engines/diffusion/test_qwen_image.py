"""Qwen-Image: the contract of guided flow-matching families, its guidance and the padding of its texts."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.families.qwen_image.network import apply_guidance
from inpainting.families.z_image.network import MAX_TOKENS
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import GuidedFlowContract
from tests.engines.diffusion import loras_of_layers
from tests.engines.diffusion.pipelines import denoised
from tests.support import tiny_loras, tiny_models

LAYERS = ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.img_mlp.net.2", "transformer_blocks.0.txt_mod.1")


class TestQwenImage(GuidedFlowContract):
    family = "qwen-image"
    pipeline = diffusers.QwenImageInpaintPipeline
    unknown_layer = "transformer_blocks.7.attn.to_q"
    lora_namings = ("diffusers", "kohya", "ai-toolkit", "lightning")
    lora_layers = ("img_mlp.net.2", "txt_mod.1", "img_in")

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        return {"negative_prompt": settings.negative_prompt, "true_cfg_scale": model.guidance(settings)}

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Size) -> torch.Tensor:
        return super().unpacked(reference, latents, size)[:, :, 0]

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        (embeds,), mask = model.pipeline.encode_prompt(words, max_sequence_length=MAX_TOKENS)
        assert mask is None
        return torch.as_tensor(embeds)

    def lora(self, model: Any, naming: str) -> dict[str, torch.Tensor]:
        tensors = super().lora(model, naming)
        if naming != "lightning":
            return tensors
        names = {"transformer.": "", "lora_A": "lora_down", "lora_B": "lora_up"}
        tensors = {
            reduce(lambda name, pair: name.replace(*pair, 1), names.items(), name): tensor
            for name, tensor in tensors.items()
        }
        downs = [name for name in tensors if "lora_down" in name]
        return tensors | {name.replace("lora_down.weight", "alpha"): torch.tensor(2.0) for name in downs}

    @pytest.mark.parametrize("prefix", ["lycoris_", "lora_unet_", "lora_transformer_", "base_model.model.", ""])
    def test_a_lokr_changes_the_layers_as_its_product_says(self, tmp_path: Path, model: Any, prefix: str) -> None:
        layers = {path: (path,) for path in LAYERS}
        tensors = loras_of_layers.lokr(model, layers, prefix, is_kohya=prefix.endswith("_"))
        path = tiny_loras.saved(tmp_path / "one.safetensors", tensors)
        changed, notes = loras_of_layers.painted(model, path, self.family, self.request(), 0.7)
        assert notes == ()
        assert_equal(changed, loras_of_layers.merged(model, layers, "lokr", self.request(), 0.7))
        assert not torch.allclose(changed, denoised(model, self.request()), atol=1e-2)

    def test_guidance_keeps_the_length_of_each_token(self) -> None:
        torch.manual_seed(0)
        velocity = torch.randn(2, 24, 64)
        rows = apply_guidance(velocity, 7.0)
        assert torch.equal(rows[0], rows[1])
        torch.testing.assert_close(rows[1].norm(dim=-1), velocity[1].norm(dim=-1))
        assert not torch.allclose(rows[1], velocity[1], atol=0.1)
        assert torch.equal(apply_guidance(velocity[:1], 7.0), velocity[:1])

    def test_the_padding_of_a_shorter_text_changes_nothing(self, model: Any) -> None:
        states = []
        for prompt in ("a red bus", "many words " * 20):
            requested = self.request(prompt=prompt, guidance_scale=1.0)
            text = tiny_models.encoded(model, requested.settings, requested.image.size)
            states.append(model.start(requested, 0, text)[0])
        together = model.predict(states)
        for state, velocity in zip(states, together, strict=True):
            torch.testing.assert_close(velocity, model.predict([state])[0], rtol=1e-5, atol=1e-5)
