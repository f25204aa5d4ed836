"""Alpha-expansion of a labelling: no move raises the energy, and seams move to where they are less visible."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from inpainting.engines.quick_fill.labelling.hole_graph import HoleGraph, build_graph, feature_distance
from inpainting.engines.quick_fill.labelling.labelling import Labelling

OFFSETS = np.array([[0, 40], [0, -40], [30, 5], [-35, 0], [2, 55]], np.int32)


def wall() -> HoleGraph:
    image = cv2.cvtColor(skimage.data.brick()[:160, :160], cv2.COLOR_GRAY2RGB)
    hole = np.zeros(image.shape[:2], bool)
    hole[65:95, 65:95] = True
    return build_graph(image, ~hole, hole, 1)


def labelled(graph: HoleGraph, labels: NDArray[np.int32]) -> Labelling:
    return Labelling(graph, OFFSETS, lambda label, nodes: graph.data_cost(nodes, OFFSETS[label]), labels)


def energy(graph: HoleGraph, labels: NDArray[np.int32]) -> float:
    """The energy of `labels` by its definition: data costs, and both ends of every pair of neighbours."""
    total = 0.0
    for label in np.unique(labels).tolist():
        total += float(graph.data_cost(np.flatnonzero(labels == label), OFFSETS[label]).sum(dtype=np.float64))
    for end in (graph.first, graph.second):
        as_first = graph.source_features(end, OFFSETS[labels[graph.first]])
        as_second = graph.source_features(end, OFFSETS[labels[graph.second]])
        total += float(feature_distance(as_first, as_second).sum(dtype=np.float64))
    return total


def test_no_expansion_raises_the_energy_and_all_together_lower_it() -> None:
    graph = wall()
    labelling = labelled(graph, np.random.default_rng(4).integers(0, len(OFFSETS), len(graph.rows)).astype(np.int32))
    start = before = energy(graph, labelling.labels)
    for label in [*range(len(OFFSETS)), *range(len(OFFSETS))]:
        labelling.expand(label)
        after = energy(graph, labelling.labels)
        assert after <= before * (1 + 1e-5)
        before = after
    assert before < 0.2 * start


def test_an_expansion_changes_only_the_given_nodes() -> None:
    graph = wall()
    start = np.random.default_rng(4).integers(0, 2, len(graph.rows)).astype(np.int32)
    candidates = graph.columns < 80
    labelling = labelled(graph, start)
    labelling.expand(3, candidates=candidates)
    changed = labelling.labels != start
    assert changed.any()
    assert not changed[~candidates].any()
    assert (labelling.labels[changed] == 3).all()


def test_an_expansion_prefers_known_sources() -> None:
    graph = wall()
    near = np.array([[0, 3], [0, 40]], np.int32)
    labelling = Labelling(
        graph, near, lambda label, nodes: graph.data_cost(nodes, near[label]), np.zeros(len(graph.rows), np.int32)
    )
    labelling.expand(1)
    assert (graph.source(slice(None), near[labelling.labels]) >= 0).all()
