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

from inpainting.engines.quick_fill.labelling.edge_costs import Cut, make_cut
from inpainting.engines.quick_fill.labelling.hole_graph import IMPOSSIBLE, Bools, Floats, HoleGraph, Indexes, Ints

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

    def expand(self, label: int, candidates: Bools | None = None) -> None:
        """Make the expansion move to `label` that lowers the energy most.

        candidates: [n], the nodes that may move.
        """
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
        cut = make_cut(self.graph, self.offsets, self.labels, label, free)
        moves = find_minimum(cut, cost - self._node_cost[nodes])
        self.labels[nodes[moves]] = label
        self._node_cost[nodes[moves]] = cost[moves]


def find_minimum(cut: Cut, node_change: Floats) -> Bools:
    """Return [free nodes]: which of them move.

    node_change: [free nodes], what moving adds to the data cost.
    """
    count = len(node_change)
    terminal = node_change + cut.terminal
    flow = maxflow.GraphFloat(count, len(cut.first))
    flow.add_nodes(count)
    flow.add_edges(cut.first, cut.second, cut.capacity, np.zeros(len(cut.first)))
    indexes = np.arange(count)
    flow.add_grid_tedges(indexes, np.maximum(terminal, 0), np.maximum(-terminal, 0))
    flow.maxflow()
    moves: Bools = flow.get_grid_segments(indexes)
    return moves
