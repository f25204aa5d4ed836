"""Splits a mask into thin damage, which is interpolated, and holes, which are filled one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.geometry import Box, Size, row_strips
from inpainting.core.masks import bounds
from inpainting.engines.quick_fill.labelling.hole_graph import any_in_blocks

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
image is filled piece by piece from nearby pixels."""
CELL = 4
"""Pixels a side: the accuracy with which holes are found to be near each other."""
BLOCK = 16
"""Pixels a side: the accuracy with which the regions are found that are examined one by one."""
MAX_PASSES = 16
"""Passes in which overlapping boxes are joined. A chain of specks may need one for each; then all are one region."""
MAX_REGIONS = 50
"""With more of them the mask is examined as one."""
MAX_HOLES = 500
GRID = 2048
"""With more than MAX_HOLES holes, those in the same cell of a grid of GRID pixels are filled as one."""


def split_mask(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[Box]]:
    """Return (thin damage [h, w], boxes of the holes): together they cover the mask. A box holds one or several
    nearby."""
    thin = np.zeros_like(mask)
    parts = [Part.of(mask, region) for region in regions(mask)]
    thick = [part.deepest > np.where(part.from_scratches, CROSSING_RADIUS, THIN_RADIUS) for part in parts]
    found = thick_boxes(parts, thick, mask)
    if len(found) > MANY:
        thick = [chosen & (part.deepest > MANY_RADIUS) for part, chosen in zip(parts, thick, strict=True)]
        found = thick_boxes(parts, thick, mask)
    if len(found) > MAX_HOLES:
        found = join_in_cells(found)
    for part, chosen in zip(parts, thick, strict=True):
        here = mask[part.region.slices]
        thin[part.region.slices] = here & ~chosen[part.numbers] if chosen.any() else here
    return thin, found


def regions(mask: NDArray[np.bool_]) -> list[Box]:
    """Return disjoint boxes that cover the mask. No two of them hold parts of holes that are near each other.

    Only around the masked pixels: a `Part` takes ten bytes a pixel while it is made.
    """
    whole = Box.whole(Size(mask.shape[1], mask.shape[0]))
    blocks = any_in_blocks(mask, BLOCK).view(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(blocks, connectivity=8)
    found = [
        Box(BLOCK * left, BLOCK * top, BLOCK * (left + width), BLOCK * (top + height)).clipped(whole)
        for left, top, width, height, _ in stats[1:].tolist()
    ]
    found = group_boxes(found, mask.shape)
    for _ in range(MAX_PASSES):
        joined = group_boxes(found, mask.shape, reach=0)
        is_stable = len(joined) == len(found)
        if is_stable:
            break
        found = joined  # boxes around several may overlap
    if len(found) > MAX_REGIONS or not is_stable:
        found = [reduce(Box.union, found)]
    return [box.expanded(CELL).clipped(whole) for box in found]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The components of the mask in one region of the image."""

    region: Box
    numbers: NDArray[np.int32]  # [h, w], the component that each pixel belongs to
    boxes: list[Box]  # of the components, in the image
    deepest: NDArray[np.float32]  # [n], their greatest depths; 0 for what is certainly thin
    from_scratches: NDArray[np.bool_]  # [n], whether a component is the crossing of scratches

    @classmethod
    def of(cls, mask: NDArray[np.bool_], region: Box) -> Part:
        """Take the part in `region`, at whose edges the pixels are 0 in `mask`, or lie at the image's border.

        A component that is mostly deep is a hole, including its thin ends. Of one that is mostly thin, such as crossing
        scratches, only the parts too deep for a crossing are holes.
        """
        mask = np.ascontiguousarray(mask[region.slices])
        deep = edge_distance(mask)
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
        body = grown(deep > THIN_RADIUS) & mask
        bodies = np.zeros(len(stats), np.int64)
        for part in row_slices(mask):
            bodies += np.bincount(numbers[part].ravel()[np.flatnonzero(body[part])], minlength=len(stats))
        solid = bodies > stats[:, cv2.CC_STAT_AREA] / 2
        loose = mask & ~solid[numbers] if solid.any() else mask
        holes = mask & ~loose | body & loose
        del numbers
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(holes.view(np.uint8), connectivity=8)
        deepest = np.zeros(len(stats), np.float32)
        from_scratches = np.zeros(len(stats), bool)
        for part in row_slices(mask):
            component = numbers[part].ravel()
            pixels = np.flatnonzero(holes[part])
            np.maximum.at(deepest, component[pixels], deep[part].ravel()[pixels])
            from_scratches[component[np.flatnonzero(body[part] & loose[part])]] = True
        boxes = [
            Box(left, top, left + width, top + height).moved(region.left, region.top)
            for left, top, width, height, _ in stats.tolist()
        ]
        return cls(region, numbers, boxes, deepest, from_scratches)


def thick_boxes(parts: list[Part], thick: list[NDArray[np.bool_]], mask: NDArray[np.bool_]) -> list[Box]:
    """Return the holes to fill: the components that are `thick` [n] in each of `parts`, some joined or cut into
    tiles."""
    depths = {
        part.boxes[number]: float(part.deepest[number])
        for part, chosen in zip(parts, thick, strict=True)
        for number in np.flatnonzero(chosen)
    }
    return tile_holes(group_boxes(list(depths), mask.shape), depths, mask)


def row_slices(plane: NDArray[np.bool_]) -> list[slice]:
    """Return strips of rows, so that the indexes of a large mask's pixels are not held all at once."""
    return [slice(top, bottom) for top, bottom in row_strips(*plane.shape)]


def edge_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return distance in pixels to the nearest pixel outside the mask; the image's border is no edge."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]


def grown(core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels that belong to a deep core: dilated back by the depth that the threshold removed."""
    side = 2 * int(np.ceil(THIN_RADIUS)) + 3
    return cv2.dilate(core.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0


def group_boxes(boxes: list[Box], shape: tuple[int, ...], reach: float = 1 / 8) -> list[Box]:
    """Join boxes: those whose surroundings (`reach` times their size, at least 8 pixels) touch share one box."""
    canvas = np.zeros((shape[0] // CELL + 2, shape[1] // CELL + 2), np.uint8)
    for box in boxes:
        margin = max(8, int(box.size.longer * reach))
        start = max(0, box.left - margin) // CELL, max(0, box.top - margin) // CELL
        cv2.rectangle(canvas, start, ((box.right + margin) // CELL, (box.bottom + margin) // CELL), 1, -1)
    _, numbers = cv2.connectedComponents(canvas)
    groups: dict[int, Box] = {}
    for box in boxes:
        group = int(numbers[box.top // CELL, box.left // CELL])
        groups[group] = groups.get(group, box).union(box)
    return list(groups.values())


def tile_holes(holes: list[Box], depths: dict[Box, float], mask: NDArray[np.bool_]) -> list[Box]:
    """Return long and slender holes cut into tiles, each as small as its part of the hole; others as they are.

    depths: of the components.
    """
    tiles = []
    for hole in holes:
        if hole.size.longer <= 2 * MIN_TILE or np.count_nonzero(mask[hole.slices]) / hole.size.area > 0.3:
            tiles.append(hole)
            continue
        side = max(MIN_TILE, int(STRIP * max(depth for box, depth in depths.items() if hole.contains(box))))
        if hole.size.longer <= 2 * side:
            tiles.append(hole)
            continue
        for tile in even_tiles(hole, side):
            part = bounds(np.ascontiguousarray(mask[tile.slices]).view(np.uint8))
            if part is not None:
                tiles.append(part.moved(tile.left, tile.top))
    return tiles


def even_tiles(box: Box, side: int) -> list[Box]:
    """Return tiles of about `side` pixels a side, row by row, none of them a sliver."""
    columns, rows = (max(1, round(length / side)) for length in (box.size.width, box.size.height))
    lefts = [box.left + box.size.width * column // columns for column in range(columns + 1)]
    tops = [box.top + box.size.height * row // rows for row in range(rows + 1)]
    return [Box(left, top, right, bottom) for top, bottom in pairwise(tops) for left, right in pairwise(lefts)]


def join_in_cells(holes: list[Box]) -> list[Box]:
    """Return one box for all holes whose centres are in the same cell of the grid."""
    cells: dict[tuple[int, int], Box] = {}
    for hole in holes:
        cell = (hole.top + hole.bottom) // 2 // GRID, (hole.left + hole.right) // 2 // GRID
        cells[cell] = cells[cell].union(hole) if cell in cells else hole
    return list(cells.values())
