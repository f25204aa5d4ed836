"""Splits a mask into regions, each of which is filled in one window of a network's fixed size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size, Window, WindowRule, plan_window
from inpainting.core.masks import bounds

MERGE_DISTANCE = 8
"""Components of a mask that touch after a dilation by this many pixels count as one."""
SLENDER_RATIO = 4
"""A component that is longer than the window, and on average no wider than 1 / SLENDER_RATIO of the window, is cut
along the grid, and each part is filled at its own scale."""

MAX_REGIONS = 500
"""Each takes a run of the network, so with more of them larger regions are made, at a lower resolution."""


REGION_CONTEXT, MIN_REGION_CONTEXT = 0.5, 32
"""What a network sees around a region: a share of the region's longer side, and at least so many pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskRegions:
    """labels: [height, width], the number of a pixel's region, from 1, and 0 outside the mask. boxes: their bounds."""

    labels: NDArray[np.int32]
    boxes: tuple[Box, ...]


def split_into_regions(mask: NDArray[np.bool_], side: int) -> MaskRegions:
    """The regions of a mask [height, width] for windows of `side` pixels.

    Small components whose centres lie in the same cell of a grid of half a side share a region, and so do the parts of
    slender components in one cell. Any other component is a region of its own, to which the window is scaled. Regions
    are joined where one window shows them together at no lower resolution than the coarser of theirs.
    """
    height, width = mask.shape
    cell = side // 2
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MERGE_DISTANCE + 1, 2 * MERGE_DISTANCE + 1))
    dilated = cv2.dilate(mask.astype(np.uint8), kernel)
    count, components, stats, _ = cv2.connectedComponentsWithStats(dilated, connectivity=8)
    components[~mask] = 0
    areas = np.bincount(components[mask], minlength=count)
    boxes: list[Box] = []
    shared: dict[tuple[int, int], int] = {}
    region = np.zeros(count, np.int32)
    is_slender = np.zeros(count, np.bool_)
    for component in range(1, count):
        left, top, across, down = stats[component, :4].tolist()
        box = Box(left, top, left + across, top + down)
        longer = box.size.longer
        if longer > side and areas[component] <= longer * side / SLENDER_RATIO:
            is_slender[component] = True
            continue
        centre = (top + down // 2) // cell, (left + across // 2) // cell
        if longer > cell or centre not in shared:
            boxes.append(box)
            if longer <= cell:
                shared[centre] = len(boxes)
            region[component] = len(boxes)
        else:
            region[component] = shared[centre]
            boxes[shared[centre] - 1] = boxes[shared[centre] - 1].union(box)
    labels = region[components]
    if is_slender.any():
        slender = is_slender[components]
        for tile in Box.whole(Size(width, height)).tiles(cell):
            here = slender[tile.slices]
            if (inside := bounds(here.view(np.uint8))) is not None:
                boxes.append(inside.moved(tile.left, tile.top))
                labels[tile.slices][here] = len(boxes)
    if len(boxes) > MAX_REGIONS:
        return split_into_regions(mask, 2 * side)
    return joined(MaskRegions(labels, tuple(boxes)), side)


def joined(regions: MaskRegions, side: int) -> MaskRegions:
    """The regions with each joined to an earlier one where a window of both is not coarser: each costs a run."""
    height, width = regions.labels.shape

    def pixels(box: Box) -> int:
        """The longer side of a region's window in the picture: the more, the coarser."""
        return window_around(box, Size(width, height), side).box.size.longer

    boxes: list[Box] = []
    number = np.zeros(len(regions.boxes) + 1, np.int32)
    for old, box in enumerate(regions.boxes, start=1):
        for index, other in enumerate(boxes):
            union = other.union(box)
            if pixels(union) <= max(pixels(other), pixels(box)):
                boxes[index], number[old] = union, index + 1
                break
        else:
            boxes.append(box)
            number[old] = len(boxes)
    return MaskRegions(number[regions.labels], tuple(boxes))


def window_around(box: Box, size: Size, side: int) -> Window:
    """The square around a region of a picture of that size, which the network sees at `side` pixels."""
    return plan_window(box, size, WindowRule(REGION_CONTEXT, MIN_REGION_CONTEXT, exact=Size(side, side)))
