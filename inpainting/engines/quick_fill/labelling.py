"""Labels each pixel of the hole with an offset by alpha-expansion, which puts seams where they are least visible.

The energy is shift-map's (Y. Pritch, E. Kav-Venaki, S. Peleg, "Shift-Map Image Editing", ICCV 2009): two
neighbours with different offsets cost as much as each of them differs between its sources under the two offsets.
Each expansion move is one minimum cut (Y. Boykov, O. Veksler, R. Zabih, "Fast Approximate Energy Minimization via
Graph Cuts", PAMI 2001).
"""

from __future__ import annotations

from collections.abc import Callable

import maxflow
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.hole_graph import (
    CHANNELS,
    IMPOSSIBLE,
    Bools,
    Floats,
    HoleGraph,
    Indexes,
    Ints,
    feature_distance,
)

DataCost = Callable[[int, Indexes], Floats]
"""(label, nodes) -> [nodes], the cost of that label at each node."""


class Labelling:
    """A labelling whose energy each expansion lowers.

    labels: [n], for each node an index into `offsets` [k, 2].
    """

    def __init__(self, graph: HoleGraph, offsets: Ints, data_cost: DataCost, labels: Ints) -> None:
        self.graph = graph
        self.offsets = offsets
        self.data_cost = data_cost
        self.labels = labels.copy()
        self._node_cost = np.zeros(len(labels), np.float32)
        for label in np.unique(labels).tolist():
            nodes = np.flatnonzero(labels == label)
            self._node_cost[nodes] = data_cost(label, nodes)
        self._current = graph.source_features(slice(None), offsets[labels])
        self._first_as_second = np.empty((len(graph.first), CHANNELS), np.int16)
        self._second_as_first = np.empty_like(self._first_as_second)
        self._edge_cost = np.empty(len(graph.first), np.float32)
        self._update_edges(np.arange(len(graph.first)))

    def expand(self, label: int, candidates: Bools | None = None) -> None:
        """Make the expansion move to `label` that lowers the energy most.

        candidates: [n], the nodes that may move.
        """
        graph = self.graph
        free = self.labels != label
        if candidates is not None:
            free &= candidates
        nodes = np.flatnonzero(free)
        cost = self.data_cost(label, nodes)
        possible = cost < IMPOSSIBLE
        free[nodes[~possible]] = False
        nodes, cost = nodes[possible], cost[possible]
        if not len(nodes):
            return
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
        seam = np.flatnonzero(self.labels[first] != self.labels[second])
        at = edges[seam]
        as_first[seam] = feature_distance(expanded[first[seam]], self._first_as_second[at])
        as_second[seam] = feature_distance(self._second_as_first[at], expanded[second[seam]])
        neither = self._edge_cost[edges]
        only_first, only_second = as_first + change[second], change[first] + as_second
        node_change = cost - self._node_cost[nodes]
        moves = _minimum_cut(free, nodes, node_change, first, second, neither, only_first, only_second)
        self._apply(nodes[moves], label, cost[moves], expanded)

    def _apply(self, moved: Indexes, label: int, cost: Floats, expanded: NDArray[np.int16]) -> None:
        if not len(moved):
            return
        self.labels[moved] = label
        self._node_cost[moved] = cost
        self._current[moved] = expanded[moved]
        changed = np.zeros(len(self.labels), bool)
        changed[moved] = True
        self._update_edges(np.flatnonzero(changed[self.graph.first] | changed[self.graph.second]))

    def _update_edges(self, edges: Indexes) -> None:
        """Recompute the cost of `edges`: how much each end differs between its own offset and that of the other end."""
        first, second = self.graph.first[edges], self.graph.second[edges]
        self._first_as_second[edges] = self.graph.source_features(first, self.offsets[self.labels[second]])
        self._second_as_first[edges] = self.graph.source_features(second, self.offsets[self.labels[first]])
        self._edge_cost[edges] = feature_distance(
            self._current[first], self._first_as_second[edges]
        ) + feature_distance(self._current[second], self._second_as_first[edges])


def _minimum_cut(
    free: Bools,
    nodes: Indexes,
    node_change: Floats,
    first: Ints,
    second: Ints,
    neither: Floats,
    only_first: Floats,
    only_second: Floats,
) -> Bools:
    """Return [nodes]: which of the free nodes move, by the minimum cut of the expansion's binary energy.

    node_change: [nodes], what moving adds to the data cost.
    first, second: the ends of the edges with a free node;
    neither, only_first, only_second: the cost of each edge if these ends move. If both do, it is 0.
    """
    index = np.empty(len(free), np.int32)
    index[nodes] = np.arange(len(nodes), dtype=np.int32)
    first_free, second_free = free[first] & ~free[second], free[second] & ~free[first]
    both_free = free[first] & free[second]
    first_index, second_index = index[first[both_free]], index[second[both_free]]
    # V. Kolmogorov, R. Zabih, "What Energy Functions Can Be Minimized via Graph Cuts?", PAMI 2004: a pair's four
    # costs as one edge and two terminals. Where they are not submodular, the cost of no change is lowered.
    unchanged = np.minimum(neither[both_free], only_first[both_free] + only_second[both_free])
    ends = [index[first[first_free]], index[second[second_free]], first_index, second_index]
    changes = [
        only_first[first_free] - neither[first_free],
        only_second[second_free] - neither[second_free],
        only_first[both_free] - unchanged,
        -only_first[both_free],
    ]
    terminal = node_change + np.bincount(np.concatenate(ends), np.concatenate(changes), len(nodes))
    flow = maxflow.GraphFloat(len(nodes), len(first_index))
    flow.add_nodes(len(nodes))
    capacity = (only_first[both_free] + only_second[both_free] - unchanged).astype(np.float64)
    flow.add_edges(first_index, second_index, capacity, np.zeros(len(first_index)))
    indexes = np.arange(len(nodes))
    flow.add_grid_tedges(indexes, np.maximum(terminal, 0), np.maximum(-terminal, 0))
    flow.maxflow()
    moves: Bools = flow.get_grid_segments(indexes)
    return moves
