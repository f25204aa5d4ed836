"""Masks of plain shapes."""

from __future__ import annotations

import numpy as np

from inpainting.core.image import Mask


def disc(height: int, width: int, radius: int) -> Mask:
    """A mask of a disc in the middle of an image."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height // 2) ** 2 + (x - width // 2) ** 2 <= radius**2
    return np.where(inside, np.uint8(255), np.uint8(0))
