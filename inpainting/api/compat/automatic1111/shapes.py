"""Masks as AUTOMATIC1111 reads them, and images at the size of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from inpainting.api.compat.automatic1111.body import ImageBody, ResizeMode
from inpainting.core import masks
from inpainting.core.codecs.colour import to_8_bits
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.masks import MaskPolarity
from inpainting.core.resizing import middle

P = TypeVar("P", bound=Pixels)
ALPHA_THRESHOLD = 128
"""The highest alpha of a mask that is rounded down."""


def mask_of(image: CanonicalImage, body: ImageBody) -> Mask:
    """Return the mask: white is repainted; of one with transparent pixels, what is opaque. As the service reads it."""
    if image.alpha is not None and not image.is_opaque:
        mask = to_8_bits(image.alpha).reshape(image.size.height, image.size.width)
        mask = np.where(mask > ALPHA_THRESHOLD, np.uint8(255), np.uint8(0)) if body.mask_round else mask
    else:
        mask = masks.normalise(image, polarity=MaskPolarity.WHITE_REPAINTS, size=image.size)
    return 255 - mask if body.inpainting_mask_invert else mask


def fit(pixels: P, size: Size, mode: ResizeMode, scale: Callable[[P, Size], P]) -> P:
    """Return pixels [height, width, …] at another size: stretched, or in their own shape, in the middle: cropped, or
    filled up with the colours at their edges.

    scale: returns pixels at a size.
    """
    height, width = pixels.shape[:2]
    if mode in (ResizeMode.STRETCH, ResizeMode.LATENT):
        return scale(pixels, size)
    if mode is ResizeMode.CROP:
        return scale(middle(pixels, size), size)
    factor = min(size.width / width, size.height / height)
    scaled: Any = scale(pixels, Size(max(1, round(width * factor)), max(1, round(height * factor))))
    pads = [(0, 0)] * scaled.ndim
    for axis, side in enumerate((size.height, size.width)):
        before = (side - scaled.shape[axis]) // 2
        pads[axis] = (before, side - scaled.shape[axis] - before)
    return np.pad(scaled, pads, mode="edge")  # type: ignore[return-value]
