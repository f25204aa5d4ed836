"""Which of several proposals look like an object, and what they agree on.

A proposal counts the more, the stronger the edge along its border is and the weaker those elsewhere are, the more its
colours differ from those around it, and the more it lies around the point, as people click into the middle of things.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from inpainting.segmenters.proposals import Scene
from inpainting.segmenters.walker import Regions, Values

BORDER, ELSEWHERE, CONTRAST, DEPTH, OFFSET, SIZE = 0.18, -0.38, 0.5, 0.27, -0.19, 0.08
"""Weights of what `score` sums up: least squares, rounded, for the overlap with objects of photos."""
DIFFERENCE, GRADIENT = 40.0, 160.0
"""The difference of two colours, and the gradient along a border, from which on an edge is as strong as can be."""
AROUND = 0.5
"""Width of the surroundings, in radii of a disc of the proposal's area."""
TEMPERATURE = 0.1
"""By how much a score has to be lower for a proposal to count 1/e as much."""


def score(scene: Scene, regions: Regions, start: int) -> float:
    """How much the regions look like an object at a point: about the overlap that is to be expected, less 0.3."""
    graph = scene.graph
    area = graph.areas[regions].sum()
    crosses = regions[graph.first] != regions[graph.second]
    outside = ~regions[graph.first] & ~regions[graph.second]
    colours = np.linalg.norm(graph.colours[graph.first] - graph.colours[graph.second], axis=1)
    edges = (np.minimum(colours / DIFFERENCE, 1) + np.minimum(graph.edges / GRADIENT, 1)) / 2
    border, elsewhere = (
        (edges[pairs] @ graph.lengths[pairs]) / max(graph.lengths[pairs].sum(), 1) for pairs in (crosses, outside)
    )
    pixels = regions[graph.labels].astype(np.uint8)
    depths = cv2.distanceTransform(cv2.copyMakeBorder(pixels, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5)
    x, y = graph.centres[start]
    depth = depths[int(y) + 1, int(x) + 1] / max(float(depths.max()), 1)
    centre = (graph.centres[regions] * graph.areas[regions, None]).sum(axis=0) / area
    offset = min(np.linalg.norm(centre - (x, y)) / area**0.5, 2)
    size = np.log(area / graph.areas.sum())
    contrast = contrast_around(scene, pixels, regions)
    terms = (border, elsewhere, contrast, depth, offset, size)
    return float(np.dot(terms, (BORDER, ELSEWHERE, CONTRAST, DEPTH, OFFSET, SIZE)))


def contrast_around(scene: Scene, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], regions: Regions) -> float:
    """1 less the Bhattacharyya coefficient of the colours of the regions and of those around them: 0 to 1."""
    graph = scene.graph
    reach = max(4, int(AROUND * (graph.areas[regions].sum() / np.pi) ** 0.5))
    far = cv2.distanceTransform(1 - pixels, cv2.DIST_L2, 5)
    around = np.bincount(graph.labels.ravel(), ((far > 0) & (far <= reach)).ravel(), len(regions))
    inside, beside = graph.areas * regions @ scene.words, around @ scene.words
    if not beside.sum():
        return 0.0
    return float(1 - np.sqrt(inside * beside).sum() / (inside.sum() * beside.sum()) ** 0.5)


def agreed(proposals: Sequence[Regions], scores: Sequence[float]) -> Regions:
    """The regions of more than half of the proposals, each counted by its score."""
    votes: Values = np.exp((np.array(scores) - max(scores)) / TEMPERATURE)
    found: Regions = votes @ np.array(proposals) > votes.sum() / 2
    return found
