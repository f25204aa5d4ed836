"""Crops of a result for the safety checker: together they show every repainted pixel, large enough to be recognised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size
from inpainting.core.image import Mask
from inpainting.core.masks import nonempty_bounds

SURROUNDINGS, MIN_SURROUNDINGS = 0.5, 32
"""Context around the repainted pixels: a share of their longer side, and pixels."""
SMALL = 2
"""A region that the overview shows at half its size or larger needs no close-up."""
FINEST, CLASSES = 64, 4
"""Components under 64 repainted pixels a side, under 128, 256 and 512, are shown in crops of twice that side."""
REACH = FINEST << (CLASSES - 1)
"""Components are shown in a crop of twice this side. diffusers' own pipeline shows the checker a whole image of SDXL,
which is 1024."""
FEW = 16
"""Close-ups allowed for any image: two batches of the network."""
MAX_PIXELS = 4096**2
"""Larger images are cropped as if they were scaled down to this."""
MAX_ACROSS = 16
"""Squares along an image; the parts of a thinner one are longer than squares."""


def checker_crops(mask: Mask, grain: float = 1.0) -> list[Box]:
    """Return squares that together show all repainted pixels, each with its surroundings.

    An overview of everything, and close-ups where that shows too little: each connected component of the mask in a
    square of at most eight times its side, or of 256 pixels, so that a distant dot does not shrink it; and all that was
    repainted, as if it were one component, in squares of at most 1024, so that a thin bridge does not either. Squares,
    because the checker's preprocessing crops its input to the centre square; an image that would take more than
    MAX_ACROSS of them is cut into longer parts.

    grain: mask pixels for each painted pixel, where the painting was scaled up. The sides above are in painted pixels,
        and larger by sqrt(pixels / 4096^2) in a larger image. Where components alone would take more than FEW crops the
        smallest share theirs, in the end all under 512 pixels, in squares of 1024. Every crop costs a second or more of
        a processor; of squares that large, which overlap by half, there are at most 165 for any mask: 16 of everything,
        64 of components, 64 of parts of larger ones, and 21 of those as a whole.
    """
    height, width = mask.shape
    finest = round(FINEST * max(1.0, grain, math.sqrt(mask.size / MAX_PIXELS)))
    overview = add_surroundings(nonempty_bounds(mask), Size(width, height))
    side, max_side = overview.size.shorter, 2 * finest * REACH // FINEST
    closer = [
        box for box in close_ups(mask, finest) if side > box.size.shorter * SMALL or side > max_side >= box.size.shorter
    ]
    return list(dict.fromkeys(square for box in (overview, *closer) for square in squares(box)))


def close_ups(mask: Mask, finest: int) -> list[Box]:
    """Return boxes that hold each component wholly, and each part of those larger than the last class."""
    height, width = mask.shape
    image, reach = Size(width, height), finest * REACH // FINEST
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0).view(np.uint8), connectivity=8)
    components = stats[1:, : cv2.CC_STAT_AREA].astype(np.int64)  # [components, left top width height]
    is_large = np.concatenate([[False], components[:, 2:].max(1) >= reach])
    parts = overlapping_tiles(is_large[labels], reach) if is_large.any() else []
    boxes: list[Box] = []
    for number in range(CLASSES):
        boxes = [*group_boxes(components, image, finest << number), *parts]
        if len(boxes) <= FEW:
            break
    return boxes


def group_boxes(components: NDArray[np.int64], image: Size, finest: int) -> list[Box]:
    """Return boxes of components [components, left top width height], each wholly in one: alone where no other is near.

    Components whose longer side is under `finest`, or under twice that, and so on, share squares of twice that side:
    each goes to the square whose middle is nearest.
    """
    power = 1 + np.floor(np.log2(np.maximum(components[:, 2:].max(1) / finest, 0.5))).astype(np.int64)
    reach = finest << power
    middle = components[:, :2] + components[:, 2:] / 2
    left = nearest_tile(middle[:, 0], reach, image.width)
    top = nearest_tile(middle[:, 1], reach, image.height)
    _, first, counts = np.unique(power << 32 | left << 16 | top, return_index=True, return_counts=True)
    boxes = []
    for index, count in zip(first.tolist(), counts.tolist(), strict=True):
        if count > 1:
            boxes.append(clip_square(int(left[index]), int(top[index]), 2 * int(reach[index]), image))
        else:
            x, y, width, height = components[index].tolist()
            boxes.append(add_surroundings(Box(x, y, x + width, y + height), image))
    return boxes


def overlapping_tiles(repainted: NDArray[np.bool_], reach: int) -> list[Box]:
    """Return the squares of twice `reach`, overlapping by half, in which any pixel of `repainted` [height, width] is
    true."""
    height, width = repainted.shape
    lefts, tops = (np.unique(nearest_tile(np.arange(side), np.array(reach), side)).tolist() for side in (width, height))
    tiles = [clip_square(left, top, 2 * reach, Size(width, height)) for top, left in product(tops, lefts)]
    return [box for box in tiles if repainted[box.slices].any()]


def clip_square(left: int, top: int, side: int, image: Size) -> Box:
    return Box(left, top, min(left + side, image.width), min(top + side, image.height))


def nearest_tile(points: NDArray[Any], reach: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return starts of the tiles whose middle is nearest to `points`, along one axis.

    Tiles of length 2 `reach` cover 0..length, overlapping by half; so an interval shorter than `reach` lies wholly in
    the tile nearest to its middle.
    """
    count = np.maximum(1, -(-length // reach) - 1)
    step = np.maximum(length - 2 * reach, 0) / np.maximum(1, count - 1)
    number = np.clip(np.rint((points - reach) / np.maximum(step, 1)), 0, count - 1)
    return np.rint(number * step).astype(np.int64)


def add_surroundings(box: Box, image: Size) -> Box:
    """Return the box with context around it, as nearly square as the image has room for."""
    side = box.size.longer + 2 * max(MIN_SURROUNDINGS, round(box.size.longer * SURROUNDINGS))
    left, right = centre_interval(box.left, box.right, side, image.width)
    top, bottom = centre_interval(box.top, box.bottom, side, image.height)
    return Box(left, top, right, bottom)


def centre_interval(start: int, end: int, length: int, available: int) -> tuple[int, int]:
    """Return an interval of `length` centred on start..end, shifted and shortened to stay within 0..available."""
    length = min(length, available)
    begin = min(max(0, (start + end - length) // 2), available - length)
    return begin, begin + length


def squares(box: Box) -> Iterator[Box]:
    """Yield the fewest squares of the box's shorter side that cover it, overlapping by half; MAX_ACROSS for thin
    boxes."""
    long = box.size.longer
    side = max(box.size.shorter, -(-2 * long // (MAX_ACROSS + 1)))
    count = max(1, -(-2 * long // side) - 1)
    for number in range(count):
        at = (long - side) * number // max(1, count - 1)
        if box.size.width == long:
            yield Box(box.left + at, box.top, box.left + at + side, box.bottom)
        else:
            yield Box(box.left, box.top + at, box.right, box.top + at + side)
