"""One resolution level of the image with its hole, as the grid graph that the labelling is computed on.

Nodes are the hole's pixels, edges their 4-neighbour pairs, labels are offsets: a node with offset o takes its colour
from the known pixel at its own position + o. This file computes the data cost of a label and how different two pixels
look; `labelling` computes the cost of edges from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core import compiled, masks
from inpainting.core.geometry import Box, Size

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Indexes = NDArray[np.int64]
Bools = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

CHANNELS = 5
"""Features of a pixel: L, a, b in 0..255, and the horizontal and vertical gradient of L."""
UNKNOWN = 260
"""The feature value of unknown pixels: far from every colour, so that no seam runs beside them."""
MAX_DISTANCE = 120.0
"""Levels: the feature distance is truncated here, beyond which two pixels are simply different."""
SCALE = np.float32(1 / 30)
"""The scale of squared levels. The distance is squared so that one glaring break costs more than many faint ones."""
METRIC = np.float32(MAX_DISTANCE**2), SCALE
IMPOSSIBLE = np.float32(1e5)
"""The data cost of an offset whose source pixel is unknown."""
REACH = 4
"""Pixels: nodes this close to the hole's edge pay for surroundings that do not match, compared as patches."""
CONTEXT_WEIGHT = np.float32(0.25 / (2 * REACH + 1))


@dataclass(frozen=True, slots=True, eq=False)
class HoleGraph:
    """Made once per level by `build_graph`, never changed."""

    pixels: NDArray[np.int16]  # [h * w + 1, CHANNELS], the features of each pixel, and UNKNOWN
    # `known`, `hole`: [h, w].
    known: Bools
    hole: Bools
    # `rows`, `columns`: [n] of the nodes.
    rows: Ints
    columns: Ints
    # `first`, `second`: [edges], the nodes at both ends.
    first: Ints
    second: Ints

    @property
    def shape(self) -> tuple[int, int]:
        return self.hole.shape[0], self.hole.shape[1]

    @property
    def features(self) -> NDArray[np.int16]:
        """The features of each pixel, [h, w, CHANNELS]."""
        return self.pixels[:-1].reshape(*self.shape, CHANNELS)

    def source(self, nodes: NDArray[np.integer] | slice, offsets: Ints) -> Indexes:
        """Return [nodes]: flat indexes of the source pixels under `offsets` ([2] or [nodes, 2]); -1 for unknown
        ones."""
        height, width = self.shape
        rows = self.rows[nodes] + offsets[..., 0]
        columns = self.columns[nodes] + offsets[..., 1]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        flat = np.where(inside, rows.astype(np.int64) * width + columns, 0)
        return np.where(inside & self.known.ravel()[flat], flat, -1)

    def source_features(self, nodes: NDArray[np.integer] | slice, offsets: Ints) -> NDArray[np.int16]:
        """Return [nodes, CHANNELS]: the features the nodes take over under `offsets`."""
        source = self.source(nodes, offsets)
        found = self.features.reshape(-1, CHANNELS)[source]
        found[source < 0] = UNKNOWN
        return found

    def data_cost(self, nodes: Indexes, offset: Ints) -> Floats:
        """Return [nodes]: IMPOSSIBLE for an unknown source, plus the mismatch of the known pixels around node and
        source."""
        cost = np.where(self.source(nodes, offset) < 0, IMPOSSIBLE, np.float32(0))
        if not len(nodes):
            return cost
        rows, columns = self.rows[nodes], self.columns[nodes]
        margin = REACH + 1
        top, left = max(0, int(rows.min()) - margin), max(0, int(columns.min()) - margin)
        box = slice(top, int(rows.max()) + margin + 1), slice(left, int(columns.max()) + margin + 1)
        distance = self._mismatch(box, int(offset[0]), int(offset[1]))
        side = 2 * REACH + 1
        around = cv2.boxFilter(distance, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        # the direct neighbours count again: the seam between hole and known pixels runs there
        beside = cv2.boxFilter(distance, cv2.CV_32F, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        return cost + (CONTEXT_WEIGHT * around + beside)[rows - top, columns - left]

    def _mismatch(self, box: tuple[slice, slice], down: int, right: int) -> Floats:
        """Return [box]: the distance of each known pixel from the one that lies (down, right) of it; 0 for others."""
        here, known = self.features[box], self.known[box]
        top, left = box[0].start, box[1].start
        if compiled.AVAILABLE:
            from inpainting.engines.quick_fill.kernels import compute_mismatch

            return compute_mismatch(self.pixels, self.known, top, left, known.shape, down, right, METRIC)
        there = shift_features(self.features, self.known, top + down, left + right, known.shape)
        return np.where(known, feature_distance(here, there), np.float32(0))

    def subgraph(self, nodes: Indexes) -> HoleGraph:
        """Return the graph of only these nodes (ascending) and the edges between them."""
        number = np.full(len(self.rows), -1, np.int32)
        number[nodes] = np.arange(len(nodes), dtype=np.int32)
        first, second = number[self.first], number[self.second]
        kept = (first >= 0) & (second >= 0)
        return HoleGraph(
            self.pixels, self.known, self.hole, self.rows[nodes], self.columns[nodes], first[kept], second[kept]
        )


def build_graph(image: Bytes, known: Bools, hole: Bools, factor: int) -> HoleGraph:
    """Return the graph of `image` [h, w, 3 RGB] downscaled by `factor`, of which h and w are multiples."""
    image, known, hole = downscale(image, known, hole, factor)
    height, width = hole.shape
    pixels = np.full((height * width + 1, CHANNELS), UNKNOWN, np.int16)
    features = pixels[:-1].reshape(height, width, CHANNELS)
    features[:, :, :3] = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    lightness = np.ascontiguousarray(features[:, :, 0])
    # a gradient across the edge of the known pixels means nothing
    interior = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    for channel, (across, down) in ((3, (1, 0)), (4, (0, 1))):
        gradient = cv2.Scharr(lightness, cv2.CV_16S, across, down, scale=1 / 20)
        features[:, :, channel] = np.where(interior, gradient, 0)
    rows, columns = (part.astype(np.int32) for part in np.nonzero(hole))
    number = np.full(hole.shape, -1, np.int32)
    number[hole] = np.arange(len(rows))
    right, below = hole[:, :-1] & hole[:, 1:], hole[:-1] & hole[1:]
    first = np.concatenate([number[:, :-1][right], number[:-1][below]])
    second = np.concatenate([number[:, 1:][right], number[1:][below]])
    return HoleGraph(pixels, known, hole, rows, columns, first, second)


def downscale(image: NDArray[Scalar], known: Bools, hole: Bools, factor: int) -> tuple[NDArray[Scalar], Bools, Bools]:
    """Return all three at 1 / `factor` of their size, of which their sides are multiples.

    A downscaled pixel is known where all its pixels are, and in the hole where any of them is.
    """
    if factor == 1:
        return image, known, hole
    size = image.shape[1] // factor, image.shape[0] // factor
    small_hole = any_in_blocks(hole, factor)
    small_known = ~(any_in_blocks(~known, factor) | small_hole)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), small_known, small_hole


def any_in_blocks(plane: Bools, side: int) -> Bools:
    """Return [h / side, w / side]: whether any pixel of each block is true."""
    dilated = cv2.dilate(plane.view(np.uint8), np.ones((side, side), np.uint8), anchor=(0, 0))
    return dilated[::side, ::side] > 0


def feature_distance(left: NDArray[np.int16], right: NDArray[np.int16]) -> Floats:
    """Return [...]: the truncated squared distance of two arrays of features [..., CHANNELS]."""
    difference = (left - right).astype(np.float32)
    squared = np.einsum("...j,...j->...", difference, difference)
    return np.minimum(squared, np.float32(MAX_DISTANCE**2)) * SCALE


def shift_features(
    features: NDArray[np.int16], known: Bools, top: int, left: int, shape: tuple[int, ...]
) -> NDArray[np.int16]:
    """Return [*shape, CHANNELS] of `features` from (top, left) on; UNKNOWN where that is outside or unknown."""
    height, width = known.shape
    out = np.full((shape[0], shape[1], CHANNELS), UNKNOWN, np.int16)
    rows = slice(max(0, top), max(0, min(height, top + shape[0])))
    columns = slice(max(0, left), max(0, min(width, left + shape[1])))
    if rows.start < rows.stop and columns.start < columns.stop:
        there = out[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.copyto(there, features[rows, columns], where=known[rows, columns][:, :, None])
    return out


def bounds(plane: Bools, margin: int) -> Box:
    """Return the smallest box around the true pixels, expanded by `margin`. Raises ValueError where none is true."""
    box = masks.bounds(plane.view(np.uint8))
    if box is None:
        raise ValueError("no pixel is true, so there are no bounds")
    height, width = plane.shape
    return box.expanded(margin).clipped(Box.whole(Size(width, height)))
