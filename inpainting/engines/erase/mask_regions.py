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
    """The regions of a mask."""

    labels: NDArray[np.int32]  # [height, width], the number of a pixel's region, from 1, and 0 outside the mask
    boxes: tuple[Box, ...]  # their bounds


def split_into_regions(mask: NDArray[np.bool_], side: int) -> MaskRegions:
    """Return the regions of a mask [height, width] for windows of `side` pixels.

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
    return join_regions(MaskRegions(labels, tuple(boxes)), side)


def join_regions(regions: MaskRegions, side: int) -> MaskRegions:
    """Return the regions with each joined to an earlier one where a window of both is not coarser: each costs a run."""
    height, width = regions.labels.shape
    # [regions, 4]: left, top, and right and bottom negated, so that the minimum of two rows bounds both.
    edges = np.array([(box.left, box.top, -box.right, -box.bottom) for box in regions.boxes], np.int64).reshape(-1, 4)

    def window_side(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the longer side of the window in the image as `window_around` places it: the more, the coarser."""
        left, top, right, bottom = rows.T[0], rows.T[1], -rows.T[2], -rows.T[3]
        longer = np.maximum(right - left, bottom - top)
        margin = np.maximum(np.ceil(REGION_CONTEXT * longer).astype(np.int64), MIN_REGION_CONTEXT)
        across = np.minimum(right + margin, width) - np.maximum(left - margin, 0)
        down = np.minimum(bottom + margin, height) - np.maximum(top - margin, 0)
        return np.maximum(np.maximum(across, down), side)

    kept = edges[:0]
    number = np.zeros(len(edges) + 1, np.int32)
    for old, row in enumerate(edges, start=1):
        unions = np.minimum(kept, row)
        fits = np.flatnonzero(window_side(unions) <= np.maximum(window_side(kept), window_side(row[None])))
        if fits.size:
            kept[fits[0]] = unions[fits[0]]
            number[old] = fits[0] + 1
        else:
            kept = np.concatenate([kept, row[None]])
            number[old] = len(kept)
    boxes = tuple(Box(left, top, -right, -bottom) for left, top, right, bottom in kept.tolist())
    return MaskRegions(number[regions.labels], boxes)


def window_around(box: Box, size: Size, side: int) -> Window:
    """Return the square around a region of an image of that size, which the network sees at `side` pixels."""
    return plan_window(box, size, WindowRule(REGION_CONTEXT, MIN_REGION_CONTEXT, exact=Size(side, side)))
