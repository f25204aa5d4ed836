"""Selects what is connected to a point and of nearly its colour, as the magic wand of image editors does."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.image import CanonicalImage, Mask
from inpainting.segmenters.base import Hint, Point, Selection

DEFAULT_TOLERANCE = 32.0


class Colour:
    """Each colour channel may differ by the tolerance from the point's. Points beside the object take theirs away."""

    name = "colour"
    label = "Colour"
    reads = frozenset({Hint.POINTS, Hint.TOLERANCE})
    needs = frozenset({Hint.POINTS})

    def segment(self, image: CanonicalImage, selection: Selection) -> Mask:
        pixels = np.array(to_rgb8(image))
        tolerance = DEFAULT_TOLERANCE if selection.tolerance is None else selection.tolerance
        mask = np.zeros(pixels.shape[:2], np.uint8)
        for point in sorted(selection.points, key=lambda point: not point.is_object):
            mask[flood(pixels, point, tolerance) > 0] = 255 if point.is_object else 0
        return mask


def flood(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], point: Point, tolerance: float) -> Mask:
    """255 for the pixels of RGB [height, width, 3] that a flood from a point reaches, by 4-connectivity."""
    height, width = pixels.shape[:2]
    found = np.zeros((height + 2, width + 2), np.uint8)  # OpenCV's mask has a border of one pixel
    at = min(int(point.x), width - 1), min(int(point.y), height - 1)
    reach = (tolerance,) * 3
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 255 << 8
    cv2.floodFill(pixels, found, at, 0, reach, reach, flags)
    return found[1:-1, 1:-1]


def create() -> Colour:
    return Colour()
