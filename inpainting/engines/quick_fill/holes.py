"""Splits a mask into thin damage, which is interpolated, and holes, which are filled one by one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size, row_strips
from inpainting.core.masks import bounds

THIN_RADIUS = 4.0
"""Pixels: a component nowhere deeper than this is a scratch or a speck. Depth is the distance to the mask's edge."""
CROSSING_RADIUS = 8.0
"""Pixels: where scratches cross, thin damage may be this deep."""
MANY = 150
MANY_RADIUS = 10.0
"""With more than MANY holes, those nowhere deeper than this count as thin too, which bounds the time."""
STRIP = 12
MIN_TILE = 96
"""A hole longer than STRIP times its depth is cut into tiles, at least this many pixels wide, so that a wire across the
picture is filled piece by piece from nearby pixels."""
CELL = 4
"""Pixels a side: the accuracy with which holes are found to be near each other."""
MAX_HOLES = 500
GRID = 2048
"""With more than MAX_HOLES holes, those in the same cell of a grid of GRID pixels are filled as one."""


def split_mask(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[Box]]:
    """(thin damage [h, w], boxes of the holes): together they cover the mask. A box holds one or several nearby."""
    thin = np.zeros_like(mask)
    marked = bounds(mask.view(np.uint8))
    if marked is None:
        return thin, []
    # Only around the masked pixels: the planes below take ten bytes a pixel.
    around = marked.expanded(CELL).clipped(Box.whole(Size(mask.shape[1], mask.shape[0])))
    left, top = around.left - around.left % CELL, around.top - around.top % CELL
    part = slice(top, around.bottom), slice(left, around.right)
    thin[part], holes = split_part(np.ascontiguousarray(mask[part]))
    return thin, [Box(left + hole.left, top + hole.top, left + hole.right, top + hole.bottom) for hole in holes]


def split_part(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[Box]]:
    """As `split_mask`. The pixels at the edges of `mask` are 0, or lie at the picture's border.

    A component that is mostly deep is a hole, including its thin ends. Of one that is mostly thin, such as crossing
    scratches, only the parts too deep for a crossing are holes.
    """
    deep = edge_distance(mask)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    body = grown(deep > THIN_RADIUS) & mask
    bodies = np.zeros(len(stats), np.int64)
    for part in row_slices(mask):
        bodies += np.bincount(numbers[part][body[part]], minlength=len(stats))
    solid = bodies > stats[:, cv2.CC_STAT_AREA] / 2
    loose = mask & ~solid[numbers]
    holes = mask & ~loose | body & loose
    del numbers
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(holes.view(np.uint8), connectivity=8)
    deepest = np.zeros(len(stats), np.float32)
    from_scratches = np.zeros(len(stats), bool)
    for part in row_slices(mask):
        np.maximum.at(deepest, numbers[part][holes[part]], deep[part][holes[part]])
        from_scratches[numbers[part][body[part] & loose[part]]] = True
    thick = deepest > np.where(from_scratches, CROSSING_RADIUS, THIN_RADIUS)
    found = tiled(grouped(stats[thick], mask.shape), deep)
    if len(found) > MANY:
        thick &= deepest > MANY_RADIUS
        found = tiled(grouped(stats[thick], mask.shape), deep)
    if len(found) > MAX_HOLES:
        found = joined_in_cells(found)
    return mask & ~thick[numbers], found


def row_slices(plane: NDArray[np.bool_]) -> list[slice]:
    """Strips of rows, so that the indexes of a large mask's pixels are not held all at once."""
    return [slice(top, bottom) for top, bottom in row_strips(*plane.shape)]


def edge_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance in pixels to the nearest pixel outside the mask; the picture's border is no edge."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]


def grown(core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels that belong to a deep core: dilated back by the depth that the threshold removed."""
    side = 2 * int(np.ceil(THIN_RADIUS)) + 3
    return cv2.dilate(core.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0


def grouped(stats: NDArray[np.int32], shape: tuple[int, ...]) -> list[Box]:
    """Boxes of components; those whose surroundings (an eighth of their size, at least 8 pixels) touch share one."""
    canvas = np.zeros((shape[0] // CELL + 2, shape[1] // CELL + 2), np.uint8)
    boxes = [Box(left, top, left + width, top + height) for left, top, width, height, _ in stats.tolist()]
    for box in boxes:
        reach = max(8, box.size.longer // 8)
        start = max(0, box.left - reach) // CELL, max(0, box.top - reach) // CELL
        cv2.rectangle(canvas, start, ((box.right + reach) // CELL, (box.bottom + reach) // CELL), 1, -1)
    _, numbers = cv2.connectedComponents(canvas)
    groups: dict[int, Box] = {}
    for box in boxes:
        group = int(numbers[box.top // CELL, box.left // CELL])
        groups[group] = groups.get(group, box).union(box)
    return list(groups.values())


def tiled(holes: list[Box], deep: NDArray[np.float32]) -> list[Box]:
    """Long and slender holes cut into tiles that hold a part of them; others as they are."""
    tiles = []
    for hole in holes:
        side = max(MIN_TILE, int(STRIP * float(deep[hole.slices].max())))
        covered = np.count_nonzero(deep[hole.slices]) / hole.size.area
        if hole.size.longer <= 2 * side or covered > 0.3:
            tiles.append(hole)
        else:
            tiles += [tile for tile in hole.tiles(side) if deep[tile.slices].any()]
    return tiles


def joined_in_cells(holes: list[Box]) -> list[Box]:
    """One box for all holes whose centres are in the same cell of the grid."""
    cells: dict[tuple[int, int], Box] = {}
    for hole in holes:
        cell = (hole.top + hole.bottom) // 2 // GRID, (hole.left + hole.right) // 2 // GRID
        cells[cell] = cells[cell].union(hole) if cell in cells else hole
    return list(cells.values())
