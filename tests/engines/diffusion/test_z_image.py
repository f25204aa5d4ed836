"""Z-Image: the contract of guided flow-matching families, and how far guidance may raise the contrast."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from inpainting.core.request import PaintSettings
from tests.contracts.flow_family import GuidedFlowContract
from tests.engines.diffusion.pipelines import denoised


class TestZImage(GuidedFlowContract):
    family = "z-image"
    pipeline = diffusers.ZImageInpaintPipeline
    unknown_layer = "layers.0.attention.qkv"

    def arguments(self, model: Any, settings: PaintSettings) -> dict[str, Any]:
        # The pipeline's guidance scale counts from 0.
        return {"negative_prompt": settings.negative_prompt, "guidance_scale": model.guidance(settings) - 1}

    def unpacked(self, reference: Any, latents: torch.Tensor, size: Any) -> torch.Tensor:
        return latents

    def encoded_by_reference(self, model: Any, words: str) -> torch.Tensor:
        (embeds,), _ = model.pipeline.encode_prompt(words, "cpu", do_classifier_free_guidance=False)
        return torch.as_tensor(embeds)

    def test_rescaled_guidance_keeps_the_spread_of_the_prediction(self, model: Any) -> None:
        strong = {"guidance_scale": 15.0, "steps": 1}
        plain, guided, rescaled = (
            float(denoised(model, self.request(**settings)).std())
            for settings in ({"steps": 1}, strong, {**strong, "guidance_rescale": 1.0})
        )
        assert abs(rescaled - plain) < abs(guided - plain)
