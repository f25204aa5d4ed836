"""What an expansion move changes at the edges of the graph, as the parts of its minimum cut."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from inpainting.core import compiled
from inpainting.engines.quick_fill.hole_graph import (
    CHANNELS,
    METRIC,
    Bools,
    Floats,
    HoleGraph,
    Indexes,
    Ints,
    feature_distance,
)


class Cut(NamedTuple):
    """The binary energy of a move but for the data cost, whose minimum is a cut.

    V. Kolmogorov, R. Zabih, "What Energy Functions Can Be Minimized via Graph Cuts?", PAMI 2004: a pair's four costs as
    one edge and two terminals. Where they are not submodular, the cost of no change is lowered.
    """

    first: Ints  # [edges], as are second and capacity; numbers of free nodes
    second: Ints
    capacity: NDArray[np.float64]
    terminal: NDArray[np.float64]  # [free nodes], what moving adds


class EdgeCosts(Protocol):
    def cut(self, labels: Ints, label: int, free: Bools) -> Cut:
        """Return the cut of the move of the free nodes [n] from `labels` [n] to `label`."""

    def update(self, labels: Ints, moved: Indexes) -> None:
        """Note that the nodes `moved` have changed their labels."""


def edge_costs(graph: HoleGraph, offsets: Ints, labels: Ints) -> EdgeCosts:
    """Return the compiled costs where numba is installed; both return the same."""
    if compiled.AVAILABLE:
        return CompiledEdges(graph, offsets)
    return NumpyEdges(graph, offsets, labels)


class CompiledEdges:
    def __init__(self, graph: HoleGraph, offsets: Ints) -> None:
        self.graph, self.offsets = graph, np.ascontiguousarray(offsets)

    def cut(self, labels: Ints, label: int, free: Bools) -> Cut:
        from inpainting.engines.quick_fill.kernels import build_cut

        graph = self.graph
        nodes = graph.rows, graph.columns, graph.first, graph.second
        return Cut(*build_cut(graph.pixels, graph.known, *nodes, self.offsets, labels, label, free, METRIC))

    def update(self, labels: Ints, moved: Indexes) -> None:
        pass  # nothing is kept between moves


class NumpyEdges:
    """Keeps the features of all pixels and edges between moves, as NumPy takes longer to find than to compare them."""

    def __init__(self, graph: HoleGraph, offsets: Ints, labels: Ints) -> None:
        self.graph, self.offsets = graph, offsets
        self._current = graph.source_features(slice(None), offsets[labels])
        self._first_as_second = np.empty((len(graph.first), CHANNELS), np.int16)
        self._second_as_first = np.empty_like(self._first_as_second)
        self._edge_cost = np.empty(len(graph.first), np.float32)
        self._update_edges(labels, np.arange(len(graph.first)))

    def cut(self, labels: Ints, label: int, free: Bools) -> Cut:
        graph = self.graph
        edges = np.flatnonzero(free[graph.first] | free[graph.second])
        first, second = graph.first[edges], graph.second[edges]
        touched = free.copy()
        touched[first] = touched[second] = True
        ends = np.flatnonzero(touched)
        expanded = np.empty_like(self._current)
        expanded[ends] = graph.source_features(ends, self.offsets[label])
        change = np.zeros(len(free), np.float32)
        change[ends] = feature_distance(self._current[ends], expanded[ends])
        # within a region both ends have the same offset, so each differs from its new source in the same way
        as_first, as_second = change[first], change[second]
        seam = np.flatnonzero(labels[first] != labels[second])
        at = edges[seam]
        as_first[seam] = feature_distance(expanded[first[seam]], self._first_as_second[at])
        as_second[seam] = feature_distance(self._second_as_first[at], expanded[second[seam]])
        only_first, only_second = as_first + change[second], change[first] + as_second
        return build_cut(free, first, second, self._edge_cost[edges], only_first, only_second)

    def update(self, labels: Ints, moved: Indexes) -> None:
        self._current[moved] = self.graph.source_features(moved, self.offsets[labels[moved]])
        changed = np.zeros(len(labels), bool)
        changed[moved] = True
        self._update_edges(labels, np.flatnonzero(changed[self.graph.first] | changed[self.graph.second]))

    def _update_edges(self, labels: Ints, edges: Indexes) -> None:
        """Recompute the cost of `edges`: how much each end differs between its own offset and that of the other end."""
        first, second = self.graph.first[edges], self.graph.second[edges]
        self._first_as_second[edges] = self.graph.source_features(first, self.offsets[labels[second]])
        self._second_as_first[edges] = self.graph.source_features(second, self.offsets[labels[first]])
        self._edge_cost[edges] = feature_distance(
            self._current[first], self._first_as_second[edges]
        ) + feature_distance(self._current[second], self._second_as_first[edges])


def build_cut(free: Bools, first: Ints, second: Ints, neither: Floats, only_first: Floats, only_second: Floats) -> Cut:
    """Return the cut of edges with a free end.

    first, second: the ends of each edge, [edges];
    neither, only_first, only_second: the cost of each edge if these ends move. If both do, it is 0.
    """
    index = np.cumsum(free, dtype=np.int32) - np.int32(1)
    first_free, second_free = free[first] & ~free[second], free[second] & ~free[first]
    both_free = free[first] & free[second]
    first_index, second_index = index[first[both_free]], index[second[both_free]]
    unchanged = np.minimum(neither[both_free], only_first[both_free] + only_second[both_free])
    ends = [index[first[first_free]], index[second[second_free]], first_index, second_index]
    changes = [
        only_first[first_free] - neither[first_free],
        only_second[second_free] - neither[second_free],
        only_first[both_free] - unchanged,
        -only_first[both_free],
    ]
    capacity = (only_first[both_free] + only_second[both_free] - unchanged).astype(np.float64)
    terminal = np.bincount(np.concatenate(ends), np.concatenate(changes), np.count_nonzero(free))
    return Cut(first_index, second_index, capacity, terminal.astype(np.float64))
