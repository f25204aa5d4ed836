"""Z-Image: the contract of guided flow-matching families, and how far guidance may raise the contrast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from inpainting.core.request import PaintSettings
from tests.contracts.family import assert_equal
from tests.contracts.flow_family import GuidedFlowContract
from tests.engines.diffusion import loras_of_layers
from tests.engines.diffusion.loras_of_layers import Layers
from tests.engines.diffusion.pipelines import denoised
from tests.support import tiny_loras

FUSED = {
    f"{block}.0.attention.qkv": tuple(f"{block}.0.attention.to_{name}" for name in "qkv")
    for block in ("layers", "noise_refiner", "context_refiner")
}
WHOLE = {
    "layers.1.attention.out": "layers.1.attention.to_out.0",
    "layers.1.feed_forward.w1": "layers.1.feed_forward.w1",
    "layers.0.adaLN_modulation.0": "layers.0.adaLN_modulation.0",
    "x_embedder": "all_x_embedder.2-1",
    "final_layer.linear": "all_final_layer.2-1.linear",
}
ORIGINAL: Layers = FUSED | {name: (path,) for name, path in WHOLE.items()}
"""Layer in the names of the publisher's code -> the layers in diffusers that give its outputs."""
IN_BLOCKS = {name: paths for name, paths in ORIGINAL.items() if "." in name and not name.startswith("final")}
"""Those that diffusers' loader knows."""


class TestZImage(GuidedFlowContract):
    family = "z-image"
    pipeline = diffusers.ZImageInpaintPipeline
    unknown_layer = "layers.7.attention.to_q"
    lora_namings = ("diffusers", "kohya", "ai-toolkit", "kohya of the original", "bare with alphas")

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        # The pipeline's guidance scale counts from 0.
        return {"negative_prompt": settings.negative_prompt, "guidance_scale": model.guidance(settings) - 1}

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Any) -> torch.Tensor:
        return latents

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        (embeds,), _ = model.pipeline.encode_prompt(words, "cpu", do_classifier_free_guidance=False)
        return torch.as_tensor(embeds)

    def lora(self, model: Any, naming: str) -> dict[str, torch.Tensor]:
        if naming == "kohya of the original":
            return loras_of_layers.plain(model, IN_BLOCKS, "lora_unet_", is_kohya=True)
        tensors = super().lora(model, naming)
        if naming == "bare with alphas":
            tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
            downs = [name for name in tensors if name.endswith("lora_A.weight")]
            tensors |= {name.replace("lora_A.weight", "alpha"): torch.tensor(2.0) for name in downs}
        return tensors

    @pytest.mark.parametrize("prefix", ["diffusion_model.", "", "base_model.model.", "lora_unet_", "lycoris_"])
    @pytest.mark.parametrize("kind", ["plain", "lokr"])
    def test_layers_in_the_names_of_the_original_are_changed_as_their_product_says(
        self, tmp_path: Path, model: Any, prefix: str, kind: str
    ) -> None:
        make = {"plain": loras_of_layers.plain, "lokr": loras_of_layers.lokr}[kind]
        tensors = make(model, ORIGINAL, prefix, is_kohya=prefix.endswith("_"))
        path = tiny_loras.saved(tmp_path / "one.safetensors", tensors)
        changed, notes = loras_of_layers.painted(model, path, self.family, self.request(), 0.7)
        assert notes == ()
        assert_equal(changed, loras_of_layers.merged(model, ORIGINAL, kind, self.request(), 0.7))
        assert not torch.allclose(changed, denoised(model, self.request()), atol=1e-2)

    def test_rescaled_guidance_keeps_the_spread_of_the_prediction(self, model: Any) -> None:
        strong = {"guidance_scale": 15.0, "steps": 1}
        plain, guided, rescaled = (
            float(denoised(model, self.request(**settings)).std())
            for settings in ({"steps": 1}, strong, {**strong, "guidance_rescale": 1.0})
        )
        assert abs(rescaled - plain) < abs(guided - plain)
