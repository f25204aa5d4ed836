"""The interface between a model and the library that computes its networks, implemented by torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from inpainting.engines.diffusion.vae_formats import takes_frames


class Backend:
    """Runs a UNet and a VAE with torch; subclasses run them with another library.

    Each method also takes the torch module that the backend was made from, which computes the calls that the backend
    cannot. name: equal for samples that may share a step batch. byte_count: memory of the backend itself. last_used:
    the value of a counter that each use increments.
    """

    name = "torch"
    byte_count = 0
    last_used = 0

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the metadata about calls that torch computed instead of the backend."""
        return ()

    @property
    def step_library(self) -> str:
        """Name of the library that currently computes the UNet's steps."""
        return "torch"

    def predict(
        self,
        unet: Any,
        sample: torch.Tensor,
        timesteps: torch.Tensor,
        *,
        encoder_hidden_states: Any,
        **conditions: Any,
    ) -> torch.Tensor:
        """The UNet's prediction [rows, c, h, w]. conditions: further keyword arguments of the UNet."""
        prediction = unet(
            sample, timesteps, encoder_hidden_states=encoder_hidden_states, return_dict=False, **conditions
        )
        return torch.as_tensor(prediction[0])

    def encode(self, vae: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Unscaled latents [1, c, h, w] of pixels [1, 3, 8h, 8w].

        Their distribution [1, 2c, h, w], mean and logarithm of the variance, if the VAE encodes to one.
        """
        encoded = vae.encode(pixels[:, :, None] if takes_frames(vae) else pixels)
        latents = encoded.latent_dist.parameters if hasattr(encoded, "latent_dist") else encoded.latents
        return torch.as_tensor(latents[:, :, 0] if takes_frames(vae) else latents)

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """Pixels [n, 3, 8h, 8w] in float32 of unscaled latents [n, c, h, w]."""
        if takes_frames(vae):
            return torch.as_tensor(vae.decode(latents[:, :, None], return_dict=False)[0][:, :, 0].float())
        return torch.as_tensor(vae.decode(latents, return_dict=False)[0].float())


TORCH = Backend()
"""Keeps no state: one instance serves every model."""
