"""Stable Diffusion XL: two text encoders, and a UNet that takes the image's size.

D. Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis" (2023, arXiv
2307.01952).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.conditioning.prompt_encoding import PromptEmbedding, VectorPositions
from inpainting.engines.diffusion.conditioning.text_conditioning import TextConditioning
from inpainting.engines.diffusion.conditioning.textual_inversion import replace_embeddings
from inpainting.families.sd.network import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """A loaded model of the family sdxl. Some of its VAEs overflow in half precision and say so by `force_upcast`."""

    respects_force_upcast = True

    @property
    def encoders(self) -> list[tuple[Any, Any]]:
        return [*super().encoders, (self.pipeline.tokenizer_2, self.pipeline.text_encoder_2)]

    def run_text_encoder(
        self, encoder: Any, skipped: int | None, ids: torch.Tensor, positions: VectorPositions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run an encoder as `prompt_encoding.RunEncoder` describes, to the layer before the last.

        Only the second encoder pools.
        """
        with replace_embeddings(encoder, positions):
            output = encoder(ids.to(self.hardware.device), output_hidden_states=True)
        embeds = output.hidden_states[-((skipped or 0) + 2)]
        return embeds, output[0] if output[0].ndim == 2 else embeds.new_empty(len(ids), 0)

    def text_conditioning(
        self, positive: PromptEmbedding, negative: PromptEmbedding | None, settings: PaintSettings, size: Size
    ) -> TextConditioning:
        """Return the rows of both prompts, and the sizes. An empty negative prompt is zeros where the model says so."""
        # Original size, top left corner of the crop, target size. The refiner's aesthetic score is not for this UNet.
        shape = (size.height, size.width)
        time_ids = torch.tensor([[*shape, 0, 0, *shape]], dtype=torch.float32, device=self.hardware.device)
        if negative is None:
            return TextConditioning(positive.embeds, positive.pooled, time_ids)
        if not settings.negative_prompt and self.pipeline.config.force_zeros_for_empty_prompt:
            negative = PromptEmbedding(torch.zeros_like(positive.embeds), torch.zeros_like(positive.pooled))
        embeds = torch.cat([negative.embeds, positive.embeds])
        return TextConditioning(embeds, torch.cat([negative.pooled, positive.pooled]), time_ids.expand(2, -1))

    def conditions(self, texts: Sequence[TextConditioning]) -> dict[str, Any]:
        dtype = self.unet.dtype
        pooled = [text.pooled for text in texts if text.pooled is not None]
        time_ids = [text.time_ids for text in texts if text.time_ids is not None]
        added = {"text_embeds": torch.cat(pooled).to(dtype), "time_ids": torch.cat(time_ids).to(dtype)}
        return {**super().conditions(texts), "added_cond_kwargs": added}
