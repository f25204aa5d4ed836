"""What the classes of VAEs in diffusers have under different names: the shape and the scale of their latents."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, AutoencoderKLQwenImage
from torch.nn.functional import pixel_shuffle

from inpainting.engines.diffusion.latents import PATCH_SIZE


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


def latent_statistics(vae: Any, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean and standard deviation of a VAE's latents, for latents of [n, c, h, w]; None where it has none.

    Each is [1, c, 1, 1] by its configuration. Those of FLUX.2 are [1, c, h, w]: they are of a batch norm of patches, so
    that each of the four latent pixels of a patch has its own.

    diffusers' pipelines of Stable Diffusion apply them when they decode, and not when they encode, although the network
    works on latents without them.
    """
    if isinstance(vae, AutoencoderKLFlux2):
        values = vae.bn.running_mean, torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
        patches = [pixel_shuffle(value.float().view(1, -1, 1, 1), PATCH_SIZE).to(latents.device) for value in values]
        rows, columns = (side // PATCH_SIZE for side in latents.shape[-2:])
        mean, deviation = (patch.repeat(1, 1, rows, columns) for patch in patches)
        return mean, deviation
    stated = [getattr(vae.config, name, None) for name in ("latents_mean", "latents_std")]
    if None in stated:
        return None
    mean, deviation = (torch.tensor(value, device=latents.device).view(1, -1, 1, 1) for value in stated)
    return mean, deviation


def scaling_factor(config: Any) -> float:
    """Multiplied with a VAE's latents after they are shifted; 1 where the configuration has none."""
    return float(getattr(config, "scaling_factor", None) or 1.0)


def shift_factor(config: Any) -> float:
    """Subtracted from a VAE's latents before they are scaled; 0 where the configuration has none."""
    return float(getattr(config, "shift_factor", None) or 0.0)
