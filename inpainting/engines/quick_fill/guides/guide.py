"""A rough completion of the coarse level, which the labelling follows where it can be trusted.

Sources are shifted, never turned or scaled, and seams alone do not tell where an edge or a slow change of tone should
go on. A guide does; all pixels still come from the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inpainting.core import compiled
from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.labelling.hole_graph import (
    IMPOSSIBLE,
    SCALE,
    Bools,
    Floats,
    HoleGraph,
    Indexes,
    Ints,
)
from inpainting.engines.quick_fill.labelling.offsets import histogram, peaks

WEIGHT = np.float32(1) * SCALE
MAX_DIFFERENCE = np.float32(60)
"""Levels: a source that differs more from the guide is simply wrong."""
BLUR = 1.5
"""Standard deviation, in pixels, of the Gaussian that blurs the guide before it is compared."""
LABELS = 40
"""Offsets that a guide suggests, at most."""
PLAIN, PLAIN_BLUR = np.float32(24), 10.0
"""The detail of the surroundings (see `colour_cost`), blurred further, around which a guide is trusted less. Chosen by
eye: a guide mends the tones of seas and the edges of tables; it breaks benches, whose seams fit by themselves."""
MIN_CONFIDENCE = 0.5
"""The mean confidence below which there is no guide at all: its few places would only lead astray."""
OFFSETS = 16
"""Offsets that are added where none of the usual ones reaches what a guide shows, at most."""
STRIDE = 3
"""Pixels between the nodes that are compared with a guide before the labelling."""


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """A rough completion of a graph's image."""

    features: Floats  # [h, w, 4], as `colour_cost.compute_features` returns
    confidence: Floats  # [h, w], 0..1
    offsets: Ints  # [k, 2], from pixels of the hole to where the guide took them from
    max_difference: np.float32 = MAX_DIFFERENCE
    weight: np.float32 = WEIGHT

    def costs(self, graph: HoleGraph, offsets: Ints, features: Floats) -> Floats:
        """Return [k, nodes]: how much the source under each of `offsets` [k, 2] differs from the guide.

        features: [h, w, 4] of the image.
        """
        expected = self.features[graph.rows, graph.columns]
        weight = self.weight * self.confidence[graph.rows, graph.columns]
        flat = features.reshape(-1, features.shape[2])
        costs = np.empty((len(offsets), len(graph.rows)), np.float32)
        for cost, offset in zip(costs, offsets, strict=True):
            difference = expected - flat[np.maximum(graph.source(slice(None), offset), 0)]
            squared = np.einsum("ij,ij->i", difference, difference)
            cost[:] = weight * np.minimum(squared, self.max_difference**2)
        return costs

    def suggested(self, covers: Floats) -> Ints:
        """Return [<= LABELS, 2]: the offsets that occur most often, best first.

        covers: see `offsets.coverage`.
        """
        votes = histogram(self.offsets, covers.shape)
        rows, columns = peaks(votes, covers)
        order = np.argsort(-votes[rows, columns], kind="stable")[:LABELS]
        return np.column_stack([rows, columns])[order].astype(np.int32) - np.array(covers.shape, np.int32) // 2


def make_guide(graph: HoleGraph, features: Floats, rng: np.random.Generator) -> Guide | None:
    """Return a guide by PatchMatch on half of the graph's size, or None where it could not be trusted, or without
    numba.

    features: [h, w, 4] of the graph's image.
    """
    confidence = plainness(graph, features[:, :, 3])
    if confidence[graph.hole].mean() < MIN_CONFIDENCE or not compiled.AVAILABLE:
        return None
    from inpainting.engines.quick_fill.guides import patch_match

    image = np.dstack([graph.features[:, :, :3].astype(np.float32), features[:, :, 3]])
    image, known, hole = patch_match.halve(image, graph.known, graph.hole)
    completion = patch_match.complete(image, known, hole, rng)
    if completion is None:
        return None
    completed, matches = completion
    height, width = graph.shape
    completed = cv2.resize(completed, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[:height, :width]
    at = np.argwhere(hole)
    offsets = np.rint(2 * (matches[hole][:, : patch_match.COLUMN + 1] - at)).astype(np.int32)
    return Guide(cv2.GaussianBlur(completed, (0, 0), BLUR), confidence, offsets)


def costs_of_known(graph: HoleGraph, guide: Guide, features: Floats, offsets: Ints) -> Floats:
    """Return [k, nodes]: how much sources differ from the guide; IMPOSSIBLE for unknown ones."""
    costs = guide.costs(graph, offsets, features)
    for cost, offset in zip(costs, offsets, strict=True):
        cost[graph.source(slice(None), offset) < 0] = IMPOSSIBLE
    return costs


def most_useful(costs: Floats, lowest: Floats) -> list[int]:
    """Return [<= OFFSETS]: the rows of `costs` [k, n] of which each lowers the sum of `lowest` [n] most, best first."""
    found: list[int] = []
    while len(found) < OFFSETS:
        gains = np.maximum(0, lowest - costs).sum(axis=1)
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        found.append(best)
        lowest = np.minimum(lowest, costs[best])
    return found


def sampled(graph: HoleGraph) -> Indexes:
    """Return the nodes whose row and column are multiples of STRIDE, or all of a hole too thin to have any."""
    nodes = np.flatnonzero((graph.rows % STRIDE == 0) & (graph.columns % STRIDE == 0))
    return nodes if len(nodes) else np.arange(len(graph.rows))


def plainness(graph: HoleGraph, detail: Floats) -> Floats:
    """Return [h, w]: 0..1, near 1 where the nearest known surroundings of the hole have little `detail` [h, w]."""
    known = graph.known.astype(np.float32)
    mean = cv2.GaussianBlur(detail * known, (0, 0), PLAIN_BLUR)
    mean /= np.maximum(cv2.GaussianBlur(known, (0, 0), PLAIN_BLUR), np.float32(1e-6))
    spread = pull_push(mean[:, :, None], ring(graph))
    return np.asarray(np.exp(-((spread[:, :, 0] / PLAIN) ** 4)))


def ring(graph: HoleGraph) -> Bools:
    """Return [h, w]: the known pixels around the hole."""
    return graph.known & (cv2.dilate(graph.hole.view(np.uint8), np.ones((15, 15), np.uint8)) > 0)
