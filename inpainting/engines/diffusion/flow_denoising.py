"""The denoising of one image by a model trained by flow matching (Lipman et al. 2022, arXiv 2210.02747)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inpainting.engines.diffusion import flow_schedulers
from inpainting.engines.diffusion.denoising import DenoisingState


@dataclass(slots=True, eq=False)
class FlowDenoisingState(DenoisingState):
    """A `DenoisingState` whose network predicts the velocity from image to noise, [rows, c, h, w]."""

    @property
    def sigma(self) -> float:
        """Share of noise in the latents before this step, 0 to 1."""
        return flow_schedulers.sigma_at(self.scheduler, self.timesteps[self.index])

    def model_input(self) -> torch.Tensor:
        """[rows, c, h, w]"""
        return self.latents.expand(self.rows, -1, -1, -1)

    def estimate_original(self, latents: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor:
        return latents - self.sigma * prediction

    def noised(self, image: torch.Tensor) -> torch.Tensor:
        return (1 - self.sigma) * image + self.sigma * self.noise
