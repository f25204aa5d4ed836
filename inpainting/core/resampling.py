"""Enlarge a part of an image so that it equals the same part of the enlarged whole, bit for bit.

OpenCV and Pillow resize a tile by its own corner and in another order of operations for another width, so that tiles
differ from the whole in the last bit. Here each pixel's weights follow from its place in the whole image alone, and the
products are added in one order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box

Axes = tuple["Axis", "Axis"]
"""Down and across."""
LOBES = 3
"""Lanczos' window has three lobes, as Pillow's filter of that name has."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an image that is scaled from `length` to `target` pixels."""

    length: int
    target: int

    @property
    def reach(self) -> int:
        """The pixels of the source on either side that a pixel of the target is made of, at most."""
        return math.ceil(LOBES * max(1.0, self.length / self.target)) + 1

    def targets_of(self, start: int, end: int) -> tuple[int, int]:
        """Return the pixels of the target whose centres lie in the pixels start..end of the source."""
        return self._first_at(start), self._first_at(end)

    def _first_at(self, position: int) -> int:
        """The first pixel of the target whose centre is at `position` or after it; in integers, so without rounding."""
        return max(0, -((self.length - 2 * position * self.target) // (2 * self.length)))

    def sources_of(self, first: int, last: int) -> tuple[int, int]:
        """Return the pixels of the source that the pixels first..last of the target are made of."""
        start = (2 * first + 1) * self.length // (2 * self.target) - self.reach
        end = (2 * last - 1) * self.length // (2 * self.target) + self.reach + 1
        return max(0, start), min(self.length, end)

    def weights(self, first: int, last: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return, for pixels first..last of the target, which pixels of the source each is made of, and their shares.

        Both are [taps, last - first]. Beyond the borders the source repeats its outermost pixel.
        """
        scale = max(1.0, self.length / self.target)
        centres = (np.arange(first, last) + 0.5) * self.length / self.target - 0.5
        taps = np.arange(-self.reach, self.reach + 1)[:, np.newaxis]
        pixels = np.floor(centres).astype(np.intp) + taps
        shares = lanczos((pixels - centres) / scale)
        total = np.zeros(last - first)
        for share in shares:  # `sum` adds in another order where there is one pixel alone
            total += share
        shares /= total
        used = (shares != 0).any(1)
        return pixels[used].clip(0, self.length - 1), shares[used].astype(np.float32)


def lanczos(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of Lanczos' filter at distances in pixels."""
    inside = np.abs(distance) < LOBES
    return np.where(inside, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)


def sources_of(axes: Axes, target: Box) -> Box:
    """Return the part of the source that a part of the result is made of."""
    down, across = axes
    top, bottom = down.sources_of(target.top, target.bottom)
    left, right = across.sources_of(target.left, target.right)
    return Box(left, top, right, bottom)


def resample(pixels: NDArray[np.float32], axes: Axes, seen: tuple[int, int], target: Box) -> NDArray[np.float32]:
    """Return a part of the result from a part [height, width, channels] of the source.

    seen: row and column of the part in the source; it holds `sources_of` the target.
    """
    (down, across), (top, left) = axes, seen
    found, shares = across.weights(target.left, target.right)
    wide = np.zeros((pixels.shape[0], target.size.width, pixels.shape[2]), np.float32)
    for columns, share in zip(found - left, shares, strict=True):
        wide += pixels[:, columns] * share[:, np.newaxis]
    found, shares = down.weights(target.top, target.bottom)
    scaled = np.zeros((target.size.height, *wide.shape[1:]), np.float32)
    for rows, share in zip(found - top, shares, strict=True):
        scaled += wide[rows] * share[:, np.newaxis, np.newaxis]
    return scaled
