"""Random walks with priors on the regions of an image.

The regions of `geodesic` are the nodes of a graph whose weights fall with the difference of two regions. A region's
value is the probability that a random walk from it reaches the object first, where each region may also end a walk, by
what its colour and its place say (L. Grady, "Multilabel random walker image segmentation using prior models", CVPR
2005). Colours near the point speak for the object, those of its rivals against it, unless these are themselves near
the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from inpainting.segmenters.geodesic import LENGTH, Graph

NEAR = 30
"""Regions, next to the points by geodesic distance, whose colours speak for the object."""
COLOUR_WIDTH = 5.0
"""Standard deviation of a colour of these regions, in units of L*a*b* of 8 bits."""
UNSEEN = 0.1
"""Density of a colour that neither the object nor its rivals have shown; less makes colours decide more."""
WAY = 0.5
"""Weight of the way to the point, compared with that to the rivals, beside that of the colours."""
CONTRAST = 20.0
"""The difference at which the weight between two regions falls to 1/e."""
PRIOR = 0.05
"""Weight of the priors beside that of the neighbours."""
CERTAIN = 1e3
"""Weight of a point."""
MEAN_BORDER = 6.0
"""Pixels of the common border of two neighbouring regions."""

Regions = NDArray[np.bool_]
Values = NDArray[np.float64]


def colour_prior(graph: Graph, distances: Values, rivals: NDArray[np.int64]) -> Values:
    """For each region the logarithm of how much likelier its colour is on the object than on the rivals, at most 3.

    distances: of each region from the point. rivals: regions that are not the object.
    """
    near = np.argsort(distances, kind="stable")[:NEAR]
    usual = np.median(distances[np.isfinite(distances)])
    weights = np.clip(distances[rivals] / max(usual, 1e-9), 0, 1) ** 2
    for_object = density(graph.colours, graph.colours[near], graph.areas[near])
    against = density(graph.colours, graph.colours[rivals], weights)
    found: Values = np.clip(np.log((for_object + UNSEEN) / (against + UNSEEN)), -3, 3)
    return found


def way_prior(to_object: Values, to_rivals: Values) -> Values:
    """For each region the logarithm of how much longer the way to the rivals is than that to the point."""
    odds: Values = np.log((to_rivals + LENGTH) / (to_object + LENGTH))
    return WAY * np.clip(odds, -3, 3)


def density(colours: Values, samples: Values, weights: Values) -> Values:
    """The share of the samples that a colour resembles: 0 to 1, for each colour."""
    squares = (colours**2).sum(axis=1)[:, None] + (samples**2).sum(axis=1)[None] - 2 * colours @ samples.T
    similar = np.exp(-np.maximum(squares, 0) / (2 * COLOUR_WIDTH**2))
    shares: Values = similar @ weights / max(float(weights.sum()), 1e-9)
    return shares


def adjacency(graph: Graph) -> Any:
    """The weight of each pair of neighbours: [regions, regions], symmetric and sparse."""
    weights = (np.exp(-graph.differences / CONTRAST) * graph.lengths / MEAN_BORDER) + 1e-4
    pairs = np.r_[graph.first, graph.second], np.r_[graph.second, graph.first]
    return scipy.sparse.csr_matrix((np.r_[weights, weights], pairs), (len(graph.areas),) * 2)


def walk(weights: Any, prior: Values, starts: Sequence[int], domain: Regions) -> Regions:
    """The regions of the domain from which a walk rather reaches the object than not.

    weights: of `adjacency`. prior: logarithmic odds of each region by colour and place. starts: regions of the object.
    domain: where the object may be; a walk that leaves it has not reached the object.
    """
    inside = np.flatnonzero(domain)
    ends = PRIOR * np.abs(prior[inside])
    probability = 1 / (1 + np.exp(-prior[inside]))
    at = np.searchsorted(inside, starts)
    ends[at], probability[at] = CERTAIN, 1
    degrees = np.asarray(weights.sum(axis=1)).ravel()[inside]
    system = scipy.sparse.diags(degrees + ends) - weights[inside][:, inside]
    options = {"SymmetricMode": True}
    solved = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", options=options).solve(ends * probability)
    found = np.zeros(len(domain), np.bool_)
    found[inside] = solved > 0.5
    return found
