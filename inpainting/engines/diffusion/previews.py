"""What the unfinished picture looks like: from a small decoder where one is there, else from a small matrix."""

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
"""Latent pixels from which a matrix may be fitted; under that a preview would show chance."""


class Previewer(Protocol):
    def __call__(self, denoising: DenoisingState) -> NDArray[np.uint8]:
        """[height, width, 3], RGB: the painting so far where the mask is, the picture around it."""
        ...


def previewer(
    pixels: NDArray[np.uint8], denoising: DenoisingState, decoder: torch.nn.Module | None = None
) -> Previewer | None:
    """For one picture, whose window is `pixels` ([8h, 8w, 3]). decoder: latents -> RGB of -1 to 1, where one is."""
    if decoder is None:
        return fit(pixels, denoising)
    mask = (denoising.mask[0, 0] > 0).cpu().numpy()
    return DecoderPreviewer(decoder, pixels, mask.repeat(VAE_SCALE_FACTOR, axis=0).repeat(VAE_SCALE_FACTOR, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class DecoderPreviewer:
    """By a decoder of a few MB that was made for the family's latents, at the window's own size.

    picture: [8h, 8w, 3]. mask: [8h, 8w].
    """

    decoder: torch.nn.Module
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    @torch.inference_mode()
    def __call__(self, denoising: DenoisingState) -> NDArray[np.uint8]:
        guess = denoising.latents if denoising.pred_original_sample is None else denoising.pred_original_sample
        weight = next(self.decoder.parameters())
        colours = self.decoder(guess.to(weight.device, weight.dtype))[0].float() * 127.5 + 127.5  # [3, 8h, 8w]
        painted = colours.nan_to_num().round().clamp(0, 255).permute(1, 2, 0).cpu().numpy().astype(np.uint8)
        return np.where(self.mask[:, :, None], painted, self.picture)


@dataclass(frozen=True, slots=True, eq=False)
class LinearPreviewer:
    """Latents are nearly linear in colour; fitted on the request's own picture, so that every VAE has its own matrix.

    matrix: [5, 3], latents and 1 -> RGB of 0 to 255. picture: [h, w, 3], the window at an eighth. mask: [h, w].
    """

    matrix: NDArray[np.float32]
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    def __call__(self, denoising: DenoisingState) -> NDArray[np.uint8]:
        guess = denoising.latents if denoising.pred_original_sample is None else denoising.pred_original_sample
        colours = _with_ones(guess) @ self.matrix
        painted = np.nan_to_num(colours).reshape(self.picture.shape).round().clip(0, 255).astype(np.uint8)
        return np.where(self.mask[:, :, None], painted, self.picture)


def fit(pixels: NDArray[np.uint8], denoising: DenoisingState) -> LinearPreviewer | None:
    """The least-squares matrix from latents to colours over the kept part of the window ([8h, 8w, 3]).

    None where too little is kept, or the latents are no numbers.
    """
    height, width = denoising.latents.shape[-2:]
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    mask = (denoising.mask[0, 0] > 0).cpu().numpy()
    known = denoising.masked_image if denoising.masked_image is not None else denoising.image
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
    """[1, 4, h, w] -> [h * w, 5]"""
    rows = latents[0].flatten(1).T.float().cpu().numpy()
    return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
