"""The object at some points by random walks with priors, at several sizes.

The regions of `geodesic` are the nodes of a graph whose weights fall with the difference of two regions. A region's
value is the probability that a random walk from it reaches the object first, where each region may also end a walk, by
what its colour and its place say (L. Grady, "Multilabel random walker image segmentation using prior models", CVPR
2005). Colours near the points speak for the object, those of the image's border against it, unless the border is
itself near the points. So does what differs from the border in its colours, whatever colours that has: it joins the
parts of an object, such as a shirt and trousers, to which the colours near one point do not lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from inpainting.core.image import Mask
from inpainting.segmenters import geodesic
from inpainting.segmenters.geodesic import RGB, Graph

NEAR = 30
"""Regions, next to the points by geodesic distance, whose colours speak for the object."""
COLOUR_WIDTH = 5.0
"""Standard deviation of a colour of these regions, in units of L*a*b* of 8 bits."""
UNSEEN = 0.1
"""Density of a colour that neither the object nor the border has shown; less makes colours decide more."""
PLACE = 0.5
"""Weight of the distance to the points beside that of the colours."""
WAY = 0.5
"""Weight of the way to the points, compared with that to the border, beside that of the colours."""
CONTRAST = 20.0
"""The difference at which the weight between two regions falls to 1/e."""
PRIOR = 0.05
"""Weight of the priors beside that of the neighbours."""
CERTAIN = 1e3
"""Weight of a point."""
RIM = 0.04
"""Width, in shares of the image's sides, of the rim whose regions are no part of what differs from the border."""
ROUNDS = 5
"""How often the colours of what differs from the border are learned again, as GrabCut does."""
WORDS = 64
"""Colours to which those of the regions are reduced for histograms."""
WORD_WIDTH = 6.0
"""Standard deviation of a colour around its word, in units of L*a*b* of 8 bits."""
UNSEEN_WORD = 0.01
"""Share of a histogram, spread over all words, for colours that it has not seen."""
MIDDLE = 0.5
"""Weight of the distance to the image's middle beside the colours, in what differs from the border."""

Values = NDArray[np.float64]


def select(
    pixels: RGB, objects: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]], radii: Sequence[float]
) -> list[Mask]:
    """A mask for each radius: 255 for the object, of about that radius; only what is connected to a point on it.

    pixels: RGB, at most about 500 pixels a side. objects, others: points (x, y) on and beside the object. radii: shares
    of the longer side.
    """
    graph = geodesic.graph_of(pixels)
    on = sorted({graph.region(*point) for point in objects})
    beside = sorted({graph.region(*point) for point in others} - {*on})
    distances = geodesic.distances(graph, on)
    prior = colour_prior(graph, distances, beside) + way_prior(graph, distances, on, beside)
    prior += border_prior(graph) / max(1, len(on) + len(beside))  # points know more than a guess does
    # of each region from the nearest point, in shares of the longer side
    offsets = graph.centres[:, None] - np.array(objects, np.float64)[None]
    away = np.sqrt((offsets**2).sum(axis=2)).min(axis=1) / max(pixels.shape[:2])
    masks = []
    for radius in radii:
        place = np.clip(1 - (away / radius) ** 2, -3, 1)
        inside = walk(graph, prior + PLACE * place, on, beside) > 0.5
        mask = np.where(inside[graph.labels], np.uint8(255), np.uint8(0))
        masks.append(geodesic.keep_connected(mask, objects))
    return masks


def colour_prior(graph: Graph, distances: Values, beside: Sequence[int]) -> Values:
    """For each region the logarithm of how much likelier its colour is on the object than beside it, at most 3.

    distances: from the points on the object.
    """
    near = np.argsort(distances, kind="stable")[:NEAR]
    background = np.array([*graph.border, *beside])
    usual = np.median(distances)
    weights = np.clip(distances[background] / max(usual, 1e-9), 0, 1) ** 2
    weights[len(graph.border) :] = 1
    for_object = density(graph.colours, graph.colours[near], graph.areas[near])
    against = density(graph.colours, graph.colours[background], weights)
    found: Values = np.clip(np.log((for_object + UNSEEN) / (against + UNSEEN)), -3, 3)
    return found


def way_prior(graph: Graph, to_object: Values, on: Sequence[int], beside: Sequence[int]) -> Values:
    """For each region the logarithm of how much longer the way to the border or to a point beside the object is."""
    to_others = geodesic.distances(graph, {*beside, *graph.border} - {*on})
    odds: Values = np.log((to_others + geodesic.LENGTH) / (to_object + geodesic.LENGTH))
    return WAY * np.clip(odds, -3, 3)


@lru_cache(maxsize=geodesic.MAX_GRAPHS)
def border_prior(graph: Graph) -> Values:
    """For each region the logarithmic odds, at most 3, that it differs from the image's border in its colours.

    GrabCut on regions with an ellipse in the image as the first guess, histograms as the colour models, and walks in
    place of cuts.
    """
    height, width = graph.labels.shape
    away = np.abs(graph.centres / (width, height) - 0.5) / (0.5 - RIM)  # 1 at the rim, across and down
    rim = np.flatnonzero((away > 1).any(axis=1)).tolist()
    middle = np.clip(1.2 - (away**2).sum(axis=1), -1, 1)
    words = words_of(graph)
    share = np.where((away <= 1).all(axis=1), 1 / (1 + np.exp(-3 * middle)), 0)
    for _ in range(ROUNDS):
        inside, outside = (graph.areas * share) @ words, (graph.areas * (1 - share)) @ words
        odds = np.log(inside / max(inside.sum(), 1e-9) + UNSEEN_WORD / len(inside))
        odds -= np.log(outside / max(outside.sum(), 1e-9) + UNSEEN_WORD / len(outside))
        share = np.clip(walk(graph, np.clip(words @ odds, -3, 3) + MIDDLE * middle, [], rim), 0, 1)
    found: Values = np.clip(np.log((share + 0.05) / (1.05 - share)), -3, 3)
    return found


def words_of(graph: Graph) -> Values:
    """How far the colour of each region is each of at most WORDS frequent colours: [regions, words], rows of sum 1."""
    cv2.setRNGSeed(0)  # of this thread; k-means starts at random colours
    stop = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 10, 1.0)
    colours = graph.colours.astype(np.float32)
    _, _, centres = cv2.kmeans(colours, min(WORDS, len(colours)), None, stop, 1, cv2.KMEANS_PP_CENTERS)
    squares = ((graph.colours[:, None] - centres[None]) ** 2).sum(axis=2)
    similar = np.exp(-squares / (2 * WORD_WIDTH**2)) + 1e-6
    shares: Values = similar / similar.sum(axis=1, keepdims=True)
    return shares


def density(colours: Values, samples: Values, weights: Values) -> Values:
    """The share of the samples that a colour resembles: 0 to 1, for each colour."""
    squares = (colours**2).sum(axis=1)[:, None] + (samples**2).sum(axis=1)[None] - 2 * colours @ samples.T
    similar = np.exp(-np.maximum(squares, 0) / (2 * COLOUR_WIDTH**2))
    shares: Values = similar @ weights / max(float(weights.sum()), 1e-9)
    return shares


def walk(graph: Graph, prior: Values, on: Sequence[int], beside: Sequence[int]) -> Values:
    """The probability of the object for each region. prior: its logarithmic odds by colour and place."""
    count = len(prior)
    ends = PRIOR * np.abs(prior)
    probability = 1 / (1 + np.exp(-prior))
    probability[graph.border] = np.minimum(probability[graph.border], 0.3)
    for regions, value in ((beside, 0.0), (on, 1.0)):
        ends[regions], probability[regions] = CERTAIN, value
    weights = np.exp(-graph.differences / CONTRAST) + 1e-4
    pairs = np.r_[graph.first, graph.second], np.r_[graph.second, graph.first]
    adjacency = scipy.sparse.csr_matrix((np.r_[weights, weights], pairs), (count, count))
    system = scipy.sparse.diags(np.asarray(adjacency.sum(axis=1)).ravel() + ends) - adjacency
    solved: Values = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(
        ends * probability
    )
    return solved
