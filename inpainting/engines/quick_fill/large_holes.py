"""Fills a large hole at a lower resolution and then copies its detail at full resolution, in bounded time and memory.

The filling of the downscaled image says where each pixel is copied from, and how blending changed its colour. Both
hold for the block of pixels that it stands for, so the result is as sharp as the rest of the image; only its seams
run along the borders of blocks.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from inpainting.core.geometry import row_strips
from inpainting.engines.quick_fill.bands import Band
from inpainting.engines.quick_fill.filling import Filling, Search, fill
from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Bytes, downscale
from inpainting.engines.quick_fill.progress import Report, subrange
from inpainting.engines.quick_fill.scratches import interpolate_roughly

MAX_HOLE = 2**18
"""Pixels that are filled at full resolution, at most. Chosen by time: a hole of 1.6 megapixels takes half of it at half
the resolution, and looks the same."""
MAX_AREA = 18_000_000
"""Pixels of a hole's surroundings at full resolution, at most: 20 bytes each."""
MAX_AREAS = 60_000_000
"""The limit for all holes together: about 10 seconds."""


def downscaling(hole_pixels: int, areas: list[int]) -> int:
    """Return the factor by which an image has to be downscaled for its holes.

    areas: of the surroundings of each hole.
    """
    excess = max(hole_pixels / MAX_HOLE, max(areas, default=0) / MAX_AREA, sum(areas) / MAX_AREAS)
    return max(1, math.ceil(math.sqrt(excess)))


def fill_downscaled(
    image: Bytes,
    known: Bools,
    hole: Bools,
    factor: int,
    search: Search,
    rng: np.random.Generator,
    report: Report,
    band: Band | None = None,
) -> Bytes:
    """Return what `filling.fill` returns, at 1 / `factor` of the size. Above 1 it writes `image` itself: a copy may be
    60 MB."""
    if factor == 1:
        return fill(image, known, hole, search, rng, report, band).image
    height, width = hole.shape
    down, right = -height % factor, -width % factor
    padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE) if down or right else image
    known, padded_hole = (np.pad(plane, ((0, down), (0, right))) if down or right else plane for plane in (known, hole))
    small, small_known, small_hole = downscale(padded, known, padded_hole, factor)
    if search.painted is not None:
        painted = cv2.copyMakeBorder(search.painted, 0, down, 0, right, cv2.BORDER_REPLICATE)
        painted = cv2.resize(painted, small_hole.shape[::-1], interpolation=cv2.INTER_AREA)
        search = replace(search, painted=painted)
    del padded, known, padded_hole
    if not small_known.any():
        return interpolate_roughly(image, hole, report)
    filling = fill(small, small_known, small_hole, search, rng, subrange(report, 0.0, 0.9), band)
    return fill_with_detail(image, hole, small, filling, factor, subrange(report, 0.9, 1.0))


def refill(painted: Bytes, image: Bytes, unknown: Bools, hole: Bools, seed: tuple[int, ...], report: Report) -> Bytes:
    """Return [h, w, 3]: `hole` [h, w] filled with pixels of `image` [h, w, 3], as `painted` [h, w, 3] shows in coarse.

    unknown: [h, w], what may not be copied, the hole and others.
    """
    factor = downscaling(int(np.count_nonzero(hole)), [hole.size])
    search = Search(painted=np.where(unknown[:, :, None], painted, image))
    rng = np.random.default_rng(seed)
    return fill_downscaled(image.copy(), ~unknown, hole, factor, search, rng, report)


def fill_with_detail(image: Bytes, hole: Bools, small: Bytes, filling: Filling, factor: int, report: Report) -> Bytes:
    """Fill `hole` [h, w] in `image` [h, w, 3] as `filling` fills it in `small`, which is the image / `factor`.

    Pixels without a source are interpolated from the downscaled filling.
    """
    graph, filled = filling.graph, filling.image
    source = graph.source(slice(None), filling.offsets)
    rows, columns = np.divmod(source, graph.shape[1])
    has_source = source >= 0
    change = filled[graph.rows, graph.columns].astype(np.int16)
    change[has_source] -= small[rows[has_source], columns[has_source]]
    node_at = np.full(graph.shape, -1, np.int32)
    node_at[graph.rows, graph.columns] = np.arange(len(graph.rows), dtype=np.int32)
    height, width = hole.shape
    for top, bottom in row_strips(height, width):
        down, right = (part.astype(np.int32) for part in np.nonzero(hole[top:bottom]))
        if not len(down):
            continue
        node = node_at[(down + top) // factor, right // factor]
        copied = has_source[node]
        at, node = (down[copied], right[copied]), node[copied]
        offset = filling.offsets[node] * np.int32(factor)
        colour = image[at[0] + top + offset[:, 0], at[1] + offset[:, 1]] + change[node]
        image[top:bottom][at] = np.clip(colour, 0, 255)
        if not copied.all():
            at = down[~copied], right[~copied]
            image[top:bottom][at] = upscale(filled, top, bottom, factor, width)[at]
        report(bottom / height)
    return image


def upscale(image: Bytes, top: int, bottom: int, factor: int, width: int) -> Bytes:
    """Return rows top to bottom of `image`, bilinearly at `factor` times its size, [bottom - top, width, 3]."""
    first, last = max(top // factor - 1, 0), min(bottom // factor + 2, image.shape[0])
    size = image.shape[1] * factor, (last - first) * factor
    part = cv2.resize(image[first:last], size, interpolation=cv2.INTER_LINEAR)
    return part[top - first * factor : bottom - first * factor, :width]
