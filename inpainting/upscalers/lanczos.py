"""Enlarging without a network: Lanczos' filter, then sharpening across edges and not along them.

It adds no detail. The sharpening is a step of an inverse diffusion along the gradient (Osher and Rudin's shock filter,
SIAM J. Numer. Anal. 27, 1990, as Alvarez and Mazorra smooth its direction), which keeps between the brightest and the
darkest pixel nearby, so that no bright line appears beside an edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.upscalers.base import OnWait, Tile, Tiling

NAME = "lanczos"
SIDE = 256
AMOUNT = 0.3
"""The share of the second derivative across an edge that is taken away."""
NOISE = 0.02
"""The difference between neighbours in the source, of 1, below which there is no edge: grain is not sharpened."""
SHARES = (np.float32(0.299), np.float32(0.587), np.float32(0.114))

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lanczos:
    """Lanczos' interpolation with edge-directed sharpening.

    All sums are NumPy's, element by element: OpenCV's filters round the last columns of a row in another way, so that
    tiles would differ from the whole.
    """

    name: str = NAME
    label: str = "Lanczos with sharpened edges"
    tiling: Tiling = field(default=Tiling(scale=1, side=SIDE))

    def enlarge(self, tile: Tile, on_wait: OnWait) -> Tile:
        raise NotImplementedError("an interpolator gets tiles that are scaled already")

    def sharpen_margin(self, factor: float) -> int:
        return radius_of(factor) + math.ceil(factor) + 3

    def sharpen(self, pixels: Tile, factor: float) -> Tile:
        light = luminance(pixels)
        smooth = blurred(light, 0.5 * factor)
        padded = np.pad(smooth, 1, "edge")
        middle, up, down = padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1]
        left, right = padded[1:-1, :-2], padded[1:-1, 2:]
        across, along = (right - left) / 2, (down - up) / 2
        second = left - 2 * middle + right, up - 2 * middle + down
        mixed = (padded[2:, 2:] - padded[2:, :-2] - padded[:-2, 2:] + padded[:-2, :-2]) / 4
        slope = across * across + along * along
        least = np.float32((NOISE / factor) ** 2)
        curvature = across * across * second[0] + 2 * across * along * mixed + along * along * second[1]
        # Divided by the square of the gradient, which leaves its direction; `least` leaves grain alone.
        change = np.float32(-AMOUNT * factor * factor) * curvature / (slope + least)
        kernel = np.ones((3 + 2 * (math.ceil(factor) // 2),) * 2, np.uint8)
        sharp: Plane = np.clip(light + change, cv2.erode(light, kernel), cv2.dilate(light, kernel))
        return np.add(pixels, (sharp - light)[:, :, np.newaxis], dtype=np.float32)


def luminance(pixels: Tile) -> Plane:
    """Return the luminance [height, width] of grey or RGB."""
    if pixels.shape[2] == 1:
        return pixels[:, :, 0]
    red, green, blue = (share * pixels[:, :, channel] for channel, share in enumerate(SHARES))
    return red + green + blue


def radius_of(factor: float) -> int:
    return math.ceil(1.5 * factor)


def blurred(plane: Plane, sigma: float) -> Plane:
    """Return a plane blurred by a Gaussian, its outermost pixels repeated beyond the border."""
    radius = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    shares = (weights / weights.sum()).astype(np.float32)
    for _ in range(2):
        padded = np.pad(plane, ((radius, radius), (0, 0)), "edge")
        total = np.zeros_like(plane)
        for row, share in enumerate(shares):
            total += share * padded[row : row + plane.shape[0]]
        plane = np.ascontiguousarray(total.T)
    return plane


def create() -> Lanczos:
    return Lanczos()
