"""Stable Diffusion XL: two text encoders, and a UNet that is told the picture's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from inpainting.core.geometry import Size
from inpainting.core.request import PaintSettings
from inpainting.engines.diffusion.denoising import Text
from inpainting.engines.diffusion.families.sd import StableDiffusion, layers_left_out


class StableDiffusionXL(StableDiffusion):
    @property
    def vae_overflows(self) -> bool:
        """Some VAEs of this family overflow in half precision, and say so."""
        return bool(getattr(self.vae.config, "force_upcast", False))

    def encode_text(self, settings: PaintSettings, size: Size) -> Text:
        guided, device = self.is_guided(settings), self.hardware.device
        positive, negative, pooled, negative_pooled = self.pipeline.encode_prompt(
            prompt=settings.prompt,
            device=device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=settings.negative_prompt or None,
            clip_skip=layers_left_out(settings),
        )
        # original size, where it was cropped, target size; the refiner's aesthetic score belongs to other models
        shape = (size.height, size.width)
        time_ids = torch.tensor([[*shape, 0, 0, *shape]], dtype=torch.float32, device=device)
        if not guided:
            return Text(positive, pooled, time_ids)
        return Text(torch.cat([negative, positive]), torch.cat([negative_pooled, pooled]), time_ids.expand(2, -1))

    def conditions(self, texts: Sequence[Text]) -> dict[str, Any]:
        dtype = self.unet.dtype
        pooled = [text.pooled for text in texts if text.pooled is not None]
        time_ids = [text.time_ids for text in texts if text.time_ids is not None]
        added = {"text_embeds": torch.cat(pooled).to(dtype), "time_ids": torch.cat(time_ids).to(dtype)}
        return {**super().conditions(texts), "added_cond_kwargs": added}
