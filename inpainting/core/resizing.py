"""Scale pictures."""

from __future__ import annotations

from typing import TypeVar, cast

import cv2
import numpy as np

from inpainting.core.geometry import Size
from inpainting.core.picture import Picture, Pixels

P = TypeVar("P", bound=Pixels)


def resize(picture: Picture, size: Size) -> Picture:
    """The picture at another size, in its own mode and depth, as `resized` scales.

    Colours are weighted with their alpha, or the colours of transparent pixels would bleed into the edges.
    """
    if picture.size == size:
        return picture
    colour = cast(Pixels, np.ascontiguousarray(picture.colour))
    if picture.alpha is None:
        return Picture(resized(colour, size), picture.icc_profile, picture.metadata)
    alpha = cast(Pixels, np.ascontiguousarray(picture.alpha))
    full = float(np.iinfo(alpha.dtype).max)
    weighted = cv2.multiply(colour, cv2.merge([alpha] * colour.shape[2]), scale=1 / full).reshape(colour.shape)
    scaled_alpha = resized(alpha[:, :, np.newaxis], size)
    shares = np.maximum(scaled_alpha.astype(np.float32), 1) / full
    scaled_colour = (resized(cast(Pixels, weighted), size) / shares).clip(0, full).round().astype(colour.dtype)
    return Picture(np.concatenate([scaled_colour, scaled_alpha], axis=2), picture.icc_profile, picture.metadata)


def resized(pixels: P, size: Size) -> P:
    """Pixels [height, width, channels] at another size: area averages for shrinking, Lanczos for enlarging."""
    height, width = pixels.shape[:2]
    smaller = Size(min(width, size.width), min(height, size.height))
    scaled = pixels
    if smaller != Size(width, height):
        scaled = cv2.resize(scaled, (smaller.width, smaller.height), interpolation=cv2.INTER_AREA)
    if smaller != size:
        scaled = cv2.resize(scaled, (size.width, size.height), interpolation=cv2.INTER_LANCZOS4)
    return cast(P, scaled.reshape(size.height, size.width, pixels.shape[2]))
