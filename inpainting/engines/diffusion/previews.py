"""Previews of an unfinished image: by a small decoder if one is installed, else by a matrix fitted to the request."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.hardware import HostCopy
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

MIN_KEPT_LATENTS = 32
"""The minimum number of kept latent pixels to fit a matrix to: with fewer its colours would be arbitrary."""
Preview = Callable[[], NDArray[np.uint8]]
"""Waits for the device and returns RGB [height, width, 3]: the unfinished image inside the mask, the source outside."""
Previewer = Callable[[DenoisingState], Preview]
"""Sends the device the work of a preview, without waiting for it."""


def make_previewer(
    pixels: NDArray[np.uint8], state: DenoisingState, decoder: torch.nn.Module | None = None
) -> Previewer | None:
    """Make the previewer of one image; None if there is no decoder and a matrix cannot be fitted.

    pixels: [8h, 8w, 3], the window of the source image. decoder: maps latents to RGB, -1 to 1. Its previews have the
    size of the window, those of a matrix an eighth of it.
    """
    if decoder is None:
        return fit_previewer(pixels, state)
    weight = next(decoder.parameters())
    mask = latent_mask(state).repeat(VAE_SCALE_FACTOR, axis=0).repeat(VAE_SCALE_FACTOR, axis=1)

    @torch.inference_mode()
    def previewer(state: DenoisingState) -> Preview:
        colours = decoder(current_estimate(state).to(weight.device, weight.dtype))[0].float() * 127.5 + 127.5
        bytes_of = torch.nan_to_num(colours).round().clamp(0, 255).to(torch.uint8)
        copy = HostCopy(bytes_of.permute(1, 2, 0).contiguous())
        return lambda: np.where(mask[:, :, None], copy.read().numpy(), pixels)

    return previewer


def current_estimate(state: DenoisingState) -> torch.Tensor:
    """The scheduler's estimate of the final latents if it has one, else the noisy latents."""
    return state.latents if state.pred_original_sample is None else state.pred_original_sample


def fit_previewer(pixels: NDArray[np.uint8], state: DenoisingState) -> Previewer | None:
    """Fit a matrix from latents to colours by least squares, on the kept part of the window [8h, 8w, 3].

    Latents are nearly linear in colour, and a matrix fitted to the request's own source image suits every VAE. Returns
    None if too little is kept or the latents are not finite.
    """
    height, width = state.latents.shape[-2:]
    small = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    mask = latent_mask(state)
    known = state.masked_image if state.masked_image is not None else state.image
    if known is None or np.count_nonzero(~mask) < MIN_KEPT_LATENTS:
        return None
    rows = with_ones(known).cpu().numpy()[~mask.reshape(-1)]
    if not np.isfinite(rows).all():
        return None
    fitted, *_ = np.linalg.lstsq(rows, small[~mask].astype(np.float32), rcond=None)
    matrix = fitted.astype(np.float32)  # [c + 1, 3], latents and 1 -> RGB, 0 to 255

    def previewer(state: DenoisingState) -> Preview:
        copy = HostCopy(with_ones(current_estimate(state)))
        return lambda: composited(mask, (copy.read().numpy() @ matrix).reshape(small.shape), small)

    return previewer


def latent_mask(state: DenoisingState) -> NDArray[np.bool_]:
    """The latent pixels [h, w] that are repainted, at least partially."""
    return (state.mask[0, 0] > 0).cpu().numpy()


def composited(mask: NDArray[np.bool_], colours: NDArray[np.float32], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`picture` [h, w, 3] with `colours` [h, w, 3], 0 to 255, inside the mask [h, w]."""
    painted = np.nan_to_num(colours).round().clip(0, 255).astype(np.uint8)
    return np.where(mask[:, :, None], painted, picture)


def with_ones(latents: torch.Tensor) -> torch.Tensor:
    """Latents [1, c, h, w] as rows [h * w, c + 1] in float32, with a column of ones for the constant term."""
    return torch.nn.functional.pad(latents[0].flatten(1).T.float(), (0, 1), value=1.0)
