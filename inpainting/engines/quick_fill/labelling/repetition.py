"""A labelling in which copying the same pixel to several places costs more, as repetition is seen at once."""

from __future__ import annotations

import cv2
import numpy as np

from inpainting.engines.quick_fill.labelling.hole_graph import Bools, Floats, HoleGraph, Ints
from inpainting.engines.quick_fill.labelling.labelling import Labelling

REPEAT_COST = 15.0
"""Data cost of a source for each other place that it is copied to, times its `detail`. Chosen by eye on the photos in
docs/use/outpainting.md: without it stars, leaves and windows become rows of copies."""
DETAIL = 8.0
"""Root mean square of the gradients in levels, above which each repetition is seen."""
MIN_DETAIL = 0.15
BLUR = 2.5
"""Standard deviation, in pixels, of the Gaussian that gradients are averaged with."""


class RepetitionLabelling(Labelling):
    """A labelling that avoids visible repetitions.

    costs: the cost of each label, [k, nodes].
    originals: the flat index of the pixel that each source shows, [h, w].
    """

    def __init__(self, graph: HoleGraph, offsets: Ints, costs: Floats, labels: Ints, originals: Ints) -> None:
        super().__init__(graph, offsets, lambda label, nodes: costs[label, nodes], labels)
        self._costs = costs
        sources = [originals.ravel()[np.maximum(graph.source(slice(None), offset), 0)] for offset in offsets]
        self._sources = np.stack(sources)
        self._repeat_cost = (np.float32(REPEAT_COST) * detail(graph)).ravel()
        self._nodes = np.arange(len(labels))

    def expand(self, label: int, candidates: Bools | None = None) -> None:
        """Expand a label as `Labelling.expand` does; the places that a source is copied to are those before the
        move."""
        now, then = self._sources[self.labels, self._nodes], self._sources[label]
        uses = np.bincount(now, minlength=len(self._repeat_cost))
        self._node_cost = self._costs[self.labels, self._nodes] + self._repeat_cost[now] * (uses[now] - 1)
        cost = self._costs[label] + self._repeat_cost[then] * (uses[then] - (then == now))
        self.data_cost = lambda _, nodes: cost[nodes]
        super().expand(label, candidates)


def detail(graph: HoleGraph) -> Floats:
    """Return [h, w]: MIN_DETAIL..1, how well a repetition of each pixel's surroundings is seen."""
    gradients = graph.features[:, :, 3:].astype(np.float32)
    mean_square = cv2.GaussianBlur((gradients**2).sum(axis=2), (0, 0), BLUR)
    return np.clip(np.sqrt(mean_square) / np.float32(DETAIL), np.float32(MIN_DETAIL), np.float32(1))
