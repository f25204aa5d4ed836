"""Previews of an unfinished image: by a small decoder if one is installed, else by a matrix fitted to the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.engines.diffusion.denoising import DenoisingState
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR

MIN_KEPT_LATENTS = 32
"""Latent pixels that a matrix is fitted to at least; with fewer its colours would be arbitrary."""


class Previewer(Protocol):
    def __call__(self, state: DenoisingState) -> NDArray[np.uint8]:
        """RGB [height, width, 3]: the unfinished image inside the mask, the source image outside."""
        ...


def previewer(
    pixels: NDArray[np.uint8], state: DenoisingState, decoder: torch.nn.Module | None = None
) -> Previewer | None:
    """A previewer for one image whose window is `pixels` [8h, 8w, 3]. decoder: latents -> RGB, -1 to 1."""
    if decoder is None:
        return fit(pixels, state)
    mask = (state.mask[0, 0] > 0).cpu().numpy()
    return DecoderPreviewer(decoder, pixels, mask.repeat(VAE_SCALE_FACTOR, axis=0).repeat(VAE_SCALE_FACTOR, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class DecoderPreviewer:
    """Uses a decoder of a few MB for the family's latents, at the window's own size. picture: [8h, 8w, 3]."""

    decoder: torch.nn.Module
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    @torch.inference_mode()
    def __call__(self, state: DenoisingState) -> NDArray[np.uint8]:
        weight = next(self.decoder.parameters())
        latents = latents_to_show(state).to(weight.device, weight.dtype)
        colours = self.decoder(latents)[0].float() * 127.5 + 127.5  # [3, 8h, 8w]
        painted = colours.nan_to_num().round().clamp(0, 255).permute(1, 2, 0).cpu().numpy().astype(np.uint8)
        return np.where(self.mask[:, :, None], painted, self.picture)


@dataclass(frozen=True, slots=True, eq=False)
class LinearPreviewer:
    """Maps latents to colours linearly, at an eighth of the window's size: latents are nearly linear in colour.

    matrix: [c + 1, 3], latents and 1 -> RGB, 0 to 255. Fitted to the request's own source image, so that it suits
    every VAE. picture: [h, w, 3], the window.
    """

    matrix: NDArray[np.float32]
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    def __call__(self, state: DenoisingState) -> NDArray[np.uint8]:
        colours = _with_ones(latents_to_show(state)) @ self.matrix
        painted = np.nan_to_num(colours).reshape(self.picture.shape).round().clip(0, 255).astype(np.uint8)
        return np.where(self.mask[:, :, None], painted, self.picture)


def latents_to_show(state: DenoisingState) -> torch.Tensor:
    """The scheduler's estimate of the final latents if it gives one, else the noisy latents."""
    return state.latents if state.pred_original_sample is None else state.pred_original_sample


def fit(pixels: NDArray[np.uint8], state: DenoisingState) -> LinearPreviewer | None:
    """Fit a matrix from latents to colours by least squares to the kept part of the window [8h, 8w, 3].

    None if too little is kept, or the latents are not finite.
    """
    height, width = state.latents.shape[-2:]
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    mask = (state.mask[0, 0] > 0).cpu().numpy()
    known = state.masked_image if state.masked_image is not None else state.image
    if known is None or np.count_nonzero(~mask) < MIN_KEPT_LATENTS:
        return None
    kept = ~mask.reshape(-1)
    colours = small.reshape(-1, 3).astype(np.float32)
    rows = _with_ones(known)[kept]
    if not np.isfinite(rows).all():
        return None
    matrix, *_ = np.linalg.lstsq(rows, colours[kept], rcond=None)
    return LinearPreviewer(matrix.astype(np.float32), np.asarray(small, np.uint8), mask)


def _with_ones(latents: torch.Tensor) -> NDArray[np.float32]:
    """[1, c, h, w] -> [h * w, c + 1]"""
    rows = latents[0].flatten(1).T.float().cpu().numpy()
    return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
