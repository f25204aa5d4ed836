"""Scenes with a cast shadow or a mirror image, made from the photos of scikit-image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from inpainting.core.image import Mask

Bytes = NDArray[np.uint8]
HEIGHT, WIDTH = 360, 480
FOOT = 220
"""The row on which the object stands."""


def ground(name: str, tint: tuple[float, float, float]) -> Bytes:
    """A tinted texture of scikit-image: gravel, grass or brick."""
    grey = 0.25 + 0.6 / 255 * np.asarray(getattr(data, name)(), np.float32)[:HEIGHT, :WIDTH, np.newaxis]
    return np.asarray(grey * np.array(tint) * 255, np.uint8)


def gravel() -> Bytes:
    return ground("gravel", (0.95, 0.88, 0.8))


def box(left: int = 200, right: int = 260, height: int = 110) -> Mask:
    """The mask of a box that stands on the ground."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[FOOT - height : FOOT, left:right] = 255
    return mask


def shadow_of(mask: Mask, *, aside: float = 0.6, long: float = 0.4) -> Mask:
    """Where its shadow falls: `aside` to the left and `long` towards the camera, in heights of the object."""
    fall = np.array([[1, aside, -aside * FOOT], [0, -long, FOOT + long * FOOT]], np.float32)
    return np.asarray(cv2.warpAffine(mask, fall, (mask.shape[1], mask.shape[0])), np.uint8)


def darkened(image: Bytes, where: Mask, ratio: tuple[float, float, float], blur: float = 2.5) -> Bytes:
    """The image multiplied by a ratio for each channel, with a soft edge."""
    share = cv2.GaussianBlur(where, (0, 0), blur).astype(np.float32)[:, :, np.newaxis] / 255
    return np.asarray(image * (1 - share + share * np.array(ratio, np.float32)), np.uint8)


def placed(image: Bytes, mask: Mask) -> Bytes:
    """The image with a part of another photo where the mask is white."""
    cat = cv2.resize(np.asarray(data.chelsea(), np.uint8), (image.shape[1], image.shape[0]))
    return np.where(mask[:, :, np.newaxis] > 0, cat, image)


SUNLIGHT = (0.5, 0.52, 0.56)
"""What a shadow leaves of red, green and blue: of blue most, as the sky still lights it."""


def with_cast_shadow() -> tuple[Bytes, Mask, Mask]:
    """A photo of an object on gravel, its mask, and its shadow."""
    mask = box()
    return placed(darkened(gravel(), shadow_of(mask), SUNLIGHT), mask), mask, shadow_of(mask) & ~mask


def with_mirror_image(strength: float = 0.4) -> tuple[Bytes, Mask, Mask]:
    """A photo of the astronaut above water that mirrors her, her mask, and her mirror image."""
    photo = np.asarray(data.astronaut(), np.uint8)[:300]
    mask = np.zeros((300, 512), np.uint8)
    cv2.ellipse(mask, (225, 190), (90, 160), 0, 0, 360, 255, -1)
    below = photo[::-1].astype(np.float32)
    ripple = np.round(2 * np.sin(np.arange(len(below)) / 3)).astype(int)
    below = np.stack([np.roll(row, by, axis=0) for row, by in zip(below, ripple, strict=True)])
    water = strength * cv2.GaussianBlur(below, (0, 0), 1.5) + (1 - strength) * np.array([70, 90, 100])
    image = np.concatenate([photo, water.astype(np.uint8)])
    nothing = np.zeros_like(mask)
    return image, np.concatenate([mask, nothing]), np.concatenate([nothing, mask[::-1]])
