"""Splits a mask into islands, each of which one window of a network's fixed size closes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box

REACH = 8
"""Pixels: parts of a mask whose surroundings of that width touch are one."""
SLENDER = 4
"""What is, on average, at most the side of a window through this wide is cut into tiles, each seen at its own scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Islands:
    """owner: [height, width], the number of a pixel's island, from 1, and 0 outside the mask. boxes: each holds one."""

    owner: NDArray[np.int32]
    boxes: tuple[Box, ...]


def split(mask: NDArray[np.bool_], side: int) -> Islands:
    """The islands of a mask [height, width] for windows of `side` pixels, in the order of the picture's rows.

    Small ones that lie in the same tile of half a side share a window. Long and slender ones are cut into such tiles.
    Any other is one, however large: the window is scaled to it.
    """
    tile = side // 2
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
    near = cv2.dilate(mask.astype(np.uint8), brush)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    parts[~mask] = 0
    areas = np.bincount(parts[mask], minlength=count)
    boxes: list[Box] = []
    shared: dict[tuple[int, int], int] = {}
    number_of = np.zeros(count, np.int32)
    slender = []
    for part in range(1, count):
        left, top, width, height = stats[part, :4].tolist()
        box = Box(left, top, left + width, top + height)
        longer = box.size.longer
        if longer > side and areas[part] <= longer * side / SLENDER:
            slender.append((part, box))
            continue
        place = (top + height // 2) // tile, (left + width // 2) // tile
        if longer > tile or place not in shared:
            boxes.append(box)
            if longer <= tile:
                shared[place] = len(boxes)
            number_of[part] = len(boxes)
        else:
            number_of[part] = shared[place]
            boxes[shared[place] - 1] = around(boxes[shared[place] - 1], box)
    owner = number_of[parts]
    for part, box in slender:
        for piece in tiles(box, tile):
            here = parts[piece.slices] == part
            if here.any():
                boxes.append(piece)
                owner[piece.slices][here] = len(boxes)
    return Islands(owner, tuple(boxes))


def around(one: Box, other: Box) -> Box:
    return Box(
        min(one.left, other.left),
        min(one.top, other.top),
        max(one.right, other.right),
        max(one.bottom, other.bottom),
    )


def tiles(box: Box, side: int) -> list[Box]:
    return [
        Box(left, top, min(left + side, box.right), min(top + side, box.bottom))
        for top in range(box.top, box.bottom, side)
        for left in range(box.left, box.right, side)
    ]
