"""Decoded pictures and settings -> `InpaintRequest`."""

from __future__ import annotations

import numpy as np

from inpainting.core import masks
from inpainting.core.codecs import DecodedPicture
from inpainting.core.masks import MaskPolarity
from inpainting.core.request import InpaintRequest, PaintSettings


def masked_request(
    image: DecodedPicture, mask: DecodedPicture, settings: PaintSettings, polarity: MaskPolarity
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """The request and warnings about its pictures. A mask of another size is scaled to the image."""
    size = image.picture.size
    scaled = masks.scaling_note(mask.picture.size, size)
    pixels = masks.normalise(mask.picture, polarity=polarity, size=size)
    warnings = (*image.warnings, *mask.warnings, *([scaled] if scaled else []))
    return InpaintRequest(image.picture, pixels, settings), warnings


def unmasked_request(image: DecodedPicture, settings: PaintSettings) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Plain img2img: the whole image is repainted."""
    size = image.picture.size
    return InpaintRequest(image.picture, np.full((size.height, size.width), 255, np.uint8), settings), image.warnings
