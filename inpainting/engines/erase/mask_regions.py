"""Splits a mask into regions, each of which is filled in one window of a network's fixed size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box

MERGE_DISTANCE = 8
"""Components of a mask that touch after a dilation by this many pixels count as one."""
SLENDER_RATIO = 4
"""A component that is longer than the window, and on average no wider than 1 / SLENDER_RATIO of the window, is cut into
tiles, each of which is filled at its own scale."""

MAX_REGIONS = 500
"""Each takes a run of the network, so with more of them larger regions are made, at a lower resolution."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskRegions:
    """labels: [height, width], the number of a pixel's region, from 1, and 0 outside the mask. boxes: their bounds."""

    labels: NDArray[np.int32]
    boxes: tuple[Box, ...]


def split_into_regions(mask: NDArray[np.bool_], side: int) -> MaskRegions:
    """The regions of a mask [height, width] for windows of `side` pixels, in row order.

    Small components whose centres lie in the same tile of half a side share a region. Slender components are cut into
    such tiles. Any other component is a region of its own, to which the window is scaled.
    """
    tile = side // 2
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MERGE_DISTANCE + 1, 2 * MERGE_DISTANCE + 1))
    dilated = cv2.dilate(mask.astype(np.uint8), kernel)
    count, components, stats, _ = cv2.connectedComponentsWithStats(dilated, connectivity=8)
    components[~mask] = 0
    areas = np.bincount(components[mask], minlength=count)
    boxes: list[Box] = []
    shared: dict[tuple[int, int], int] = {}
    region = np.zeros(count, np.int32)
    slender = []
    for component in range(1, count):
        left, top, width, height = stats[component, :4].tolist()
        box = Box(left, top, left + width, top + height)
        longer = box.size.longer
        if longer > side and areas[component] <= longer * side / SLENDER_RATIO:
            slender.append((component, box))
            continue
        cell = (top + height // 2) // tile, (left + width // 2) // tile
        if longer > tile or cell not in shared:
            boxes.append(box)
            if longer <= tile:
                shared[cell] = len(boxes)
            region[component] = len(boxes)
        else:
            region[component] = shared[cell]
            boxes[shared[cell] - 1] = boxes[shared[cell] - 1].union(box)
    labels = region[components]
    for component, box in slender:
        for piece in box.tiles(tile):
            here = components[piece.slices] == component
            if here.any():
                boxes.append(piece)
                labels[piece.slices][here] = len(boxes)
    if len(boxes) > MAX_REGIONS:
        return split_into_regions(mask, 2 * side)
    return MaskRegions(labels, tuple(boxes))
