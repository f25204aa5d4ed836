"""The denoising of one image by flow matching, on straight lines between noise and image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import FluxFillPipeline

from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.denoising import DenoisingState


@dataclass(slots=True, eq=False, kw_only=True)
class FlowDenoisingState(DenoisingState):
    """A `DenoisingState` for a guidance-distilled transformer that predicts the velocity from image to noise.

    text: one row. masked_image: [1, c, h, w]. pixel_mask: [1, 64, h, w], the mask's 8x8 pixels of each latent pixel,
    1 = repaint. All of them are images of latents; only `model_input` is cut into patches.
    """

    pixel_mask: torch.Tensor

    def model_input(self) -> torch.Tensor:
        """[1, h * w / 4, 8 * c + 256]: the latents, the kept part's latents and the mask."""
        parts = (part for part in (self.latents, self.masked_image, self.pixel_mask) if part is not None)
        return torch.cat([FluxFillPipeline._pack_latents(part, *part.shape) for part in parts], dim=2)

    @torch.inference_mode()
    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step. prediction: the transformer's output for `model_input`, [1, h * w / 4, 4 * c]."""
        velocity = FluxFillPipeline._unpack_latents(prediction, *self.latents.shape[-2:], vae_scale_factor=1)
        sigma = flow_schedulers.sigma_at(self.scheduler, self.timesteps[self.index])
        pred_original_sample = self.latents - sigma * velocity
        DenoisingState.advance(self, velocity)  # super() does not work in a dataclass with slots
        self.pred_original_sample = pred_original_sample

    def noised(self, image: torch.Tensor) -> torch.Tensor:
        """The source's latents with the noise of the next step."""
        sigma = flow_schedulers.sigma_at(self.scheduler, self.timesteps[self.index])
        return (1 - sigma) * image + sigma * self.noise
