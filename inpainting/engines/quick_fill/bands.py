"""Continues a picture beyond its edges: fills the bands of a mask that reach from corner to corner, as in outpainting.

A band has known pixels on one side only. What is copied into it should be what surrounds the scene, not the scene: a
second face or cup looks copied at once, a second stretch of grass does not. So a pixel costs more the more unique its
surroundings are in the picture, and the deeper it lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inpainting.core.geometry import Box, Size
from inpainting.engines.quick_fill.hole_graph import Bytes, Floats, HoleGraph, Ints
from inpainting.engines.quick_fill.progress import Report

STRIP = 1.5
"""Breadths of the band: sources lie at most this deep in the picture, or MIN_STRIP pixels if that is more."""
MIN_STRIP = 64
UNIQUE_COST = np.float32(0.25)
"""Data cost of a source for each squared level of its uniqueness. This and the next were chosen by eye on the photos in
docs/outpainting.md: with half of it benches and faces are repeated, with twice of it grass becomes a fine pattern."""
DEPTH_COST = 8.0
"""Data cost of a source one breadth of the band away from the picture's edge."""
UP_COST, ALONG_COST = 60.0, 20.0
"""Data cost of a source one breadth of the band further up or down, for bands at the left and right, and further to the
side, for those at the top and bottom: pictures change more with height than sideways."""
STEPS = (0.5, 0.75, 1.0, 1.25)
SIDESTEPS = (0.0, 0.3, -0.3, 0.7, -0.7)
"""Breadths of the band: offsets that are always tried, inward; for bands at the top and bottom also along the edge."""
UNIQUENESS_SIDE = 80
"""Pixels of the longer side at which uniqueness is measured, in patches of PATCH pixels a side."""
PATCH = 5
OWN = 8
"""A patch is compared with those further away than this part of the longer side."""


@dataclass(frozen=True, slots=True)
class PlacedBand:
    """A band in the image. axis: 0 at the top or bottom, 1 at the left or right. inward: 1 or -1, from the band to the
    picture along this axis. canvas: the band, its sources and what lies behind them. known: the pixels to copy from.
    """

    axis: int
    inward: int
    breadth: int
    canvas: Box
    known: Box

    @property
    def box(self) -> Box:
        return self._from_edge(self.breadth)

    @property
    def around(self) -> Box:
        """The band and the strip of known pixels beside it."""
        side = (self.known.size.height, self.known.size.width)[self.axis]
        return self._from_edge(self.breadth + min(side, max(MIN_STRIP, int(STRIP * self.breadth))))

    def _from_edge(self, pixels: int) -> Box:
        """The part of the canvas up to that far from the edge at which the band lies."""
        edges = [self.canvas.left, self.canvas.top, self.canvas.right, self.canvas.bottom]
        if self.inward > 0:
            edges[3 - self.axis] = edges[1 - self.axis] + pixels
        else:
            edges[1 - self.axis] = edges[3 - self.axis] - pixels
        return Box(*edges)

    def band(self, levels: Floats) -> Band:
        """levels: the uniqueness of `known`, at any scale."""
        height, width = levels.shape
        scale = (height / self.known.size.height, width / self.known.size.width)[self.axis]
        strip = max(1, round(scale * ((self.around.size.height, self.around.size.width)[self.axis] - self.breadth)))
        own = max(1, round(scale * self.breadth))
        ends = [(0, 0), (0, 0)]
        ends[self.axis] = (own, 0) if self.inward > 0 else (0, own)
        near = slice(0, strip) if self.inward > 0 else slice(-strip, None)
        return Band(self.axis, self.inward, np.pad(levels[near] if self.axis == 0 else levels[:, near], ends))


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """axis, inward: see `PlacedBand`. uniqueness: of the band, 0 there, and its surroundings, [h, w] at any scale."""

    axis: int
    inward: int
    uniqueness: Floats

    def offsets(self, graph: HoleGraph) -> Ints:
        """[k, 2]: offsets to try besides those by which the picture repeats itself."""
        breadth = self._breadth(graph)
        steps = [(step, along) for step in STEPS for along in (SIDESTEPS if self.axis == 0 else (0.0,))]
        across, along = (np.rint(np.array(part) * breadth).astype(np.int32) for part in zip(*steps, strict=True))
        columns = (self.inward * across, along) if self.axis == 0 else (along, self.inward * across)
        return np.column_stack(columns)

    def costs(self, graph: HoleGraph, offsets: Ints) -> Floats:
        """[k, nodes]: the cost of copying from that far and from what is that unique."""
        breadth = self._breadth(graph)
        height, width = graph.shape
        unique = UNIQUE_COST * cv2.resize(self.uniqueness, (width, height), interpolation=cv2.INTER_LINEAR) ** 2
        at = (graph.rows, graph.columns)[self.axis]
        edge = int(at.max()) if self.inward > 0 else int(at.min())
        along_cost = ALONG_COST if self.axis == 0 else UP_COST
        costs = np.empty((len(offsets), len(at)), np.float32)
        for cost, offset in zip(costs, offsets, strict=True):
            source = np.maximum(graph.source(slice(None), offset), 0)
            depth = self.inward * (at + offset[self.axis] - edge)
            cost[:] = unique.ravel()[source]
            cost += (DEPTH_COST / breadth) * depth + along_cost / breadth * abs(int(offset[1 - self.axis]))
        return costs

    def _breadth(self, graph: HoleGraph) -> float:
        return float(np.ptp((graph.rows, graph.columns)[self.axis]) + 1)


def kept_box(known: Box, image: Size, min_breadth: float) -> Box:
    """The box around the known pixels, enlarged to each edge of the image that is no further than `min_breadth`."""
    return Box(
        known.left if known.left > min_breadth else 0,
        known.top if known.top > min_breadth else 0,
        known.right if image.width - known.right > min_breadth else image.width,
        known.bottom if image.height - known.bottom > min_breadth else image.height,
    )


def bands_around(kept: Box, image: Size) -> list[PlacedBand]:
    """In the order to fill them in: left and right, then top and bottom over the whole width."""
    width, height = image.width, image.height
    across = Box(0, kept.top, width, kept.bottom)
    sides = (
        (kept.left, 1, 1, across, kept),
        (width - kept.right, 1, -1, across, kept),
        (kept.top, 0, 1, Box.whole(image), across),
        (height - kept.bottom, 0, -1, Box.whole(image), across),
    )
    return [PlacedBand(axis, inward, breadth, *boxes) for breadth, axis, inward, *boxes in sides if breadth]


def uniqueness(picture: Bytes, report: Report) -> Floats:
    """[h, w], scaled down: how much the surroundings of a pixel differ, in levels, from the most similar others."""
    height, width = picture.shape[:2]
    scale = min(1.0, UNIQUENESS_SIDE / max(height, width))
    size = max(PATCH, round(width * scale)), max(PATCH, round(height * scale))
    lab = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2Lab).astype(np.float32)
    rows, columns = lab.shape[0] - PATCH + 1, lab.shape[1] - PATCH + 1
    windows = np.lib.stride_tricks.sliding_window_view(lab, (PATCH, PATCH), axis=(0, 1))
    # whole numbers, whose products are summed exactly in float32, on any number of threads
    patches = np.ascontiguousarray(windows).reshape(rows * columns, -1)
    squares = np.einsum("ij,ij->i", patches, patches)
    row, column = np.divmod(np.arange(rows * columns), columns)
    own = max(lab.shape) / OWN
    nearest = np.empty(rows * columns, np.float32)
    for start in range(0, rows * columns, columns):
        part = slice(start, start + columns)
        distance = squares[part, None] + squares - 2 * patches[part] @ patches.T
        distance[(abs(row[part, None] - row) < own) & (abs(column[part, None] - column) < own)] = np.inf
        nearest[part] = distance.min(axis=1)
        report(start / (rows * columns))
    nearest[np.isinf(nearest)] = 0  # a picture so small that every patch is close to every other
    levels = np.sqrt(np.maximum(nearest, 0) / patches.shape[1]).reshape(rows, columns)
    margin = PATCH // 2
    levels = cv2.copyMakeBorder(levels, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    # the parts of an object between its most unique places belong to it
    return cv2.GaussianBlur(cv2.dilate(levels, np.ones((PATCH, PATCH), np.uint8)), (0, 0), 2)
