"""Previews of an unfinished image: by a small decoder if one is installed, else by a matrix fitted to the request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.networks.device.hardware import HostCopy

MIN_KEPT_LATENTS = 32
"""The minimum number of kept latent pixels to fit a matrix to: with fewer its colours would be arbitrary."""
MAX_LATENT_SIDE = 64
"""Latent pixels of the longer side of a preview: of larger images a decoder would cost as much as a step."""
Preview = Callable[[], NDArray[np.uint8]]
"""Waits for the device and returns RGB [height, width, 3]: the unfinished image inside the mask, the source outside."""
Colours = Callable[[torch.Tensor], torch.Tensor]
"""Latents [n, c, h, w] -> RGB [n, 3, height, width], 0 to 255, on the same device."""


@dataclass(frozen=True, slots=True, eq=False)
class Previewer:
    """Makes the previews of one image.

    colours: of the image alone, or of the decoder. size: height and width of the latents that are shown. mask: [height,
    width] of the preview, True where the image is painted. image: [height, width, 3], the source image.
    """

    colours: Colours
    size: tuple[int, int]
    mask: NDArray[np.bool_]
    image: NDArray[np.uint8]
    decoder: torch.nn.Module | None

    @property
    def group(self) -> object:
        """Equal for images whose previews one call of a decoder makes."""
        return id(self) if self.decoder is None else (id(self.decoder), self.size)


Due = tuple[Previewer, DenoisingState]
"""An image of which a preview is due."""


def make_previewer(
    pixels: NDArray[np.uint8], state: DenoisingState, decoder: torch.nn.Module | None = None
) -> Previewer | None:
    """Make the previewer of one image; None if there is no decoder and a matrix cannot be fitted.

    pixels: [8h, 8w, 3], the window of the source image. decoder: maps latents to RGB, -1 to 1. Its previews have eight
    pixels along each side of a latent pixel, of at most MAX_LATENT_SIDE; those of a matrix have one, of them all.
    """
    height, width = state.latents.shape[-2:]
    is_painted = (state.mask > 0).cpu()
    colours = fit_colours(pixels, state, ~is_painted) if decoder is None else decode_colours(decoder)
    if colours is None:
        return None
    scale = 1.0 if decoder is None else min(1.0, MAX_LATENT_SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    mask = pool(is_painted.float(), size)[0, 0].numpy() > 0
    if decoder is not None:
        mask = mask.repeat(VAE_SCALE_FACTOR, axis=0).repeat(VAE_SCALE_FACTOR, axis=1)
    image = np.asarray(cv2.resize(pixels, mask.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    return Previewer(colours, size, mask, image, decoder)


@torch.inference_mode()
def previews_of(images: Sequence[Due]) -> list[Preview]:
    """Send the device the work of the previews of images of one `group`, without waiting for it."""
    latents = torch.cat([pool(current_estimate(state).float(), previewer.size) for previewer, state in images])
    colours = torch.nan_to_num(images[0][0].colours(latents)).round().clamp(0, 255).to(torch.uint8)
    copy = HostCopy(colours.permute(0, 2, 3, 1).contiguous())

    def preview(number: int, previewer: Previewer) -> Preview:
        return lambda: composite(previewer.mask, copy.read()[number].numpy(), previewer.image)

    return [preview(number, previewer) for number, (previewer, _) in enumerate(images)]


def pool(tensor: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[1, c, h, w], scaled down to a height and a width by the mean of the pixels."""
    return tensor if tensor.shape[-2:] == size else torch.nn.functional.interpolate(tensor, size, mode="area")


def current_estimate(state: DenoisingState) -> torch.Tensor:
    """The scheduler's estimate of the final latents if it has one, else the noisy latents."""
    return state.latents if state.pred_original_sample is None else state.pred_original_sample


def decode_colours(decoder: torch.nn.Module) -> Colours:
    weight = next(decoder.parameters())
    return lambda latents: decoder(latents.to(weight.device, weight.dtype)).float() * 127.5 + 127.5


def fit_colours(pixels: NDArray[np.uint8], state: DenoisingState, is_kept: torch.Tensor) -> Colours | None:
    """Fit a matrix from latents to colours by least squares, on the kept part [1, 1, h, w] of the window [8h, 8w, 3].

    Latents are nearly linear in colour, and a matrix fitted to the request's own source image suits every VAE. Returns
    None if too little is kept or the latents are not finite.
    """
    height, width = state.latents.shape[-2:]
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    known = state.masked_image if state.masked_image is not None else state.image
    kept = is_kept[0, 0].numpy()
    if known is None or np.count_nonzero(kept) < MIN_KEPT_LATENTS:
        return None
    rows = known[0].permute(1, 2, 0).float().cpu().numpy()[kept]
    if not np.isfinite(rows).all():
        return None
    fitted, *_ = np.linalg.lstsq(np.pad(rows, ((0, 0), (0, 1)), constant_values=1), small[kept], rcond=None)
    matrix = torch.from_numpy(fitted.T.astype(np.float32)).to(state.latents.device)  # [3, c + 1], the last a constant
    return lambda latents: torch.nn.functional.conv2d(latents, matrix[:, :-1, None, None], matrix[:, -1])


def composite(mask: NDArray[np.bool_], colours: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` [h, w, 3] with `colours` [h, w, 3] inside the mask [h, w]."""
    return np.where(mask[:, :, None], colours, image)
