"""One picture on its way out of the noise by flow matching: straight lines from noise to picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.denoising import Denoising

PATCH = 2
"""Latent pixels along each side of what the transformer takes as one."""


@dataclass(slots=True, eq=False, kw_only=True)
class FlowDenoising(Denoising):
    """As `Denoising`, for a transformer that hears its guidance as a number and predicts the way from picture to noise.

    text: one row. masked_image: [1, c, h, w]. marked: [1, 64, h, w], of each latent pixel its 8x8 pixels of the mask,
    1 = repaint. Latents lie as pictures do; only what the transformer sees is cut into patches.
    """

    marked: torch.Tensor

    def model_input(self) -> torch.Tensor:
        """[1, h * w / 4, 8 * c + 256]: the latents, those of the kept part, and the mask."""
        seen = (self.latents, self.masked_image, self.marked)
        return torch.cat([packed(part) for part in seen if part is not None], dim=2)

    @torch.inference_mode()
    def advance(self, prediction: torch.Tensor) -> None:
        """Take a step. prediction: the transformer's answer to `model_input`, [1, h * w / 4, 4 * c]."""
        way = unpacked(prediction, self.latents.shape[-2], self.latents.shape[-1])
        guess = self.latents - flow_schedulers.level(self.scheduler, self.timesteps[self.index]) * way
        Denoising.advance(self, way)  # super() does not find itself in a class with slots
        self.guess = guess

    def noised(self, image: torch.Tensor) -> torch.Tensor:
        level = flow_schedulers.level(self.scheduler, self.timesteps[self.index])
        return (1 - level) * image + level * self.noise


def packed(latents: torch.Tensor) -> torch.Tensor:
    """[n, c, h, w] -> [n, h * w / 4, 4 * c]: squares of 2x2, as `FluxFillPipeline._pack_latents` has them."""
    count, channels, height, width = latents.shape
    cut = latents.reshape(count, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * PATCH * PATCH)


def unpacked(patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[n, h * w / 4, 4 * c] -> [n, c, h, w]"""
    count, _, features = patches.shape
    cut = patches.reshape(count, height // PATCH, width // PATCH, features // PATCH**2, PATCH, PATCH)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(count, features // PATCH**2, height, width)
