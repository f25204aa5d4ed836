"""What computes the networks of a model: the interface that torch and OpenVINO share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution


class Backend(Protocol):
    """Computes in place of a model's UNet and VAE. byte_count: its memory. used: when it was last used, as a count."""

    byte_count: int
    used: int

    @property
    def notes(self) -> Sequence[str]:
        """Sentences about what torch computed in its place."""
        ...

    @property
    def computes(self) -> bool:
        """Whether the steps of the UNet, nearly all of the work, are computed by it."""
        ...

    def predict(
        self, unet: Any, sample: torch.Tensor, times: torch.Tensor, *, encoder_hidden_states: torch.Tensor, **more: Any
    ) -> tuple[torch.Tensor]: ...

    def encode(self, vae: Any, pixels: torch.Tensor) -> DiagonalGaussianDistribution: ...

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor: ...
