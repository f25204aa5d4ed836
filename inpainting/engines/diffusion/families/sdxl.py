"""Stable Diffusion XL: two text encoders, and a UNet that is told the picture's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.conditioning.prompt_encoding import Places, PromptEmbedding
from inpainting.engines.diffusion.conditioning.textual_inversion import EmbeddingVectors, placed
from inpainting.engines.diffusion.denoising import TextConditioning
from inpainting.engines.diffusion.families.sd import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    @property
    def vae_overflows(self) -> bool:
        """Some VAEs of this family overflow in half precision, and say so."""
        return bool(getattr(self.vae.config, "force_upcast", False))

    @property
    def encoders(self) -> list[tuple[Any, Any]]:
        return [*super().encoders, (self.pipeline.tokenizer_2, self.pipeline.text_encoder_2)]

    def listen(
        self, encoder: Any, left_out: int | None, ids: torch.Tensor, places: Places
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer before the last is this family's last one. The second encoder alone says something to it all."""
        with placed(encoder, places):
            answer = encoder(ids.to(self.hardware.device), output_hidden_states=True)
        said = answer.hidden_states[-((left_out or 0) + 2)]
        return said, answer[0] if answer[0].ndim == 2 else said.new_empty(len(ids), 0)

    def encode_text(
        self, settings: PaintSettings, size: Size, vectors: Sequence[EmbeddingVectors] = ()
    ) -> TextConditioning:
        positive, negative = self.hear(settings, vectors)
        # original size, where it was cropped, target size; the refiner's aesthetic score belongs to other models
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
