"""The backend that calls the torch modules themselves."""

from __future__ import annotations

from typing import Any

import torch


class TorchBackend:
    """Keeps no state and takes no memory of its own: one instance, `TORCH`, serves every model."""

    name = "torch"
    notes: tuple[str, ...] = ()
    step_library = "torch"

    def __init__(self) -> None:
        self.byte_count = 0
        self.last_used = 0

    def predict(
        self,
        unet: Any,
        sample: torch.Tensor,
        timesteps: torch.Tensor,
        *,
        encoder_hidden_states: Any,
        **conditions: Any,
    ) -> torch.Tensor:
        """See `Backend.predict`."""
        prediction = unet(
            sample, timesteps, encoder_hidden_states=encoder_hidden_states, return_dict=False, **conditions
        )
        return torch.as_tensor(prediction[0])

    def encode(self, vae: Any, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `Backend.encode`. An AutoencoderTiny gives the latents themselves and draws nothing."""
        encoded = vae.encode(pixels)
        if hasattr(encoded, "latent_dist"):
            return torch.as_tensor(encoded.latent_dist.sample(generator))
        return torch.as_tensor(encoded.latents)

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """See `Backend.decode`."""
        return torch.as_tensor(vae.decode(latents, return_dict=False)[0].float())


TORCH = TorchBackend()
