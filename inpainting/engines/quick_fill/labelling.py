"""Which offset each pixel of the hole takes: one labelling by alpha-expansion, so that seams fall where none shows.

The energy is shift-map's (Y. Pritch, E. Kav-Venaki, S. Peleg, "Shift-Map Image Editing", ICCV 2009): where two
neighbours take different offsets, both must look alike under both. Each expansion move is one minimum cut
(Y. Boykov, O. Veksler, R. Zabih, "Fast Approximate Energy Minimization via Graph Cuts", PAMI 2001).
"""

from __future__ import annotations

from collections.abc import Callable

import maxflow
import numpy as np
from numpy.typing import NDArray

from inpainting.engines.quick_fill.scene import CHANNELS, IMPOSSIBLE, Bools, Floats, Indexes, Ints, Scene, unlike

Prices = Callable[[int, Indexes], Floats]
"""(label, nodes) -> what each of those nodes pays for it."""


class Labelling:
    """A labelling on its way to a lower energy: `labels` [n], for each node an index into `offsets` [k, 2]."""

    def __init__(self, scene: Scene, offsets: Ints, prices: Prices, labels: Ints) -> None:
        self.scene = scene
        self.offsets = offsets
        self.prices = prices
        self.labels = labels.copy()
        self.price = np.zeros(len(labels), np.float32)
        for label in np.unique(labels).tolist():
            at = np.flatnonzero(labels == label)
            self.price[at] = prices(label, at)
        self._current = scene.features(slice(None), offsets[labels])
        self._first_as_second = np.empty((len(scene.first), CHANNELS), np.int16)
        self._second_as_first = np.empty_like(self._first_as_second)
        self._seam = np.empty(len(scene.first), np.float32)
        self._look(np.arange(len(scene.first)))

    def expand(self, label: int, among: Bools | None = None) -> None:
        """Let nodes (of `among` [n], or all) change to `label`: the one best such change of all at once."""
        scene = self.scene
        free = self.labels != label
        if among is not None:
            free &= among
        nodes = np.flatnonzero(free)
        price = self.prices(label, nodes)
        possible = price < IMPOSSIBLE
        free[nodes[~possible]] = False
        nodes, price = nodes[possible], price[possible]
        if not len(nodes):
            return
        edges = np.flatnonzero(free[scene.first] | free[scene.second])
        first, second = scene.first[edges], scene.second[edges]
        touched = free.copy()
        touched[first] = touched[second] = True
        at = np.flatnonzero(touched)
        taken = np.empty_like(self._current)
        taken[at] = scene.features(at, self.offsets[label])

        stay = self._seam[edges]
        second_takes = unlike(self._current[first], taken[first]) + unlike(self._second_as_first[edges], taken[second])
        first_takes = unlike(taken[first], self._first_as_second[edges]) + unlike(taken[second], self._current[second])

        number = np.empty(len(self.labels), np.int32)
        number[nodes] = np.arange(len(nodes), dtype=np.int32)
        only_first, only_second = free[first] & ~free[second], free[second] & ~free[first]
        both = free[first] & free[second]
        one, two = number[first[both]], number[second[both]]
        # V. Kolmogorov, R. Zabih, "What Energy Functions Can Be Minimized via Graph Cuts?", PAMI 2004: a pair's four
        # costs as one edge and two terminals; where they are not submodular, keeping both counts as cheaper than it is
        kept = np.minimum(stay[both], first_takes[both] + second_takes[both])
        ends = [number[first[only_first]], number[second[only_second]], one, two]
        extras = [
            first_takes[only_first] - stay[only_first],
            second_takes[only_second] - stay[only_second],
            first_takes[both] - kept,
            -first_takes[both],
        ]
        change = price - self.price[nodes] + np.bincount(np.concatenate(ends), np.concatenate(extras), len(nodes))
        graph = maxflow.GraphFloat(len(nodes), len(one))
        graph.add_nodes(len(nodes))
        pull = (first_takes[both] + second_takes[both] - kept).astype(np.float64)
        graph.add_edges(one, two, pull, np.zeros(len(one)))
        every = np.arange(len(nodes))
        graph.add_grid_tedges(every, np.maximum(change, 0), np.maximum(-change, 0))
        graph.maxflow()
        moves = graph.get_grid_segments(every)
        self._take(nodes[moves], label, price[moves], taken)

    def _take(self, moved: Indexes, label: int, price: Floats, taken: NDArray[np.int16]) -> None:
        if not len(moved):
            return
        self.labels[moved] = label
        self.price[moved] = price
        self._current[moved] = taken[moved]
        changed = np.zeros(len(self.labels), bool)
        changed[moved] = True
        self._look(np.flatnonzero(changed[self.scene.first] | changed[self.scene.second]))

    def _look(self, edges: Indexes) -> None:
        """See again what `edges` cost: each end as it is and as its neighbour's offset would have it."""
        first, second = self.scene.first[edges], self.scene.second[edges]
        self._first_as_second[edges] = self.scene.features(first, self.offsets[self.labels[second]])
        self._second_as_first[edges] = self.scene.features(second, self.offsets[self.labels[first]])
        self._seam[edges] = unlike(self._current[first], self._first_as_second[edges]) + unlike(
            self._current[second], self._second_as_first[edges]
        )
