"""The grid of latents: how many pixels a latent pixel and a patch cover. Light to import: no torch at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VAE_SCALE_FACTOR = 8
"""Image pixels along each side of a latent pixel, as diffusers calls it. The same in every supported VAE."""
PATCH_SIZE = 2
"""Latent pixels along each side of a patch, the unit that the FLUX transformer takes as one token."""


def pack_latents(latents: torch.Tensor) -> torch.Tensor:
    """Cut latents into patches: [n, c, h, w] -> [n, h * w / 4, 4 * c], as `FluxFillPipeline._pack_latents` does."""
    count, channels, height, width = latents.shape
    cut = latents.reshape(count, channels, height // PATCH_SIZE, PATCH_SIZE, width // PATCH_SIZE, PATCH_SIZE)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * PATCH_SIZE * PATCH_SIZE)


def unpack_latents(patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Put patches together again: [n, h * w / 4, 4 * c] -> [n, c, h, w]."""
    count, _, features = patches.shape
    channels = features // PATCH_SIZE**2
    cut = patches.reshape(count, height // PATCH_SIZE, width // PATCH_SIZE, channels, PATCH_SIZE, PATCH_SIZE)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, height, width)
