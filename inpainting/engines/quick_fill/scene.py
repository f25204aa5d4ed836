"""One level of the picture with its hole: how each pixel of the hole would look under an offset, and its price."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core import masks
from inpainting.core.geometry import Box, Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Indexes = NDArray[np.int64]
Bools = NDArray[np.bool_]

CHANNELS = 5
"""What is compared: L, a, b in 0..255, and the slopes of L across and down."""
UNKNOWN = 260
"""Stands for what is not known: unlike every colour, so no seam runs beside it."""
LIMIT = 120.0
"""Levels: beyond this two pixels are simply different."""
PRICE = np.float32(1 / 30)
"""Brings squared levels to a handy size; the square makes one glaring break dearer than many faint ones."""
IMPOSSIBLE = np.float32(1e5)
"""The price of taking a pixel from where nothing is known."""
REACH = 4
"""Pixels from the hole's edge into it within which the surroundings are compared as patches."""
CONTEXT = np.float32(0.25 / (2 * REACH + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Made once a level by `scene_of`, read by every move.

    planes: [h, w, CHANNELS]; known, hole: [h, w]; rows, columns: [n] of the hole's pixels, called nodes;
    first, second: [edges], nodes that are neighbours.
    """

    planes: NDArray[np.int16]
    known: Bools
    hole: Bools
    rows: Ints
    columns: Ints
    first: Ints
    second: Ints

    @property
    def shape(self) -> tuple[int, int]:
        return self.hole.shape[0], self.hole.shape[1]

    def source(self, nodes: NDArray[np.integer] | slice, offsets: Ints) -> Indexes:
        """[nodes]: flat indexes of where nodes land under `offsets` ([2] or [nodes, 2]); -1 where nothing is known."""
        height, width = self.shape
        rows = self.rows[nodes] + offsets[..., 0]
        columns = self.columns[nodes] + offsets[..., 1]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        flat = np.where(inside, rows.astype(np.int64) * width + columns, 0)
        return np.where(inside & self.known.ravel()[flat], flat, -1)

    def features(self, nodes: NDArray[np.integer] | slice, offsets: Ints) -> NDArray[np.int16]:
        """[nodes, CHANNELS] as the nodes would look under `offsets`."""
        source = self.source(nodes, offsets)
        found = self.planes.reshape(-1, CHANNELS)[source]
        found[source < 0] = UNKNOWN
        return found

    def price(self, nodes: Indexes, offset: Ints) -> Floats:
        """[nodes]: what each pays for `offset`: impossible sources, and surroundings that do not continue."""
        price = np.where(self.source(nodes, offset) < 0, IMPOSSIBLE, np.float32(0))
        if not len(nodes):
            return price
        rows, columns = self.rows[nodes], self.columns[nodes]
        margin = REACH + 1
        top, left = max(0, int(rows.min()) - margin), max(0, int(columns.min()) - margin)
        box = slice(top, int(rows.max()) + margin + 1), slice(left, int(columns.max()) + margin + 1)
        here, known = self.planes[box], self.known[box]
        there = shifted(self.planes, self.known, top + int(offset[0]), left + int(offset[1]), known.shape)
        distance = np.where(known, unlike(here, there), np.float32(0))
        side = 2 * REACH + 1
        around = cv2.boxFilter(distance, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        # the direct neighbours count again: the seam is theirs
        beside = cv2.boxFilter(distance, cv2.CV_32F, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        return price + (CONTEXT * around + beside)[rows - top, columns - left]

    def part(self, nodes: Indexes) -> Scene:
        """The same scene with only some of its nodes (ascending), and the edges between them."""
        number = np.full(len(self.rows), -1, np.int32)
        number[nodes] = np.arange(len(nodes), dtype=np.int32)
        first, second = number[self.first], number[self.second]
        kept = (first >= 0) & (second >= 0)
        return Scene(
            self.planes, self.known, self.hole, self.rows[nodes], self.columns[nodes], first[kept], second[kept]
        )


def scene_of(image: Bytes, known: Bools, hole: Bools, factor: int) -> Scene:
    """The scene of `image` [h, w, 3 RGB] made `factor` times smaller; h and w are multiples of it.

    A small pixel is known where all it stands for is, and of the hole where any of it is.
    """
    if factor > 1:
        size = image.shape[1] // factor, image.shape[0] // factor
        hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        known = (cv2.resize((~known).astype(np.float32), size, interpolation=cv2.INTER_AREA) == 0) & ~hole
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    height, width = hole.shape
    planes = np.empty((height, width, CHANNELS), np.int16)
    planes[:, :, :3] = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    light = np.ascontiguousarray(planes[:, :, 0])
    # a slope across the edge of what is known says nothing
    firm = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    for channel, (across, down) in ((3, (1, 0)), (4, (0, 1))):
        slope = cv2.Scharr(light, cv2.CV_16S, across, down, scale=1 / 20)
        planes[:, :, channel] = np.where(firm, slope, 0)
    rows, columns = (part.astype(np.int32) for part in np.nonzero(hole))
    number = np.full(hole.shape, -1, np.int32)
    number[hole] = np.arange(len(rows))
    right, below = hole[:, :-1] & hole[:, 1:], hole[:-1] & hole[1:]
    first = np.concatenate([number[:, :-1][right], number[:-1][below]])
    second = np.concatenate([number[:, 1:][right], number[1:][below]])
    return Scene(planes, known, hole, rows, columns, first, second)


def unlike(left: NDArray[np.int16], right: NDArray[np.int16]) -> Floats:
    """[...]: how different two arrays of features [..., CHANNELS] look."""
    difference = (left - right).astype(np.float32)
    squared = np.einsum("...j,...j->...", difference, difference)
    return np.minimum(squared, np.float32(LIMIT**2)) * PRICE


def shifted(planes: NDArray[np.int16], known: Bools, top: int, left: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """[*shape, CHANNELS] of `planes` from (top, left) on; UNKNOWN where that is outside or not known."""
    height, width = known.shape
    out = np.full((shape[0], shape[1], CHANNELS), UNKNOWN, np.int16)
    rows = slice(max(0, top), max(0, min(height, top + shape[0])))
    columns = slice(max(0, left), max(0, min(width, left + shape[1])))
    if rows.start < rows.stop and columns.start < columns.stop:
        there = out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.copyto(there, planes[rows, columns], where=known[rows, columns][:, :, None])
    return out


def bounds(plane: Bools, margin: int) -> Box:
    """The smallest box around what is true, and `margin` more on each side. Raises ValueError where nothing is."""
    box = masks.bounds(plane.view(np.uint8))
    if box is None:
        raise ValueError("nothing is true here, so nothing has bounds")
    height, width = plane.shape
    return box.expanded(margin).clipped(Box.whole(Size(width, height)))
