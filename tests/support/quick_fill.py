"""Painting an image with quick-fill, without plan settings and database; test images, and how far they differ."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.engines.quick_fill.engine import QuickFill
from tests.support.fakes import window_plan

Bytes = NDArray[np.uint8]


def paint(image: Bytes, mask: Bytes, *, seed: int = 0, num_images: int = 1) -> list[Bytes]:
    request = InpaintRequest(CanonicalImage(image), mask, PaintSettings(seed=seed, num_images=num_images))
    return list(QuickFill().inpaint(window_plan(request, QuickFill()), lambda step: None))


def disc(shape: tuple[int, ...], centre: tuple[int, int], radius: int) -> Bytes:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.circle(mask, centre, radius, 255, -1)
    return mask


def flat_error(left: Bytes, right: Bytes, mask: Bytes) -> float:
    """Mean squared error over the masked pixels."""
    return float(((left.astype(np.float64) - right) ** 2)[mask > 0].mean())


def weave(height: int, width: int) -> Bytes:
    """A pattern with a period of 24x16 pixels and detail in all three channels."""
    rng = np.random.default_rng(3)
    tile = cv2.resize(rng.integers(0, 256, (12, 8, 3)).astype(np.uint8), (16, 24), interpolation=cv2.INTER_CUBIC)
    return np.tile(tile, (height // 24 + 1, width // 16 + 1, 1))[:height, :width].copy()
