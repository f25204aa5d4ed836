"""What the classes of VAEs in diffusers have under different names: the shape and the scale of their latents."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLQwenImage


def takes_frames(vae: Any) -> bool:
    """Whether a VAE encodes videos, [n, channels, frames, height, width]; an image is a video of one frame."""
    return isinstance(vae, AutoencoderKLQwenImage)


def latent_channels(vae: Any) -> int:
    return int(vae.config.z_dim if takes_frames(vae) else vae.config.latent_channels)


def latent_format(vae: Any) -> str:
    """Channels and pixels a side of a VAE's latents, in words. Equal for VAEs that can replace each other."""
    if takes_frames(vae):
        return f"{latent_channels(vae)} channels, {vae.spatial_compression_ratio} pixels a side, made for videos"
    return f"{latent_channels(vae)} channels, {2 ** (len(vae.config.block_out_channels) - 1)} pixels a side"


def latent_statistics(config: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean and standard deviation of a VAE's latents, [1, c, 1, 1] each; None where its configuration has none.

    diffusers' pipelines of Stable Diffusion apply them when they decode, and not when they encode, although the network
    works on latents without them.
    """
    values = [getattr(config, name, None) for name in ("latents_mean", "latents_std")]
    if None in values:
        return None
    mean, deviation = (torch.tensor(value, device=device).view(1, -1, 1, 1) for value in values)
    return mean, deviation


def scaling_factor(config: Any) -> float:
    """Multiplied with a VAE's latents after they are shifted; 1 where the configuration has none."""
    return float(getattr(config, "scaling_factor", None) or 1.0)


def shift_factor(config: Any) -> float:
    """Subtracted from a VAE's latents before they are scaled; 0 where the configuration has none."""
    return float(getattr(config, "shift_factor", None) or 0.0)
