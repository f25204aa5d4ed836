"""The tensors that every family derives from a request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, max_pool2d

from inpainting.core.adapter_uses import INSERT
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.latent_codec import to_tensor
from inpainting.engines.diffusion.latents import VAE_SCALE_FACTOR


@dataclass(frozen=True, slots=True, eq=False)
class SampleInputs:
    """The source image and the mask of one image of a request, and what draws its noise."""

    pixels: torch.Tensor
    """[1, 3, 8h, 8w], -1 to 1."""
    pixel_mask: torch.Tensor
    """[1, 1, 8h, 8w], 1 = repaint."""
    mask: torch.Tensor
    """[1, 1, h, w] on the device: the largest of the 64 pixels of each latent pixel, so that a scratch thinner than a
    latent pixel is repainted."""
    generator: torch.Generator
    inserted: torch.Tensor
    """[1, 1, h, w] on the device, bool: where an image is inserted, over at least half of the latent pixel."""
    is_grey: bool
    """Whether the mask is partial anywhere."""
    key: bytes
    """A digest of the pixels; equal for equal ones."""
    masked_key: bytes
    """A digest of the pixels and the mask."""

    @classmethod
    def of(cls, request: InpaintRequest, index: int, device: torch.device) -> SampleInputs:
        """The inputs of image `index` of a request."""
        pixel_mask = torch.from_numpy(request.mask.astype(np.float32) / 255)[None, None]
        mask = max_pool2d(pixel_mask, VAE_SCALE_FACTOR)
        key = digest(request.image.pixels)
        return cls(
            pixels=to_tensor(request.image.pixels),
            pixel_mask=pixel_mask,
            mask=mask.to(device),
            generator=torch.Generator().manual_seed((request.settings.seed + index) % 2**63),
            inserted=inserted_part(request, mask).to(device),
            is_grey=bool(((mask > 0) & (mask < 1)).any()),
            key=key,
            masked_key=key + digest(request.mask),
        )

    def first_image(self, image: torch.Tensor, content: str | None, noise: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the latents [1, c, h, w] that a strength below 1 starts from: the source's, or in the masked area,
        where no image is inserted, the setting `masked_content`.

        noise: draws noise of their shape.
        """
        replaced = (self.mask > 0) & ~self.inserted
        if content == "noise":
            return torch.where(replaced, noise(), image)
        return image * ~replaced if content == "nothing" else image

    @property
    def latent_size(self) -> tuple[int, int]:
        """The height and width of the latents."""
        return self.mask.shape[-2], self.mask.shape[-1]


def inserted_part(request: InpaintRequest, mask: torch.Tensor) -> torch.Tensor:
    """Return `SampleInputs.inserted`. mask: of its shape."""
    insert = request.conditioning_images.get(INSERT.image)
    if insert is None or insert.alpha is None:
        return torch.zeros_like(mask, dtype=torch.bool)
    return avg_pool2d(torch.from_numpy(insert.alpha.astype(np.float32) / 255)[None, None], VAE_SCALE_FACTOR) >= 0.5


def digest(pixels: NDArray[Any]) -> bytes:
    """Equal for equal pixels of equal shape."""
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest()
