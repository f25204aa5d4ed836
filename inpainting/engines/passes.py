"""The passes in which a border is painted that is wider than the model sees well.

In one pass such a border would be painted at a lower resolution. So it is cut into tiles, painted from the source image
outward, each in a window that shows the tiles before it.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from inpainting.core import masks
from inpainting.core.geometry import Box, Window, WindowRule
from inpainting.core.image import Mask

MIN_SCALE = 0.75
"""A window that would have to be scaled down further than this is painted in passes."""
MAX_PASSES = 16
"""Larger borders get larger tiles, whose windows are scaled down."""


def plan_passes(mask: Mask, window: Window, rule: WindowRule) -> tuple[Box, ...]:
    """Return the parts of the mask to paint in turn: what lies within the source image, then tiles; () for a single
    pass.

    A tile has half the model's longest side, so that its window shows as much of the image around it. A work size of
    the request is painted in one pass.
    """
    kept = masks.bounds((mask == 0).view(np.uint8))
    if kept is None or rule.largest is None or rule.exact is not None or min(window.scale) >= MIN_SCALE:
        return ()
    side = rule.largest // 2
    while len(tiles := tiles_around(kept, window.box, side)) > MAX_PASSES:
        side = math.ceil(side * 1.2)
    return (kept, *tiles) if mask[kept.slices].any() else tuple(tiles)


def tiles_around(kept: Box, canvas: Box, side: int) -> list[Box]:
    """Return boxes of at most `side` pixels a side that cover the canvas around `kept`, the nearest first, corners
    last."""
    columns = cut_points((canvas.left, kept.left, kept.right, canvas.right), side)
    rows = cut_points((canvas.top, kept.top, kept.bottom, canvas.bottom), side)
    boxes = [Box(left, top, right, bottom) for top, bottom in rows for left, right in columns]
    return sorted((box for box in boxes if not kept.contains(box)), key=lambda box: gap(box, kept))


def cut_points(edges: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Start and end of equal parts of at most `side` pixels between each edge and the next."""
    found = []
    for start, end in pairwise(edges):
        inner = np.linspace(start, end, math.ceil((end - start) / side) + 1).round().astype(int).tolist()
        found += [*pairwise(inner)]
    return found


def gap(box: Box, kept: Box) -> int:
    """Return the pixels between two boxes, across and down; 1 more for each direction in which they do not overlap."""
    across = max(kept.left - box.right, box.left - kept.right, -1) + 1
    return across + max(kept.top - box.bottom, box.top - kept.bottom, -1) + 1
