"""The outline of a dark region beside an object, and the colours on both sides of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.image import Mask
from inpainting.core.shadows.ground import Ground

FEWEST_POINTS = 10
GREEN = 0.2
"""By how much green exceeds blue on leaves, as a natural logarithm."""
SHARE_COMPARED = 0.5
"""The share of the outline on free ground that has ground on both sides, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """points: [points, 2], x and y along the region's outer edge."""

    points: NDArray[np.int32]
    at_object: NDArray[np.bool_]  # [points]
    at_border: NDArray[np.bool_]  # [points], at the border of the ground, and not at the object

    @classmethod
    def of(cls, region: Mask, ground: Ground, border: Mask) -> Outline:
        """border: 1 where the region may end because the image does, else 0."""
        contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        points = max(contours, key=len)[:, 0]
        x, y = points.T
        at_object = ground.beside[y, x] > 0
        return cls(points, at_object, (border[y, x] > 0) & ~at_object)

    @property
    def contact(self) -> NDArray[np.int32]:
        return self.points[self.at_object]

    @property
    def share_of_hull(self) -> float:
        hull = cv2.contourArea(cv2.convexHull(self.points))
        return cv2.contourArea(self.points) / max(hull, 1.0)

    def ratios(self, region: Mask, ground: Ground) -> Ratios | None:
        """Return the ratios across the outline where the ground is free on both sides; None where that is seldom."""
        height, width = region.shape
        x, y = self.points[~self.at_object & ~self.at_border].T
        blurred = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 2)
        slope = np.stack([cv2.Sobel(blurred, cv2.CV_32F, 1, 0)[y, x], cv2.Sobel(blurred, cv2.CV_32F, 0, 1)[y, x]])
        normal = slope / (np.linalg.norm(slope, axis=0) + 1e-6)  # inward
        near, far = (np.rint([x, y] + normal * reach).astype(int) for reach in (ground.edge, -2 * ground.edge))
        limits = np.array([[width], [height]])
        seen = ((near >= 0) & (near < limits) & (far >= 0) & (far < limits)).all(axis=0)
        near, far = near[:, seen], far[:, seen]
        compared = (region[near[1], near[0]] > 0) & (region[far[1], far[0]] == 0) & (ground.free[far[1], far[0]] > 0)
        if compared.sum() < max(FEWEST_POINTS, SHARE_COMPARED * len(x)):
            return None
        (near_x, near_y), (far_x, far_y) = near[:, compared], far[:, compared]
        return Ratios(ground.colour[near_y, near_x], ground.colour[far_y, far_x])


@dataclass(frozen=True, slots=True, eq=False)
class Ratios:
    """Natural logarithms of RGB on both sides of an outline: [points, 3]."""

    inside: NDArray[np.float32]
    outside: NDArray[np.float32]

    @property
    def each(self) -> NDArray[np.float32]:
        """The logarithms of the ratios; negative where the inside is darker."""
        return self.inside - self.outside

    @property
    def typical(self) -> NDArray[np.float32]:
        """The ratio of each channel."""
        return np.asarray(np.median(self.each, axis=0))

    @property
    def strength(self) -> float:
        """How much darker the inside is, over all channels."""
        return -float(self.typical.mean())

    @property
    def on_leaves(self) -> bool:
        """Whether the ground beside the outline is green, as grass is."""
        red, green, blue = np.median(self.outside, axis=0).tolist()
        return bool(green >= red and green - blue > GREEN)

    @property
    def spread(self) -> float:
        """How far the ratios vary, as a share of the strength, in the channel where they vary most."""
        return float(deviation(self.each).max()) / self.strength

    @property
    def spread_outside(self) -> float:
        """How far the ground varies beside the outline, likewise."""
        return float(deviation(self.outside).mean()) / self.strength

    @property
    def tint(self) -> NDArray[np.float32]:
        """By how much each channel's ratio differs from the mean of all."""
        return self.typical - self.typical.mean()

    @property
    def spread_of_tint(self) -> float:
        each = self.each
        return float(np.median(np.abs(each - each.mean(axis=1, keepdims=True) - self.tint)))


def deviation(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median absolute deviation along the first axis."""
    return np.asarray(np.median(np.abs(values - np.median(values, axis=0)), axis=0))
