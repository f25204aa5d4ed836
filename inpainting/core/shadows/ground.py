"""The ground around an object, as the search for its cast shadow sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box
from inpainting.core.image import Mask
from inpainting.core.shadows.views import View

GAP = 2
"""Pixels beside the mask that show object and ground mixed."""
SMOOTHING = 1.3
"""Standard deviation of the blur, in pixels of the view, that takes noise and fine texture away."""
SENSOR_FLOOR = 3
"""Levels of 255 that are added before logarithms are taken, which else rise with the noise of black."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A view without its marked pixels; the arrays are [height, width, ...] of a part of the view."""

    colour: NDArray[np.float32]  # natural logarithms of RGB, smoothed
    brightness: NDArray[np.float32]  # their mean over the channels
    detail: NDArray[np.float32]  # the brightness before smoothing less that after it
    free: Mask  # 1 where nothing is marked, else 0
    beside: Mask  # 1 on the free pixels at the object, else 0
    under: Mask  # 1 a little below pixels of the object, else 0
    top: int  # of the object
    height: int  # of the object
    area: int  # of the object

    @classmethod
    def of(cls, view: View) -> Ground:
        mask = cv2.dilate(view.marked, square(GAP))
        free = 1 - mask
        log = np.log(view.colour.astype(np.float32) + SENSOR_FLOOR)
        weight = free.astype(np.float32)[:, :, np.newaxis]
        nearby = np.maximum(cv2.GaussianBlur(weight, (0, 0), SMOOTHING), 1e-3)[:, :, np.newaxis]
        colour = cv2.GaussianBlur(log * weight, (0, 0), SMOOTHING) / nearby
        brightness = colour.mean(axis=2)
        height, area = view.bounds.size.height, int(np.count_nonzero(view.object))
        under = np.zeros_like(free)
        for down in range(2 * GAP, max(2 * GAP + 1, round(0.06 * np.sqrt(area)))):
            under[down:] |= view.object[:-down]
        beside = cv2.dilate(view.object, square(2 * GAP)) & free
        return cls(
            colour, brightness, log.mean(axis=2) - brightness, free, beside, under, view.bounds.top, height, area
        )

    @property
    def side(self) -> float:
        """The side of a square of the object's area, in pixels."""
        return float(np.sqrt(self.area))

    @property
    def edge(self) -> float:
        """Pixels from the middle of a shadow's soft edge to where it ends."""
        return max(2.0, 0.025 * self.side)

    def part(self, box: Box) -> Ground:
        """Return the ground within a box of it."""
        at = box.slices
        return replace(
            self,
            colour=self.colour[at],
            brightness=self.brightness[at],
            detail=self.detail[at],
            free=self.free[at],
            beside=self.beside[at],
            under=self.under[at],
            top=self.top - box.top,
        )


def square(reach: int) -> Mask:
    """Return the kernel that dilates by `reach` pixels."""
    return np.ones((2 * reach + 1,) * 2, np.uint8)


def disc(reach: int) -> Mask:
    """Return the same in the shape of a disc."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2), np.uint8)
