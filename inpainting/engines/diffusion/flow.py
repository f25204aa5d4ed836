"""One picture on its way out of the noise by flow matching: straight lines from noise to picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.latents import pack_latents, unpack_latents


@dataclass(slots=True, eq=False, kw_only=True)
class FlowDenoisingState(DenoisingState):
    """A `DenoisingState` for a guidance-distilled transformer, which predicts the velocity from image to noise.

    text: one row. masked_image: [1, c, h, w]. marked: [1, 64, h, w], of each latent pixel its 8x8 pixels of the mask,
    1 = repaint. Latents lie as pictures do; only what the transformer sees is cut into patches.
    """

    marked: torch.Tensor

    def model_input(self) -> torch.Tensor:
        """[1, h * w / 4, 8 * c + 256]: the latents, those of the kept part, and the mask."""
        seen = (self.latents, self.masked_image, self.marked)
        return torch.cat([pack_latents(part) for part in seen if part is not None], dim=2)

    @torch.inference_mode()
    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step. prediction: the transformer's answer to `model_input`, [1, h * w / 4, 4 * c]."""
        way = unpack_latents(prediction, self.latents.shape[-2], self.latents.shape[-1])
        guess = self.latents - flow_schedulers.level(self.scheduler, self.timesteps[self.index]) * way
        DenoisingState.advance(self, way)  # super() does not find itself in a class with slots
        self.pred_original_sample = guess

    def noised(self, image: torch.Tensor) -> torch.Tensor:
        level = flow_schedulers.level(self.scheduler, self.timesteps[self.index])
        return (1 - level) * image + level * self.noise
