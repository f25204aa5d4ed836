"""Sets of regions that may be the object at a point: by random walks, boxes, and ways to the point and to its rivals.

No single one fits most objects: a walk of one size follows one colour, a way stops at the strongest edge around the
point, and a box takes everything in it whose colour differs from its surroundings, whatever colours that has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from inpainting.segmenters import geodesic, walker
from inpainting.segmenters.geodesic import Graph
from inpainting.segmenters.walker import Regions, Values

RADII = (0.06, 0.1, 0.15, 0.2, 0.3, 0.45)
"""Of the objects that walks are to find, in shares of the longer side."""
PLACE = 0.5
"""Weight of the distance to the point beside the colours, for a walk."""
HALF_SIDES = (0.06, 0.1, 0.16, 0.24, 0.36)
"""Of the boxes around the point, in shares of the longer side."""
ASPECTS = (0.5, 1.0, 2.0)
ROUNDS = 3
"""How often the colours in a box are learned again, as GrabCut does."""
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""How far a region may be from the rivals, in shares of the point's way to them."""
RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""How much longer the way to the rivals has to be than that to the point."""
WORDS = 48
"""Colours to which those of the regions are reduced for histograms."""
WORD_WIDTH = 6.0
"""Standard deviation of a colour around its word, in units of L*a*b* of 8 bits."""
MIN_SHARE, MAX_SHARE = 0.001, 0.85
"""Of the image, that a proposal covers."""


@dataclass(frozen=True)
class Scene:
    """A graph with what all points on the image need."""

    graph: Graph

    @cached_property
    def weights(self) -> Any:
        return walker.adjacency(self.graph)

    @cached_property
    def words(self) -> Values:
        """How far the colour of each region is each word: [regions, words], rows of sum 1."""
        colours = self.graph.colours
        cv2.setRNGSeed(0)
        stop = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 10, 1.0)
        count = min(WORDS, len(colours))
        _, _, centres = cv2.kmeans(
            colours.astype(np.float32),
            count,
            None,
            stop,
            1,
            cv2.KMEANS_PP_CENTERS,
        )
        squares = ((colours[:, None] - centres[None]) ** 2).sum(axis=2)
        shares = np.exp(-squares / (2 * WORD_WIDTH**2)) + 1e-6
        found: Values = shares / shares.sum(axis=1, keepdims=True)
        return found

    @cached_property
    def border(self) -> NDArray[np.int64]:
        return np.array(self.graph.border)

    def component(self, regions: Regions, start: int) -> Regions:
        """What of the regions is connected to one of them."""
        first, second = self.graph.first, self.graph.second
        kept = regions[first] & regions[second]
        links = csr_matrix((np.ones(kept.sum()), (first[kept], second[kept])), (len(regions),) * 2)
        _, labels = connected_components(links, directed=False)
        found: Regions = regions & (labels == labels[start])
        return found


def proposals_at(scene: Scene, start: int, rivals: NDArray[np.int64], domain: Regions) -> list[Regions]:
    """Connected sets of regions with one region, within a domain.

    rivals: regions beside the object.
    """
    graph = scene.graph
    to_object, to_rivals = ways(graph, [start], rivals)
    middle, side = graph.centres[start], max(graph.labels.shape)
    prior = prior_at(graph, [start], rivals)
    found = [
        walker.walk(scene.weights, prior + PLACE * place_prior(graph, [start], radius), [start], domain)
        for radius in RADII
    ]
    found += [to_rivals >= level * to_rivals[start] for level in LEVELS]
    found += [ratio * to_object < to_rivals for ratio in RATIOS]
    for half in HALF_SIDES:
        for aspect in ASPECTS:
            reach = half * side * np.array([aspect**0.5, aspect**-0.5])
            inside = (np.abs(graph.centres - middle) <= reach).all(axis=1) & domain
            inside[start] = True
            found.append(differing(scene, inside, start))
    least, most = MIN_SHARE * graph.areas.sum(), MAX_SHARE * graph.areas.sum()
    connected: list[Regions] = []
    for regions in found:
        regions &= domain
        regions[start] = True
        piece = scene.component(regions, start)
        if least <= graph.areas[piece].sum() <= most and not any(np.array_equal(piece, other) for other in connected):
            connected.append(piece)
    return connected


def ways(graph: Graph, starts: Sequence[int], rivals: NDArray[np.int64]) -> tuple[Values, Values]:
    """The cost of the way of each region to the nearest start, and to the nearest rival."""
    return geodesic.distances(graph, starts), geodesic.distances(graph, rivals.tolist())


def prior_at(graph: Graph, starts: Sequence[int], rivals: NDArray[np.int64]) -> Values:
    """The logarithmic odds of each region by its colour and its way to the points."""
    to_object, to_rivals = ways(graph, starts, rivals)
    return walker.colour_prior(graph, to_object, rivals) + walker.way_prior(to_object, to_rivals)


def place_prior(graph: Graph, starts: Sequence[int], radius: float) -> Values:
    """From 1 at a point to -3 at twice the radius, which is a share of the longer side."""
    away = np.sqrt(((graph.centres[:, None] - graph.centres[list(starts)]) ** 2).sum(axis=2)).min(axis=1)
    found: Values = np.clip(1 - (away / max(graph.labels.shape) / radius) ** 2, -3, 1)
    return found


def differing(scene: Scene, box: Regions, start: int) -> Regions:
    """What differs in its colours from the surroundings of a box."""
    found = box
    for _ in range(ROUNDS):
        if found.all():
            break
        odds = np.clip(colour_odds(scene, found), -3, 3)
        last, found = found, walker.walk(scene.weights, odds, [start], box)
        if np.array_equal(found, last):
            break
    return found.copy()


def colour_odds(scene: Scene, regions: Regions) -> Values:
    """For each region the logarithm of how much more its colours occur in some regions than in all others."""
    areas, words = scene.graph.areas, scene.words
    shares = [weights @ words / weights.sum() + 0.003 for weights in (areas * regions, areas * ~regions)]
    odds: Values = words @ np.log(shares[0] / shares[1])
    return odds
