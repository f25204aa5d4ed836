"""Previews of an unfinished image: by a small decoder if one is installed, else by a matrix fitted to the request."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

MIN_KEPT_LATENTS = 32
"""Latent pixels that a matrix is fitted to at least; with fewer its colours would be arbitrary."""
Previewer = Callable[[DenoisingState], NDArray[np.uint8]]
"""Returns RGB [height, width, 3]: the unfinished image inside the mask, the source image outside."""


def previewer(
    pixels: NDArray[np.uint8], state: DenoisingState, decoder: torch.nn.Module | None = None
) -> Previewer | None:
    """A previewer for one image whose window is `pixels` [8h, 8w, 3], of that size by a decoder, else of an eighth.

    decoder: latents -> RGB, -1 to 1; a few MB for the family's latents.
    """
    if decoder is None:
        return fit(pixels, state)
    weight = next(decoder.parameters())
    mask = latent_mask(state).repeat(VAE_SCALE_FACTOR, axis=0).repeat(VAE_SCALE_FACTOR, axis=1)

    @torch.inference_mode()
    def preview(state: DenoisingState) -> NDArray[np.uint8]:
        colours = decoder(latents_to_show(state).to(weight.device, weight.dtype))[0].float() * 127.5 + 127.5
        return within(mask, colours.permute(1, 2, 0).cpu().numpy(), pixels)

    return preview


def latents_to_show(state: DenoisingState) -> torch.Tensor:
    """The scheduler's estimate of the final latents if it gives one, else the noisy latents."""
    return state.latents if state.pred_original_sample is None else state.pred_original_sample


def fit(pixels: NDArray[np.uint8], state: DenoisingState) -> Previewer | None:
    """Fit a matrix from latents to colours by least squares to the kept part of the window [8h, 8w, 3].

    Latents are nearly linear in colour, and a matrix fitted to the request's own source image suits every VAE. None if
    too little is kept, or the latents are not finite.
    """
    height, width = state.latents.shape[-2:]
    small = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    mask = latent_mask(state)
    known = state.masked_image if state.masked_image is not None else state.image
    if known is None or np.count_nonzero(~mask) < MIN_KEPT_LATENTS:
        return None
    rows = _with_ones(known)[~mask.reshape(-1)]
    if not np.isfinite(rows).all():
        return None
    fitted, *_ = np.linalg.lstsq(rows, small[~mask].astype(np.float32), rcond=None)
    matrix = fitted.astype(np.float32)  # [c + 1, 3], latents and 1 -> RGB, 0 to 255
    return lambda state: within(mask, (_with_ones(latents_to_show(state)) @ matrix).reshape(small.shape), small)


def latent_mask(state: DenoisingState) -> NDArray[np.bool_]:
    """[h, w]: the latent pixels that are repainted at least in part."""
    return (state.mask[0, 0] > 0).cpu().numpy()


def within(mask: NDArray[np.bool_], colours: NDArray[np.float32], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`picture` [h, w, 3] with `colours`, 0 to 255, inside the mask [h, w]."""
    painted = np.nan_to_num(colours).round().clip(0, 255).astype(np.uint8)
    return np.where(mask[:, :, None], painted, picture)


def _with_ones(latents: torch.Tensor) -> NDArray[np.float32]:
    """[1, c, h, w] -> [h * w, c + 1]"""
    rows = latents[0].flatten(1).T.float().cpu().numpy()
    return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
