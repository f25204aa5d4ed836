"""Build an `InpaintRequest` from decoded images and settings."""

from __future__ import annotations

import numpy as np

from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings


def build_masked_request(
    image: DecodedPicture, mask: DecodedPicture, settings: PaintSettings, polarity: MaskPolarity
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Build the request, with warnings about its images. A mask of another size is scaled to the image."""
    size = image.picture.size
    scaled = masks.scaling_note(mask.picture.size, size)
    pixels = masks.normalise(mask.picture, polarity=polarity, size=size)
    warnings = (*image.warnings, *mask.warnings, *([scaled] if scaled else []))
    return InpaintRequest(image.picture, pixels, settings), warnings


def build_unmasked_request(image: DecodedPicture, settings: PaintSettings) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Build a request that repaints the whole image, for plain img2img."""
    size = image.picture.size
    return InpaintRequest(image.picture, np.full((size.height, size.width), 255, np.uint8), settings), image.warnings
