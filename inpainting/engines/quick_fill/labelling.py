"""Which offset each pixel of the hole takes: one labelling by alpha-expansion, so that seams fall where none shows.

The energy is shift-map's (Y. Pritch, E. Kav-Venaki, S. Peleg, "Shift-Map Image Editing", ICCV 2009): where two
neighbours take different offsets, both must look alike under both. Each expansion move is one minimum cut
(Y. Boykov, O. Veksler, R. Zabih, "Fast Approximate Energy Minimization via Graph Cuts", PAMI 2001).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import maxflow
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

UNKNOWN = np.float32(260)
"""The feature value of what is not known: unlike every colour, so no seam runs beside it."""
IMPOSSIBLE = np.float32(1e5)
"""The price of taking a pixel from where nothing is known."""
REACH = 4
"""Pixels from the hole's edge into it within which the surroundings are compared as patches."""


class Scene:
    """One level of the picture with its hole, as features to compare: made once, read by every move."""

    def __init__(self, lab: Floats, known: Bools, hole: Bools) -> None:
        self.shape = known.shape
        height, width = self.shape
        grey = lab[:, :, 0]
        across = cv2.Scharr(grey, cv2.CV_32F, 1, 0, scale=1 / 20)
        down = cv2.Scharr(grey, cv2.CV_32F, 0, 1, scale=1 / 20)
        planes = np.dstack([lab, across, down])
        edge = known & ~(cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0)
        planes[edge, 3:] = 0
        planes[~known] = UNKNOWN
        self.features: Floats = np.vstack([planes.reshape(-1, 5), np.full((1, 5), UNKNOWN, np.float32)])
        self.planes = planes
        self.known = known
        self.known_flat = np.append(known.ravel(), False)
        self.hole = hole
        self.rows, self.columns = (part.astype(np.int32) for part in np.nonzero(hole))
        self.number = np.full(self.shape, -1, np.int32)
        self.number[hole] = np.arange(len(self.rows))
        right = hole[:, :-1] & hole[:, 1:]
        below = hole[:-1] & hole[1:]
        self.first = np.concatenate([self.number[:, :-1][right], self.number[:-1][below]])
        self.second = np.concatenate([self.number[:, 1:][right], self.number[1:][below]])
        self.weight = edge_weights(known, hole)
        self.lab = lab
        self._width = width
        self._height = height

    def source(self, nodes: NDArray[np.integer] | slice, offsets: Ints) -> NDArray[np.int64]:
        """Flat indexes of where `nodes` land under `offsets` ([2] or [n, 2]); the sentinel where outside."""
        rows = self.rows[nodes] + offsets[..., 0]
        columns = self.columns[nodes] + offsets[..., 1]
        inside = (rows >= 0) & (rows < self._height) & (columns >= 0) & (columns < self._width)
        return np.where(inside, rows.astype(np.int64) * self._width + columns, self._width * self._height)

    def unary(self, offset: Ints, box: tuple[slice, slice]) -> Floats:
        """[n]: what each hole pixel pays for `offset`: impossible sources, and surroundings that do not continue."""
        price = np.where(self.known_flat[self.source(slice(None), offset)], np.float32(0), IMPOSSIBLE)
        return price + self.disagreement(offset, box)

    def disagreement(self, offset: Ints, box: tuple[slice, slice]) -> Floats:
        (top, bottom), (left, right) = ((part.start, part.stop) for part in box)
        here = self.planes[box]
        there = shifted(self.planes, top + offset[0], left + offset[1], here.shape[:2])
        difference = here - there
        known = self.known[box]
        distance = np.where(known, length(difference), 0).astype(np.float32)
        size = 2 * REACH + 1
        total = cv2.boxFilter(distance, cv2.CV_32F, (size, size), normalize=False, borderType=cv2.BORDER_CONSTANT)
        # the direct neighbours count again: they are the seam
        cross = cv2.boxFilter(distance, cv2.CV_32F, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        price = total * (CONTEXT / size) + cross * SEAM
        return price[self.rows - top, self.columns - left]


LIMIT = np.float32(120)
CONTEXT = np.float32(0.25)
SEAM = np.float32(1.0)


def edge_weights(known: Bools, hole: Bools) -> Floats:
    return np.ones(1, np.float32)


def shifted(planes: Floats, top: int, left: int, shape: tuple[int, int]) -> Floats:
    """[*shape, c] of `planes` from (top, left) on; UNKNOWN where that is outside."""
    height, width = planes.shape[:2]
    out = np.full((*shape, planes.shape[2]), UNKNOWN, np.float32)
    first_row, last_row = max(0, top), min(height, top + shape[0])
    first_column, last_column = max(0, left), min(width, left + shape[1])
    if first_row < last_row and first_column < last_column:
        out[first_row - top : last_row - top, first_column - left : last_column - left] = planes[
            first_row:last_row, first_column:last_column
        ]
    return out


def length(difference: Floats) -> Floats:
    return cost(np.einsum("...j,...j->...", difference, difference))


def cost(squared: Floats) -> Floats:
    return np.minimum(squared, LIMIT**2) * POWER_SCALE if SQUARED else np.sqrt(squared)


SQUARED = True
POWER_SCALE = np.float32(1 / 30)


class Labelling:
    """A labelling on its way to a lower energy. `labels` is [n], an index into `offsets` for each hole pixel."""

    def __init__(self, scene: Scene, offsets: Ints, unary: Callable[[int], Floats], labels: Ints) -> None:
        self.scene = scene
        self.offsets = offsets
        self.unary = unary
        self.labels = labels.copy()
        self.price = np.zeros(len(labels), np.float32)
        for label in np.unique(labels):
            at = self.labels == label
            self.price[at] = unary(int(label))[at]
        first, second = scene.first, scene.second
        every = slice(None)
        self.current = scene.features[scene.source(every, offsets[self.labels])]
        self.first_as_second = scene.features[scene.source(first, offsets[self.labels[second]])]
        self.second_as_first = scene.features[scene.source(second, offsets[self.labels[first]])]
        self.seam = self._seam(every)

    def _seam(self, edges: NDArray[np.integer] | slice) -> Floats:
        first, second = self.scene.first[edges], self.scene.second[edges]
        return length(self.current[first] - self.first_as_second[edges]) + length(
            self.current[second] - self.second_as_first[edges]
        )

    def energy(self) -> float:
        return float(self.price.sum(dtype=np.float64) + self.seam.sum(dtype=np.float64))

    def expand(self, label: int, among: Bools | None = None) -> int:
        """Let pixels (of `among`, or all) change to `label` where that lowers the energy; returns how many did."""
        scene = self.scene
        price = self.unary(label)
        free = (self.labels != label) & (price < IMPOSSIBLE)
        if among is not None:
            free &= among
        nodes = np.flatnonzero(free)
        if not len(nodes):
            return 0
        number = np.full(len(self.labels), -1, np.int32)
        number[nodes] = np.arange(len(nodes), dtype=np.int32)
        edges = np.flatnonzero(free[scene.first] | free[scene.second])
        first, second = scene.first[edges], scene.second[edges]
        touched = np.zeros(len(self.labels), bool)
        touched[first] = touched[second] = True
        touched[nodes] = True
        taken = np.zeros_like(self.current)
        at = np.flatnonzero(touched)
        taken[at] = scene.features[scene.source(at, self.offsets[label])]
        stay = self.seam[edges]
        # V(first keeps, second takes) and V(first takes, second keeps)
        second_takes = length(self.current[first] - taken[first]) + length(self.second_as_first[edges] - taken[second])
        first_takes = length(taken[first] - self.first_as_second[edges]) + length(taken[second] - self.current[second])
        change = (price[nodes] - self.price[nodes]).astype(np.float64)
        first_free, second_free = free[first], free[second]
        only_first, only_second = first_free & ~second_free, second_free & ~first_free
        ones = [number[first[only_first]], number[second[only_second]]]
        extras = [first_takes[only_first] - stay[only_first], second_takes[only_second] - stay[only_second]]
        both = first_free & second_free
        stay, second_takes, first_takes = stay[both], second_takes[both], first_takes[both]
        stay = np.minimum(stay, first_takes + second_takes)
        one, two = number[first[both]], number[second[both]]
        change += np.bincount(
            np.concatenate([*ones, one, two]), np.concatenate([*extras, first_takes - stay, -first_takes]), len(nodes)
        )
        graph = maxflow.GraphFloat(len(nodes), len(one))
        graph.add_nodes(len(nodes))
        graph.add_edges(one, two, (first_takes + second_takes - stay).astype(np.float64), np.zeros(len(one)))
        every = np.arange(len(nodes))
        graph.add_grid_tedges(every, np.maximum(change, 0), np.maximum(-change, 0))
        graph.maxflow()
        moved = nodes[graph.get_grid_segments(every)]
        if len(moved):
            self._take(moved, label, price, taken)
        return len(moved)

    def _take(self, moved: NDArray[np.int64], label: int, price: Floats, taken: Floats) -> None:
        scene = self.scene
        self.labels[moved] = label
        self.price[moved] = price[moved]
        self.current[moved] = taken[moved]
        changed = np.zeros(len(self.labels), bool)
        changed[moved] = True
        edges = np.flatnonzero(changed[scene.first] | changed[scene.second])
        first, second = scene.first[edges], scene.second[edges]
        self.first_as_second[edges] = scene.features[scene.source(first, self.offsets[self.labels[second]])]
        self.second_as_first[edges] = scene.features[scene.source(second, self.offsets[self.labels[first]])]
        self.seam[edges] = self._seam(edges)
