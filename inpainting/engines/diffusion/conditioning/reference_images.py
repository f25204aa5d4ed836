"""The reference images of a request: their sizes, which decide about shared steps, and their latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from inpainting.core.adapter_uses import REFERENCES
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.engines.diffusion.flow_model import pack
from inpainting.engines.diffusion.latent_codec import LatentCodec, to_tensor
from inpainting.engines.diffusion.sampling.denoising import DenoisingState
from inpainting.engines.diffusion.sampling.sample_inputs import digest


def reference_images(request: InpaintRequest) -> list[CanonicalImage]:
    """Return the reference images of a request in the order of their numbers."""
    images = request.conditioning_images
    return [images[name] for name in REFERENCES.images if name in images]


def reference_sizes(request: InpaintRequest) -> tuple[Size, ...]:
    """Return their sizes. Images with references of other sizes have other numbers of tokens and share no step."""
    return tuple(image.size for image in reference_images(request))


def encode_references(
    request: InpaintRequest, codec: LatentCodec, fit: Callable[[Image.Image], Image.Image]
) -> tuple[torch.Tensor, ...]:
    """Return the latents of each reference image, [1, c, h, w].

    fit: scales an image to a size that the model takes.
    """
    latents = []
    for image in reference_images(request):
        pixels = np.asarray(fit(as_pil(image)))
        latents.append(codec.encode(to_tensor(pixels), None, digest(pixels)))
    return tuple(latents)


def seen_images(sample: DenoisingState) -> list[torch.Tensor]:
    """Return the latents of the source image and of the reference images, [1, c, h, w] each."""
    return [image for image in (sample.image, *sample.references) if image is not None]


def seen_tokens(samples: Sequence[DenoisingState]) -> torch.Tensor:
    """Return the tokens of these images, [rows, tokens, channels], of samples whose images have the same sizes."""
    tokens = [(sample.rows, torch.cat(list(map(pack, seen_images(sample))), dim=1)) for sample in samples]
    return torch.cat([seen.expand(rows, -1, -1) for rows, seen in tokens])


def as_pil(image: CanonicalImage) -> Image.Image:
    """Return 8-bit RGB, as `prepare_whole_image` gives it, as Pillow has it."""
    return Image.fromarray(np.ascontiguousarray(image.pixels))


def limit_area(image: Image.Image, area: int, cell: int) -> Image.Image:
    """Return the middle of an image with sides that are multiples of `cell` pixels, at its own scale.

    It is scaled down to `area` pixels where it has more; a side shorter than a cell is stretched to one.
    """
    scale = min(1.0, math.sqrt(area / (image.width * image.height)))
    scaled = (max(int(image.width * scale), cell), max(int(image.height * scale), cell))
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.LANCZOS)
    width, height = (side // cell * cell for side in scaled)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
