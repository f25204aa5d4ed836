"""The objects of a mask, each with its surroundings at a bounded size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Mask, Pixels
from inpainting.core.masks import bounds
from inpainting.core.resizing import resize_pixels

P = TypeVar("P", bound=Pixels)

COARSE_SIDE = 512
"""Pixels of the longer side of the mask in which objects are told apart."""
VIEW_SIDE = 288
"""Pixels of the longer side of a view at most."""
SAMPLES = 2
"""Pixels across and down of the image that are averaged for one of a view, at least, where it has that many."""
SMALLEST_SIDE = 24
"""A view with a shorter side than this shows nothing of the ground."""
MAX_OBJECTS = 4
SMALLEST_SHARE = 0.05
"""Objects with less than this share of the largest one's pixels are specks of the mask."""
REACH, REACH_ABOVE, REACH_BELOW = 0.8, 0.2, 1.1
"""What a view shows to the left, right, above and below of an object, as shares of the object's longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One object and its surroundings; the arrays are [height, width, ...] of the view."""

    box: Box  # in the image
    colour: NDArray[np.uint8]  # RGB
    marked: Mask  # 1 where the mask repaints anything, else 0
    object: Mask  # 1 on this object, else 0
    bounds: Box  # of the object
    # Whether the left, the right and the lower edge of the view are those of the image.
    ends: tuple[bool, bool, bool]

    @property
    def scale(self) -> float:
        """Pixels of the view for one of the image."""
        return self.colour.shape[1] / self.box.size.width


def view_of_each_object(image: CanonicalImage, mask: Mask) -> Iterator[View]:
    """Return views of the largest connected parts of a mask, largest first."""
    scale = min(1.0, COARSE_SIDE / image.size.longer)
    coarse = smaller_mask(mask, Size(max(1, round(image.size.width * scale)), max(1, round(image.size.height * scale))))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(coarse)
    areas = stats[:, cv2.CC_STAT_AREA]
    largest = sorted(range(1, count), key=lambda label: -int(areas[label]))[:MAX_OBJECTS]
    for label in largest:
        if areas[label] >= SMALLEST_SHARE * areas[largest[0]]:
            view = view_of(image, mask, (labels == label).view(np.uint8))
            if view is not None:
                yield view


def view_of(image: CanonicalImage, mask: Mask, one: Mask) -> View | None:
    """Return the view of one object, or None where it is too small or too thin to be looked at.

    one: 1 on the object, else 0, at the size in which objects are told apart.
    """
    across, down = mask.shape[1] / one.shape[1], mask.shape[0] / one.shape[0]
    left, top, width, height = cv2.boundingRect(one)
    side = max(width, height)
    box = Box(
        max(0, math.floor((left - REACH * side) * across)),
        max(0, math.floor((top - REACH_ABOVE * side) * down)),
        min(image.size.width, math.ceil((left + width + REACH * side) * across)),
        min(image.size.height, math.ceil((top + height + REACH_BELOW * side) * down)),
    )
    scale = min(1.0, VIEW_SIDE / box.size.longer)
    size = Size(max(1, round(box.size.width * scale)), max(1, round(box.size.height * scale)))
    if size.shorter < SMALLEST_SIDE:
        return None
    marked = smaller_mask(mask[box.slices], size)
    rows = ((np.arange(size.height) + 0.5) * box.size.height / size.height + box.top) / down
    columns = ((np.arange(size.width) + 0.5) * box.size.width / size.width + box.left) / across
    nearby = cv2.dilate(one, np.ones((3, 3), np.uint8))  # its edge is rounded in the coarse mask
    at = np.ix_(rows.astype(int).clip(0, one.shape[0] - 1), columns.astype(int).clip(0, one.shape[1] - 1))
    mine = marked & nearby[at]
    found = bounds(mine)
    if found is None:
        return None
    ends = box.left == 0, box.right == image.size.width, box.bottom == image.size.height
    part = CanonicalImage(thinned(image.pixels[box.slices], size))
    return View(box, resize_pixels(to_rgb8(part), size), marked, mine, found, ends)


def smaller_mask(mask: Mask, size: Size) -> Mask:
    """Return 1 where any of the mask is repainted, else 0, at a smaller size."""
    part = np.ascontiguousarray(thinned(mask, size))
    return (cv2.resize(part, (size.width, size.height), interpolation=cv2.INTER_AREA) > 0).view(np.uint8)


def thinned(pixels: P, size: Size) -> P:
    """Return every n-th pixel, where enough remain to be averaged at that size: averaging all takes longer than the
    search."""
    step = max(1, min(pixels.shape[0] // size.height, pixels.shape[1] // size.width) // SAMPLES)
    return cast(P, pixels[::step, ::step])
