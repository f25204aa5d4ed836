"""Which parts of a painted picture the safety checker looks at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.core.masks import marked
from inpainting.core.picture import Mask

SURROUNDINGS, LEAST_SURROUNDINGS = 0.5, 32
"""Around what was painted: a share of its longer side, and pixels."""
SMALL = 2
"""What is shown at half the size is seen well enough: a closer view is for what would be smaller."""
FINEST, CLASSES = 64, 4
"""Islands under 64 painted pixels, under 128, 256 and 512, are shown in views of twice that."""
REACH = FINEST << (CLASSES - 1)
"""In a view of twice that diffusers' own pipeline shows the checker a whole picture of SDXL."""
FEW = 16
"""Closer views, two calls of the network, that any picture may cost."""
MOST_PIXELS = 4096**2
"""Of a larger picture everything is seen as if it were scaled down to this."""
MOST_ACROSS = 16
"""Squares along a picture; one that is thinner is not cut into squares."""


def views(mask: Mask, grain: float = 1.0) -> list[Box]:
    """Squares that together show all that was painted, each with what is around it.

    Of everything at once, and closer where that shows too little: each island of the mask in a square of at most eight
    times its side, or of 256 pixels, so that no far dot makes it too small; and all that was painted, were it one
    island, in squares of at most 1024, so that no thin bridge does. Squares, because of what it is given the checker
    sees the middle square and nothing else; a picture that would take more than MOST_ACROSS is cut into longer parts.

    grain: pixels of the mask for each that was painted, where the painting was scaled up. These sides are in painted
    pixels, and larger by sqrt(pixels / 4096^2) in a larger picture. Where each island alone would take more than FEW
    views the smallest share theirs, in the end all under 512 pixels, in squares of 1024. For every view costs a second
    or more of a processor, and of so large squares, which overlap by half, there are at most 165 whatever is painted:
    16 of everything, 64 of islands and 64 of parts of larger ones, and 21 of those as a whole.
    """
    height, width = mask.shape
    finest = round(FINEST * max(1.0, grain, math.sqrt(mask.size / MOST_PIXELS)))
    everything = widened(marked(mask), Size(width, height))
    side, most = everything.size.shorter, 2 * finest * REACH // FINEST
    closer = [
        box for box in close_ups(mask, finest) if side > box.size.shorter * SMALL or side > most >= box.size.shorter
    ]
    return list(dict.fromkeys(square for box in (everything, *closer) for square in squares(box)))


def close_ups(mask: Mask, finest: int) -> list[Box]:
    """Each island wholly in one of these, and each part of those that are larger than the last class."""
    height, width = mask.shape
    picture, reach = Size(width, height), finest * REACH // FINEST
    _, labels, found, _ = cv2.connectedComponentsWithStats((mask > 0).view(np.uint8), connectivity=8)
    islands = found[1:, : cv2.CC_STAT_AREA].astype(np.int64)  # [islands, left top width height]
    is_large = np.concatenate([[False], islands[:, 2:].max(1) >= reach])
    parts = tiles(is_large[labels], reach) if is_large.any() else []
    boxes: list[Box] = []
    for number in range(CLASSES):
        boxes = [*together(islands, picture, finest << number), *parts]
        if len(boxes) <= FEW:
            break
    return boxes


def together(islands: NDArray[np.int64], picture: Size, finest: int) -> list[Box]:
    """Views of islands [islands, left top width height], each wholly in one: alone where no other is near.

    Those whose longer side is under `finest`, or under twice that, and so on, share squares of twice that: each is in
    the one whose middle is nearest.
    """
    power = 1 + np.floor(np.log2(np.maximum(islands[:, 2:].max(1) / finest, 0.5))).astype(np.int64)
    reach = finest << power
    middle = islands[:, :2] + islands[:, 2:] / 2
    left, top = nearest(middle[:, 0], reach, picture.width), nearest(middle[:, 1], reach, picture.height)
    _, first, counts = np.unique(power << 32 | left << 16 | top, return_index=True, return_counts=True)
    boxes = []
    for one, count in zip(first.tolist(), counts.tolist(), strict=True):
        if count > 1:
            boxes.append(square_from(int(left[one]), int(top[one]), 2 * int(reach[one]), picture))
        else:
            x, y, width, height = islands[one].tolist()
            boxes.append(widened(Box(x, y, x + width, y + height), picture))
    return boxes


def tiles(painted: NDArray[np.bool_], reach: int) -> list[Box]:
    """The squares of twice `reach`, which overlap by half, in which something is painted."""
    height, width = painted.shape
    lefts, tops = (np.unique(nearest(np.arange(side), np.array(reach), side)).tolist() for side in (width, height))
    every = [square_from(left, top, 2 * reach, Size(width, height)) for top, left in product(tops, lefts)]
    return [box for box in every if painted[box.slices].any()]


def square_from(left: int, top: int, side: int, picture: Size) -> Box:
    return Box(left, top, min(left + side, picture.width), min(top + side, picture.height))


def nearest(points: NDArray[Any], reach: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Of the stretches of twice `reach` that cover 0..length, overlapping by half, where those begin whose middle is
    nearest to the points. What is under `reach` and has its middle there lies in them wholly."""
    count = np.maximum(1, -(-length // reach) - 1)
    step = np.maximum(length - 2 * reach, 0) / np.maximum(1, count - 1)
    number = np.clip(np.rint((points - reach) / np.maximum(step, 1)), 0, count - 1)
    return np.rint(number * step).astype(np.int64)


def widened(box: Box, picture: Size) -> Box:
    """With its surroundings, and as nearly a square as the picture has room for."""
    side = box.size.longer + 2 * max(LEAST_SURROUNDINGS, round(box.size.longer * SURROUNDINGS))
    left, right = spread(box.left, box.right, side, picture.width)
    top, bottom = spread(box.top, box.bottom, side, picture.height)
    return Box(left, top, right, bottom)


def spread(start: int, end: int, length: int, most: int) -> tuple[int, int]:
    """A stretch of `length` with start..end in its middle, moved and cut where it leaves 0..most."""
    length = min(length, most)
    begin = min(max(0, (start + end - length) // 2), most - length)
    return begin, begin + length


def squares(box: Box) -> Iterator[Box]:
    """As few squares of the box's shorter side as cover it and overlap by half; of a thinner box MOST_ACROSS parts."""
    long = box.size.longer
    side = max(box.size.shorter, -(-2 * long // (MOST_ACROSS + 1)))
    count = max(1, -(-2 * long // side) - 1)
    for number in range(count):
        at = (long - side) * number // max(1, count - 1)
        if box.size.width == long:
            yield Box(box.left + at, box.top, box.left + at + side, box.bottom)
        else:
            yield Box(box.left, box.top + at, box.right, box.top + at + side)
