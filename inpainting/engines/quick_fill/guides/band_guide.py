"""A guide for a band: what lies at the edge of the image is carried on along the lines that meet the edge.

It tells where sky, ground and objects go on, so that neither a sky is copied below a field nor a bowl beside which the
edge shows a wall. F. Bornemann, T. März, "Fast Image Inpainting Based on Coherence Transport" (Journal of Mathematical
Imaging and Vision, 2007), from one side: step by step outward, each pixel takes the colour, the detail and the
direction of the place from which the lines come.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.poisson import pull_push
from inpainting.engines.quick_fill.bands import Band
from inpainting.engines.quick_fill.guides.guide import STRIDE, WEIGHT, Guide, costs_of_known, most_useful, sampled
from inpainting.engines.quick_fill.labelling.colour_cost import DETAIL, DETAIL_BLUR, MAX_DETAIL
from inpainting.engines.quick_fill.labelling.hole_graph import Floats, HoleGraph, Ints, Scalar

RIM = 3
"""Pixels of the graph, from the edge inward, whose mean is carried on."""
DIRECTION_DEPTH, DIRECTION_BLUR = 10, 2.0
"""Pixels from the edge inward that directions are measured in, and the standard deviation, in pixels, of the Gaussian
that they are averaged with along the edge."""
DETAIL_DEPTH = 24
"""Pixels from the edge inward whose detail is carried on: along a joint of bricks the edge alone would be plain."""
MIN_ENERGY = np.float32(20)
"""Squared levels: where the gradients along the edge are weaker, there are no lines: colours go straight outward."""
MAX_SLOPE = np.float32(2)
BLUR, SPREAD = 4.0, 0.5
"""Standard deviations, in pixels, of the Gaussians that the edge is blurred with at first and at each step outward.
With 2 at first, thin lines at the edge count as much as what is around them, and tiles break."""
SOURCE_BLUR = 3.0
"""The same for the pixels that are compared with the guide."""
MAX_DIFFERENCE = np.float32(120)
LACKING = np.float32(60)
"""Levels: where all pixels within reach differ more from the guide, it is interpolated from what lies around it."""
STEP, REACH = 0.125, 2.0
"""Breadths of the band: the distance between the sources that are tried for the guide, and how far along the edge they
lie."""


def make_band_guide(graph: HoleGraph, features: Floats, band: Band) -> Guide:
    """Return the guide of a band.

    features: [h, w, 4], see `blurred`.
    """
    none, everywhere = np.zeros((0, 2), np.int32), np.ones(graph.shape, np.float32)
    guide = Guide(carried_on(graph, band), everywhere, none, MAX_DIFFERENCE, 2 * WEIGHT)
    part = graph.subgraph(sampled(graph))
    lacking = costs_of_known(part, guide, features, grid(graph, band)).min(axis=0) > guide.weight * LACKING**2
    plane = np.zeros(graph.shape, np.uint8)
    plane[part.rows, part.columns] = lacking
    found = graph.hole & (cv2.dilate(plane, np.ones((STRIDE, STRIDE), np.uint8), anchor=(STRIDE - 1, STRIDE - 1)) == 0)
    return replace(guide, features=pull_push(guide.features, found)) if found.any() else guide


def carried_on(graph: HoleGraph, band: Band) -> Floats:
    """Return [h, w, 4]: colour and detail, as in `colour_cost.compute_features`, in the band; 0 elsewhere."""
    depth = int(np.ptp(graph.rows if band.axis == 0 else graph.columns)) + 1
    features = outward(graph.features, band)
    edge = features.shape[1] - depth
    near = features[:, max(0, edge - DIRECTION_DEPTH) : edge].astype(np.float32)
    across, along = -band.inward * near[:, :, 4 - band.axis], near[:, :, 3 + band.axis]
    mixed, energy = blur_along(
        np.column_stack([(across * along).mean(axis=1), (along**2).mean(axis=1)]), DIRECTION_BLUR
    ).T
    # lines are where the gradient across and the one along the edge cancel: the least squares of both
    slope = np.clip(-mixed / (energy + MIN_ENERGY), -MAX_SLOPE, MAX_SLOPE)
    rim = near[:, -RIM:]
    gradients = features[:, max(0, edge - DETAIL_DEPTH) : edge, 3:].astype(np.float32)
    detail = blur_along(abs(gradients).sum(axis=2).mean(axis=1)[:, None], DETAIL_BLUR)
    state = np.column_stack([rim[:, :, :3].mean(axis=1), DETAIL * np.minimum(detail, MAX_DETAIL)])
    # weighted by the squared energy, so that faint lines follow a strong one beside them
    state = np.column_stack([blur_along(state, BLUR), slope * energy**2, energy**2])
    at = np.arange(len(state), dtype=np.float32)
    out = np.zeros((*graph.shape, 4), np.float32)
    band_part = outward(out, band)[:, edge:]
    for step in range(depth):
        weighted, weight = blur_along(state[:, 4:], DIRECTION_BLUR).T
        source = at - weighted / (weight + MIN_ENERGY**2)
        state = np.column_stack([np.interp(source, at, column) for column in state.T]).astype(np.float32)
        state = blur_along(state, SPREAD)
        band_part[:, step] = state[:, :4]
    return out


def outward(plane: NDArray[Scalar], band: Band) -> NDArray[Scalar]:
    """Return a view of `plane` [h, w, ...] as [along the edge, outward, ...]; the band comes last."""
    turned = plane.swapaxes(0, 1) if band.axis == 0 else plane
    return turned[:, ::-1] if band.inward > 0 else turned


def blur_along(columns: Floats, sigma: float) -> Floats:
    """Return `columns` [n, k] blurred over n."""
    size = 1, 2 * int(4 * sigma + 1) + 1
    blurred = cv2.GaussianBlur(np.ascontiguousarray(columns), size, sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred.reshape(columns.shape)  # OpenCV drops the axis of a single column


def blurred(graph: HoleGraph, features: Floats) -> Floats:
    """Return `features` [h, w, 4] blurred over known pixels only, to be compared with a band's guide."""
    known = graph.known.astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(known, (0, 0), SOURCE_BLUR), np.float32(1e-6))
    return np.asarray(cv2.GaussianBlur(features * known[:, :, None], (0, 0), SOURCE_BLUR) / weight[:, :, None])


def add_affordable(graph: HoleGraph, offsets: Ints, guide: Guide, features: Floats, band: Band) -> Ints:
    """Return `offsets` [k, 2] and up to OFFSETS more; each lowers the sum of all pixels' lowest costs most."""
    part = graph.subgraph(sampled(graph))
    others = grid(graph, band)
    lowest = (costs_of_known(part, guide, features, offsets) + band.costs(part, offsets)).min(axis=0)
    costs = costs_of_known(part, guide, features, others) + band.costs(part, others)
    return np.concatenate([offsets, others[most_useful(costs, lowest)]])


def grid(graph: HoleGraph, band: Band) -> Ints:
    """Return [k, 2]: offsets at even distances, inward as far as there are sources, and along the edge."""
    breadth, strip = band.breadth / band.scale(graph), band.strip / band.scale(graph)
    steps = np.arange(STEP, max(2 * strip / breadth, 2 * STEP), STEP), np.arange(-REACH, REACH + STEP, STEP)
    inward, along = (plane.ravel() * breadth for plane in np.meshgrid(*steps, indexing="ij"))
    columns = [band.inward * inward, along]
    return np.rint(np.column_stack(columns if band.axis == 0 else columns[::-1])).astype(np.int32)
