"""The grid of latents: how many pixels a latent pixel and a patch cover. Imports no torch."""

from __future__ import annotations

VAE_SCALE_FACTOR = 8
"""Image pixels along each side of a latent pixel, as diffusers calls it. The same in every supported VAE."""
PATCH_SIZE = 2
"""Latent pixels along each side of a patch, the unit that the FLUX transformer takes as one token."""
