"""The overlapping tiles in which a large area is painted at the image's own size, and how they fade into each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from inpainting.core import masks
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size, Window, WindowRule
from inpainting.core.image import Mask
from inpainting.core.sentences import sentence

OVERLAP = 0.25
"""The share of a tile's side that two neighbours have in common at least."""
MAX_TILES = 1024


def plan_tiles(mask: Mask, rule: WindowRule) -> tuple[Box, ...]:
    """Return the tiles, row by row, that cover what a mask marks; those in which nothing is marked are left out.

    A tile has the model's own size, or that of the request. Raises InvalidRequest for more than MAX_TILES.
    """
    image = Box.whole(Size(mask.shape[1], mask.shape[0]))
    area = masks.nonempty_bounds(mask).expanded(rule.min_context).clipped(image)
    side = rule.exact or Size(rule.smallest, rule.smallest)
    columns = spans(area.left, area.right, side.width, image.right)
    rows = spans(area.top, area.bottom, side.height, image.bottom)
    if (count := len(columns) * len(rows)) > MAX_TILES:
        raise InvalidRequest(
            sentence("{count} tiles would be needed; at most {most} are allowed.", count=count, most=MAX_TILES),
            code="field_out_of_range",
            field="tiled",
            limit=MAX_TILES,
            actual=count,
        )
    boxes = (Box(left, top, right, bottom) for top, bottom in rows for left, right in columns)
    return tuple(box for box in boxes if mask[box.slices].any())


def spans(start: int, end: int, side: int, limit: int) -> list[tuple[int, int]]:
    """Return start and end of parts of equal length, which cover start..end and overlap by OVERLAP; within 0..limit."""
    side = min(side, limit)
    overlap = math.ceil(OVERLAP * side)
    count = max(1, math.ceil((end - start - overlap) / max(1, side - overlap)))
    if count == 1:
        starts = [(start + end - side) // 2]
    else:
        starts = np.linspace(start, end - side, count).round().astype(int).tolist()
    return [(first, first + side) for first in (min(max(at, 0), limit - side) for at in starts)]


def tile_window(tile: Box, rule: WindowRule) -> Window:
    """Return the window of a tile: at the image's own size, or larger where the image is too small for the model."""
    width, height = (-(-side // rule.multiple) * rule.multiple for side in (tile.size.width, tile.size.height))
    return Window(tile, Size(width, height))


def rows_of(tiles: Sequence[Box]) -> list[list[Box]]:
    """Return the tiles of each row, as `plan_tiles` orders them."""
    return [list(row) for _, row in groupby(tiles, key=lambda tile: tile.top)]


def fade_in(canvas: NDArray[np.uint8], pixels: NDArray[np.uint8], overlap: int) -> None:
    """Write pixels into a canvas of the same shape: over the first `overlap` rows they fade into what is there.

    A tile fades into the one on its left in a strip of its row, transposed; the strip then fades into the one above. If
    both were done at once, the right edge of the tile on the left would show where the two overlap the row above.
    """
    shares = ((np.arange(overlap, dtype=np.float32) + 0.5) / max(overlap, 1))[:, np.newaxis, np.newaxis]
    faded = shares * pixels[:overlap] + (1 - shares) * canvas[:overlap]
    canvas[overlap:] = pixels[overlap:]
    canvas[:overlap] = np.rint(faded)
