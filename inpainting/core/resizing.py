"""Scale images."""

from __future__ import annotations

from typing import TypeVar, cast

import cv2
import numpy as np

from inpainting.core.geometry import Size, row_strips
from inpainting.core.image import CanonicalImage, Pixels

P = TypeVar("P", bound=Pixels)


def resize(image: CanonicalImage, size: Size) -> CanonicalImage:
    """Return the image at another size, in its own mode and depth, as `resize_pixels` scales.

    Colours are weighted with their alpha, or the colours of transparent pixels would bleed into the edges.
    """
    if image.size == size:
        return image
    if not image.has_alpha:
        pixels = resize_pixels(cast(Pixels, np.ascontiguousarray(image.pixels)), size)
        return CanonicalImage(pixels, image.icc_profile, image.metadata)
    pixels = image.pixels
    full = float(np.iinfo(pixels.dtype).max)
    scaled = np.empty((size.height, size.width, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):  # One at a time, so that little is held beside the result.
        plane = pixels[:, :, channel].copy()
        if channel < pixels.shape[2] - 1:
            cv2.multiply(plane, np.ascontiguousarray(pixels[:, :, -1]), dst=plane, scale=1 / full)
        scaled[:, :, channel] = resize_pixels(plane[:, :, np.newaxis], size)[:, :, 0]
    for top, bottom in row_strips(size.height, size.width):
        shares = np.maximum(scaled[top:bottom, :, -1:].astype(np.float32), 1) / full
        scaled[top:bottom, :, :-1] = (scaled[top:bottom, :, :-1] / shares).clip(0, full).round()
    return CanonicalImage(scaled, image.icc_profile, image.metadata)


def middle(pixels: P, shape: Size) -> P:
    """Return the largest part of pixels [height, width, …], in their middle, that has the shape of another size.

    It is cut out before it is scaled: a strip one pixel wide would take gigabytes at the width of a result.
    """
    height, width = pixels.shape[:2]
    factor = max(shape.width / width, shape.height / height)
    kept = Size(max(1, round(shape.width / factor)), max(1, round(shape.height / factor)))
    left, top = (width - kept.width) // 2, (height - kept.height) // 2
    return cast(P, np.ascontiguousarray(pixels[top : top + kept.height, left : left + kept.width]))


def resize_pixels(pixels: P, size: Size) -> P:
    """Return pixels [height, width, channels] at another size: area averages for shrinking, Lanczos for enlarging."""
    height, width = pixels.shape[:2]
    smaller = Size(min(width, size.width), min(height, size.height))
    scaled = pixels
    if smaller != Size(width, height):
        scaled = cv2.resize(scaled, (smaller.width, smaller.height), interpolation=cv2.INTER_AREA)
    if smaller != size:
        scaled = cv2.resize(scaled, (size.width, size.height), interpolation=cv2.INTER_LANCZOS4)
    return cast(P, scaled.reshape(size.height, size.width, pixels.shape[2]))
