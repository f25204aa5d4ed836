"""What an expansion move changes at the edges of the graph, as the parts of its minimum cut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inpainting.core import compiled
from inpainting.engines.quick_fill.labelling.hole_graph import (
    CHANNELS,
    METRIC,
    Bools,
    Floats,
    HoleGraph,
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


def make_cut(graph: HoleGraph, offsets: Ints, labels: Ints, label: int, free: Bools) -> Cut:
    """Return the cut of the move of the free nodes [n] from `labels` [n], indexes into `offsets` [k, 2], to `label`.

    By machine code where numba is installed, else by NumPy; both return the same.
    """
    if compiled.AVAILABLE:
        from inpainting.engines.quick_fill import kernels

        nodes = graph.rows, graph.columns, graph.first, graph.second
        offsets = np.ascontiguousarray(offsets)
        return Cut(*kernels.build_cut(graph.pixels, graph.known, *nodes, offsets, labels, label, free, METRIC))
    edges = np.flatnonzero(free[graph.first] | free[graph.second])
    first, second = graph.first[edges], graph.second[edges]
    touched = free.copy()
    touched[first] = touched[second] = True
    ends = np.flatnonzero(touched)
    current, expanded = (np.empty((len(free), CHANNELS), np.int16) for _ in range(2))
    current[ends] = graph.source_features(ends, offsets[labels[ends]])
    expanded[ends] = graph.source_features(ends, offsets[label])
    change = np.zeros(len(free), np.float32)
    change[ends] = feature_distance(current[ends], expanded[ends])
    # within a region both ends have the same offset, so each differs from its new source in the same way
    as_first, as_second, neither = change[first], change[second], np.zeros(len(edges), np.float32)
    seam = np.flatnonzero(labels[first] != labels[second])
    at_first, at_second = first[seam], second[seam]
    first_as_second = graph.source_features(at_first, offsets[labels[at_second]])
    second_as_first = graph.source_features(at_second, offsets[labels[at_first]])
    neither[seam] = feature_distance(current[at_first], first_as_second)
    neither[seam] += feature_distance(current[at_second], second_as_first)
    as_first[seam] = feature_distance(expanded[at_first], first_as_second)
    as_second[seam] = feature_distance(second_as_first, expanded[at_second])
    return build_cut(free, first, second, neither, as_first + change[second], change[first] + as_second)


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
